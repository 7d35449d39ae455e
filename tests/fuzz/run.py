"""Runs a fuzz target for a while: with atheris where it is installed, else with plain mutation.

    python -m tests.fuzz.run TARGET|all --seconds 600 [--findings FOLDER] [--plain]

Whatever an input breaks is written once to FOLDER/TARGET/<what>-<digest>; the run goes on. The last
line says seconds, executions and how many different findings there were; the exit code is 1 if
there were any.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import mmap
import os
import resource
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 20  # one input
SLOW_S = 4.0  # of processor time for one input of a few KiB: a finding
RSS_MB = 1_024
GROWTH_KB = 200 << 10  # of the peak by one input of a few KiB: a finding


class Watch:
    """Runs one input: counts it, and turns what it breaks into a finding."""

    def __init__(self, run: Callable[[bytes], None], folder: Path, counter: mmap.mmap) -> None:
        self._run, self._folder, self._counter = run, folder, counter
        self._known = {path.name.rsplit("-", 1)[0] for path in folder.glob("*-*")}
        self._count = struct.unpack_from("<Q", counter)[0]

    def __call__(self, data: bytes) -> None:
        self._count += 1
        struct.pack_into("<Q", self._counter, 0, self._count)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        try:
            self._run(data)
        except Exception as error:
            self._found(finding_name(error), data, traceback.format_exc())
        took = time.process_time() - start
        if took > SLOW_S:
            self._found("slow", data, f"{took:.1f} s of processor time for {len(data)} bytes\n")
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
        if grown > GROWTH_KB and self._count > 100:
            self._found("memory", data, f"{grown >> 10} MiB more for {len(data)} bytes\n")

    def _found(self, name: str, data: bytes, story: str) -> None:
        if name in self._known:
            return
        self._known.add(name)
        place = self._folder / f"{name}-{hashlib.blake2b(data, digest_size=6).hexdigest()}"
        place.write_bytes(data)
        place.with_name(place.name + ".txt").write_text(story)
        print(f"FOUND {place.name}", flush=True)


def finding_name(error: BaseException) -> str:
    """One name for one mistake: the exception, and the place in our code where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/scanner/" in f.filename or "/targets/" in f.filename]
    last = own[-1] if own else frames[-1]
    oracle = str(error) if type(error).__name__ == "Broken" else ""
    short = "".join(c if c.isalnum() else "_" for c in oracle)[:60]
    return f"{type(error).__name__}_{Path(last.filename).stem}_{last.name}_{short}".strip("_<>")


def _child(name: str, folder: Path, corpus: Path, seconds: int) -> None:
    """One libFuzzer run, in this process; it ends at the first hang or when memory is short."""
    import atheris

    with atheris.instrument_imports(include=["scanner"], enable_loader_override=False):
        import scanner.look  # noqa: F401
        from scanner.readers import all_readers

        all_readers()
        from tests.fuzz.targets import all_targets

        target = all_targets()[name]
    tokens = corpus.parent / f"{name}.dict"
    tokens.write_text(
        "".join('"' + "".join(f"\\x{b:02x}" for b in token) + '"\n' for token in target.tokens)
    )
    with (folder / "counter").open("r+b") as stream:
        watch = Watch(target.run, folder, mmap.mmap(stream.fileno(), 8))
        arguments = [
            f"-max_total_time={seconds}", f"-timeout={TIMEOUT_S}", f"-rss_limit_mb={RSS_MB}",
            f"-max_len={target.max_bytes}", f"-artifact_prefix={folder}/libfuzzer-",
            "-detect_leaks=0", "-reload=0",
        ]  # fmt: skip
        if target.tokens:
            arguments.append(f"-dict={tokens}")
        atheris.Setup([sys.argv[0], *arguments, str(corpus)], watch)
        atheris.Fuzz()


def _plain(name: str, folder: Path, seconds: float, seed: int = 0) -> None:
    from tests.fuzz.mutate import mutated
    from tests.fuzz.seeds import SEEDS
    from tests.fuzz.targets import all_targets

    target = all_targets()[name]
    with (folder / "counter").open("r+b") as stream:
        watch = Watch(target.run, folder, mmap.mmap(stream.fileno(), 8))
        end = time.monotonic() + seconds
        for data in mutated(SEEDS[name](), target.tokens, seed, target.max_bytes):
            watch(data)
            if time.monotonic() > end:
                return


def run(name: str, seconds: int, findings: Path, plain: bool) -> dict[str, object]:
    """Run a target; what came of it."""
    from tests.fuzz.seeds import SEEDS

    folder = findings / name
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(SEEDS[name]()):
        (corpus / f"seed-{number}").write_bytes(data)
    (folder / "counter").write_bytes(bytes(8))
    start = time.monotonic()
    stops = 0
    if plain or importlib.util.find_spec("atheris") is None:
        _plain(name, folder, seconds, seed=time.time_ns())
    else:
        while (left := int(seconds - (time.monotonic() - start))) > 0 and stops < 50:
            with (folder / "log.txt").open("ab") as log:
                done = subprocess.run(
                    [sys.executable, "-m", "tests.fuzz.run", name, "--child", str(left),
                     "--findings", str(findings)],
                    cwd=CHECKOUT, stdout=log, stderr=log, check=False,
                    env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
                )  # fmt: skip
            if done.returncode == 0:
                break
            stops += 1  # a hang, too much memory, or a death: libFuzzer has kept the input
            time.sleep(0.5)
    found = sorted(
        {p.name.rsplit("-", 1)[0] for p in folder.glob("*-*") if p.is_file() and p.suffix != ".txt"}
    )
    return {
        "target": name,
        "seconds": round(time.monotonic() - start),
        "executions": struct.unpack("<Q", (folder / "counter").read_bytes())[0],
        "stops": stops,
        "findings": found,
    }


def main() -> int:
    arguments = argparse.ArgumentParser(prog="tests/fuzz/run.py")
    arguments.add_argument("target")
    arguments.add_argument("--seconds", type=int, default=600)
    arguments.add_argument("--findings", type=Path, default=CHECKOUT / ".fuzz")
    arguments.add_argument("--plain", action="store_true", help="plain mutation, without atheris")
    arguments.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    findings = given.findings.absolute()
    if given.child is not None:
        _child(
            given.target, findings / given.target, findings / given.target / "corpus", given.child
        )
        return 0
    from tests.fuzz.seeds import SEEDS

    if given.target != "all" and given.target not in SEEDS:
        arguments.error(f"no such target; there are: all, {', '.join(SEEDS)}")
    failed = False
    for name in SEEDS if given.target == "all" else (given.target,):
        done = run(name, given.seconds, findings, given.plain)
        print(json.dumps(done), flush=True)
        failed = failed or bool(done["findings"]) or bool(done["stops"])
    return int(failed)


if __name__ == "__main__":
    if str(CHECKOUT) not in sys.path:
        sys.path.insert(0, str(CHECKOUT))
    sys.exit(main())
