"""A worker that an object has taken over: it does what the names of its objects say, unlocked."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from scanner.engines import wire

_OBJECT = ("text/plain", "scanned", None, None, 1, 1, 0, False)


def main(channel: int, page: int) -> None:
    """Honest for every object, but for those that are called after a trick."""
    parent = socket.socket(fileno=channel)
    pulse = wire.Pulse(page)
    wire.receive(parent)
    wire.say(parent, "ready", "none")
    while True:
        try:
            jobs, fds = wire.receive(parent)
        except EOFError:
            return
        for fd in fds:
            os.close(fd)
        for at, job in enumerate(jobs):
            pulse.begin(job.number, time.monotonic())
            trick = job.key.partition(".")[0]
            if trick == "zz-exit-idle":
                pulse.rest()
                os._exit(3)
            if trick == "zz-blame":
                pulse.begin(jobs[at - 1].number, time.monotonic())
                os._exit(3)
            if trick == "zz-leave":
                wire.say(parent, "bye", None)
                time.sleep(3600)
            if trick == "zz-sleep":
                pulse.rest()
                time.sleep(3600)
            if trick == "zz-stall":
                time.sleep(3600)
            if trick == "zz-fail":
                wire.say(parent, "failed", "\x1b[31mowned")
            if trick == "zz-ready":
                wire.say(parent, "ready", "a sandbox like no other")
            _say(parent, [_row(job)], *_rows(trick, job))
        pulse.rest()


def _row(job: Any, *, state: str = "scanned") -> list[Any]:
    media_type, _, *rest = _OBJECT
    return [job.number, job.attempt, 9, media_type, state, *rest]


def _rows(trick: str, job: Any) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """More objects, nested, detections, items."""
    text = "x"
    confidence: object = 0.5
    box: object = None
    match trick:
        case "zz-second-is-bad":
            return [_row(job, state="clean")], [], [], []
        case "zz-surrogate":
            text = "\ud800"
        case "zz-bool":
            confidence = True
        case "zz-box":
            box = [True, 1, 2, 3]
        case "zz-many":
            return [], [], [], [[job.number, job.attempt, 0, ""]] * 100_000
        case _:
            return [], [], [], []
    found = [
        job.number, job.attempt, 0, "", "", "i", "biometric.face", None, "content", 1, confidence,
        "certain", box, "d", text, None, None,
    ]  # fmt: skip
    return [], [], [found], []


def _say(parent: socket.socket, own: list[Any], *rows: list[Any]) -> None:
    objects, nested, detections, items = rows
    wire.say(parent, "said", [own + objects, nested, detections, items])
