"""Stage 3, what is biometric: one module per detector, found by walking this folder in name order.

A detector module holds one constant, `DETECTOR`, whose object has a `name`, a `version` and one or
more of the methods below; what it does not implement it does not judge. Adding one detector is
adding one module here plus its test. The face detector is the exception: a run chooses it by a spec
(`face_detector`), because some need a model file that the user has to bring.

Detectors keep no state between calls, except that a face detector keeps its model; the state of one
table lives in its `TableScan`. A detector never puts a value, a name or a pixel into a `Detection`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from scanner.vocabulary import BALANCED, CPU

if TYPE_CHECKING:
    from scanner.model import Detection, ImageMetadata, Location, Picture, TableBatch, Text

CENTERFACE = "centerface"
DEEPFACE_PREFIX = "deepface:"
_BY_SPEC = "face"  # its place in the order of all detectors


@runtime_checkable
class Detector(Protocol):
    """What every detector has; `version` changes whenever its answers may."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...


@runtime_checkable
class PictureDetector(Detector, Protocol):
    """Judges the pixels of one decoded frame."""

    def picture(self, picture: Picture) -> Iterator[Detection]: ...


@runtime_checkable
class SizedPictureDetector(PictureDetector, Protocol):
    """One that says how large its frames have to be; the others get them at ReadOptions' size."""

    @property
    def look_px(self) -> int:
        """Frames may be decoded reduced to no less than this long side."""
        ...

    @property
    def first_px(self) -> int:
        """They may come smaller, with no less than this, as `Picture.sharper` gives the rest."""
        ...


@runtime_checkable
class LayoutDetector(Detector, Protocol):
    """Judges one frame as a whole, given what the picture detectors have seen in it."""

    def layout(self, picture: Picture, seen: Sequence[Detection]) -> Iterator[Detection]: ...


@runtime_checkable
class MetadataDetector(Detector, Protocol):
    """Judges what an image file says beside its pixels."""

    def metadata(self, meta: ImageMetadata) -> Iterator[Detection]: ...


class TableScan(Protocol):
    """The look at one table: all its batches in order, then `finish` once."""

    def batch(self, batch: TableBatch) -> Iterator[Detection]: ...

    def finish(self) -> Iterator[Detection]: ...


@runtime_checkable
class TableDetector(Detector, Protocol):
    """Judges column names and cell values; `table()` starts a fresh look at one table."""

    def table(self) -> TableScan: ...


@runtime_checkable
class TextDetector(Detector, Protocol):
    """Judges consecutive lines of a plain-text item."""

    def text(self, text: Text) -> Iterator[Detection]: ...


@runtime_checkable
class PathDetector(Detector, Protocol):
    """Judges names only, never bytes."""

    def path(self, location: Location) -> Iterator[Detection]: ...


def all_detectors(
    face: str = CENTERFACE, level: str = BALANCED, device: str = CPU
) -> tuple[Detector, ...]:
    """Every detector of this folder in name order, the face detector built from the spec `face`.

    Raises what `face_detector` raises.
    """
    found: list[Detector] = []
    for module_info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        if module_info.name == _BY_SPEC:
            found.append(face_detector(face, level, device))
        elif not module_info.name.startswith("_"):
            module = importlib.import_module(f"{__name__}.{module_info.name}")
            detector = getattr(
                module, "DETECTOR", None
            )  # a module without one serves its neighbours
            if detector is not None:
                found.append(detector)
    return tuple(found)


def face_detector_names() -> tuple[str, ...]:
    """Every spec that `face_detector` knows, the default first."""
    from scanner.detectors.deepface_backend import BACKENDS

    return (CENTERFACE, *(f"{DEEPFACE_PREFIX}{name}" for name in BACKENDS))


def face_detector(spec: str, level: str = BALANCED, device: str = CPU) -> PictureDetector:
    """The face detector that `spec` names: "centerface", or "deepface:<backend>" such as
    "deepface:yunet". `level`, one of FACE_LEVELS, is how far CenterFace goes over what is doubtful,
    `device` what it runs on (devices.py).

    Raises UsageError for a name that is not known, ModelMissing if its model file or package is not
    there. Nothing is ever downloaded.
    """
    from scanner.errors import UsageError

    if spec == CENTERFACE:
        from scanner.detectors.face import CenterFace

        return CenterFace(level, device)
    from scanner.detectors.deepface_backend import BACKENDS, DeepFaceBackend

    backend = spec.removeprefix(DEEPFACE_PREFIX)
    if not spec.startswith(DEEPFACE_PREFIX) or backend not in BACKENDS:
        known = ", ".join(face_detector_names())
        raise UsageError(f"unknown face detector {spec!r}; known are: {known}")
    return DeepFaceBackend(backend)
