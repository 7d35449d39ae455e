"""What supervision and sandbox cost: the engine against bare processes with the same looker.

    python -m benchmarks.supervision [--count 300] [--jobs 2] [--pairs 5]

Both look at the same JPEGs with everything loaded beforehand. The floor is as many plain processes,
each with its share of the files, that open them themselves and tell nobody: no supervisor, no
sandbox, no rows. Prints images per second and the ratio of each pair; the promise is a median of
.90.
"""

from __future__ import annotations

import argparse
import statistics
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.detect import pictures
from scanner.engines.local import LocalEngine
from scanner.engines.results import Naming
from scanner.engines.work import Job, Said, Setup, Task, Worker
from scanner.model import DatasetSpec, Limits, StoreSpec
from scanner.stores import open_store
from scanner.subjects import SubjectKey

SETUP = Setup(
    datasets=(DatasetSpec("d"),),
    limits=Limits(),
    face_detector="centerface",
    faces="balanced",
    subjects=SubjectKey(bytes(32)),
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=300)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--pairs", type=int, default=5)
    given = options.parse_args()
    folder = str(pictures(given.count))
    ratios = []
    for _ in range(given.pairs):
        floor = given.count / bare(folder, given.jobs)
        engine = given.count / supervised(folder, given.jobs, given.count)
        ratios.append(engine / floor)
        print(f"bare {floor:6.1f}/s   engine {engine:6.1f}/s   ratio {ratios[-1]:.3f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.3f} (promise: at least .90)")


# ---------------------------------------------------------------- the floor


def bare(folder: str, jobs: int) -> float:
    """Seconds of the slowest of `jobs` plain processes."""
    spawn = get_context("spawn")
    barrier = spawn.Barrier(jobs)
    seconds: Any = spawn.Queue()
    processes = [
        spawn.Process(target=_bare, args=(folder, jobs, share, barrier, seconds))
        for share in range(jobs)
    ]
    for process in processes:
        process.start()
    found: list[float] = [seconds.get() for _ in processes]
    for process in processes:
        process.join()
    return max(found)


def _bare(folder: str, jobs: int, share: int, barrier: Barrier, seconds: Any) -> None:
    worker = Worker(SETUP)
    paths = sorted(Path(folder).iterdir())[share::jobs]
    _look(worker, paths[0])
    barrier.wait()
    started = perf_counter()
    for path in paths:
        _look(worker, path)
    seconds.put(perf_counter() - started)


def _look(worker: Worker, path: Path) -> None:
    job = Job(0, 1, 0, path.name, path.stat().st_size, "", str(path), "file", None)
    with path.open("rb") as stream:
        worker.look(job, stream, Said(), lambda: None)


# ---------------------------------------------------------------- the engine


def supervised(folder: str, jobs: int, count: int) -> float:
    """Seconds of the engine for the same files, from when all its workers are ready to the last
    row.
    """
    store = open_store(StoreSpec(folder))
    tasks = [Task(number, 0, 0, info) for number, info in enumerate(store.list())]
    times: list[float] = []

    def supply(seconds: float) -> list[Task] | None:
        if times:
            return None
        if not all(worker.ready for worker in engine._workers):
            return []
        times.append(perf_counter())
        return tasks

    def name(task: Task) -> Naming:
        return Naming(task.info.key, store.location(task.info.key), "d", "")

    engine = LocalEngine(SETUP, jobs, [store], name, lambda number, attempt: None)
    for _ in range(jobs):
        engine._start()
    done = 0
    for rows in engine.run(supply, lambda: False, lambda: None):
        done += len(rows.coverage)
        times.append(perf_counter())
    assert done == count
    return times[-1] - times[0]


if __name__ == "__main__":
    main()
