"""Run as a program: looks at all files of a folder, locked in or not, and prints what it saw.

`python look_locked.py FOLDER locked|open|bare` prints one JSON object: `seen` (by file: detections
and problems), `reached` (what was opened, imported or connected meanwhile), `level`, `threads`
before the lock-down. What is looked at is in memory before, as in a worker. `bare` locks itself in
with readers and detectors imported, but nothing of what they load later.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from scanner.engines.sandbox import isolate, lock_down

SUBJECT = "subject"
_WATCHED = (
    "open", "import", "socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system",
    "os.listdir", "os.scandir", "os.mkdir", "ctypes.dlopen", "urllib.",
)  # fmt: skip


def main(folder: Path, way: str) -> None:
    locked = way != "open"
    namespaces = isolate() if locked else ()
    began = time.perf_counter()
    from scanner.detectors import all_detectors
    from scanner.engines.preload import preload
    from scanner.look import Judged, Looker
    from scanner.model import Blob, Detection, Limits, Location, Problem, ReadOptions
    from scanner.readers import all_readers

    # times are not what is compared here
    limits = Limits(max_scan_time=1_000_000, max_stall_time=1_000_000)
    options = ReadOptions(limits=limits, subject_column=SUBJECT)
    looker = Looker(all_detectors())
    loaded = time.perf_counter()
    if way == "locked":
        preload(looker, options)
    else:
        all_readers()
    ready = time.perf_counter()
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    reached: dict[str, str] = {}
    here = [""]
    if locked:

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            if event.startswith(_WATCHED):
                reached.setdefault(f"{event} {arguments[:1]!r}", here[0])

        level = str(lock_down(max_memory=2 << 30, namespaces=namespaces))
        sys.addaudithook(hook)
    else:
        level = ""
    seen: dict[str, list[object]] = {}
    looking = time.process_time()
    for name, data in files.items():
        here[0] = name
        rows = seen[name] = []
        for sight in looker.look(Blob(Location(name), io.BytesIO(data), len(data)), options):
            if isinstance(sight, Problem):
                rows.append([str(sight.location), sight.reason, sight.detail])
            elif isinstance(sight, Detection):
                box = [round(side, 2) for side in sight.box or ()]
                score, key = round(sight.confidence, 4), sight.subject_key
                rows.append([str(sight.location), sight.kind, sight.certainty, score, box, key])
            elif isinstance(sight, Judged):
                rows.append([str(sight.location), "judged"])
            else:
                rows.append([str(sight.location), sight.media_type, sight.opened])
    print(
        json.dumps(
            {
                "seen": seen,
                "reached": reached,
                "level": level,
                "threads": threads,
                "load_s": loaded - began,
                "preload_s": ready - loaded,
                "look_cpu_s": time.process_time() - looking,
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
