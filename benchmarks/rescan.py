"""What a scan costs when nothing has changed, against listing the same objects with the same code.

    python -m benchmarks.rescan [--files 1000000] [--pairs 3]

Makes empty files (half of them in one folder, the rest in folders of a thousand), scans them
once, then in turn: a fresh process that only lists them with the store, and `consentry scan` as a
user runs it, from start to exit. Prints the seconds of each and their ratio; the promise is a
median of at most 1.5.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.listing import ROOT, make_files

PROMISE = 1.5
_LIST = (
    "import sys, time; from scanner.model import StoreSpec; from scanner.stores import open_store; "
    "started = time.perf_counter(); store = open_store(StoreSpec(sys.argv[1])); "
    "count = sum(1 for _ in store.list()); print(count, time.perf_counter() - started)"
)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--files", type=int, default=1_000_000)
    options.add_argument("--pairs", type=int, default=3)
    options.add_argument("--folder", type=Path, help="where to make the files")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as top:
        target, work = Path(top, "target"), Path(top, "work")
        target.mkdir()
        work.mkdir()
        make_files(target, given.files)
        time.sleep(61)  # many files younger than a minute are read again (engines/ctimes.py)
        print(f"first scan {scan(target, work, 'scanned', given.files):8.1f} s", flush=True)
        ratios = []
        for _ in range(given.pairs):
            listing = listed(target, given.files)
            rescan = scan(target, work, "unchanged", given.files)
            ratios.append(rescan / listing)
            print(f"listing {listing:7.2f} s   rescan {rescan:7.2f} s   ratio {ratios[-1]:.2f}")
        print(f"median ratio {statistics.median(ratios):.2f} (promise: at most {PROMISE})")


def listed(target: Path, expected: int) -> float:
    command = [sys.executable, "-c", _LIST, str(target)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment())
    count, seconds = done.stdout.split()
    assert int(count) == expected
    return float(seconds)


def scan(target: Path, work: Path, state: str, expected: int) -> float:
    """Seconds of the whole command; checks that all objects ended in `state`."""
    command = [sys.executable, "-m", "scanner", "scan", str(target), "-q", "-f", "json"]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=work, stdout=subprocess.PIPE, env=environment(), check=False)
    seconds = time.perf_counter() - started
    counts = json.loads(done.stdout)["summary"]["coverage"]
    assert counts[state] == sum(counts.values()) == expected, counts
    return seconds


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


if __name__ == "__main__":
    main()
