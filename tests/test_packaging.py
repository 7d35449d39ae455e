"""What an installation is made of: one OpenCV at one version, whichever distribution came last."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from importlib import metadata

from tests.conftest import CHECKOUT

# deepface asks for the second; both unpack into the same folder, so the last one installed wins.
DISTRIBUTIONS = ("opencv-python", "opencv-contrib-python-headless")
# what is used of cv2, by module
CORE = {
    "BORDER_REPLICATE", "CMP_GT", "CV_16U", "compare", "convertScaleAbs", "extractChannel",
    "setNumThreads", "subtract", "transpose", "utils",
}  # fmt: skip
IMGPROC = {
    "CC_STAT_AREA", "CC_STAT_HEIGHT", "CC_STAT_LEFT", "CC_STAT_TOP", "CC_STAT_WIDTH",
    "INTER_AREA", "INTER_LINEAR", "INTER_NEAREST", "MORPH_CLOSE", "MORPH_OPEN",
    "WARP_INVERSE_MAP", "blur", "connectedComponentsWithStats", "morphologyEx", "resize",
    "warpAffine",
}  # fmt: skip


def _files(distribution: str) -> dict[str, str | None]:
    """Digest by path, as the wheel recorded it before the other one overwrote the file."""
    return {
        str(file): file.hash.value if file.hash else None
        for file in metadata.files(distribution) or ()
        if str(file).startswith("cv2")
    }


def test_both_distributions_have_one_version() -> None:
    assert len({metadata.version(name) for name in DISTRIBUTIONS}) == 1


def test_cv2_is_the_version_that_pip_thinks_it_is() -> None:
    code = "import cv2; print(cv2.__version__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert metadata.version("opencv-python").startswith(found.stdout.strip())


def test_they_differ_in_the_binary_and_in_what_describes_it_only() -> None:
    """So the Python part of `cv2` is the same whatever the order; the binaries share their core."""
    plain, contrib = map(_files, DISTRIBUTIONS)
    differing = {name for name in set(plain) & set(contrib) if plain[name] != contrib[name]}
    assert {name for name in differing if not name.endswith((".pyi", ".so", ".pyd"))} <= {
        "cv2/version.py",
        "cv2/typing/__init__.py",
    }


def test_only_core_functions_are_called() -> None:
    """What both binaries have: nothing of the contrib modules, nothing of the windows (highgui).

    All are of OpenCV's modules core (channels, arithmetic, threads, logging) and imgproc (sizes,
    morphology, components, warps), which both wheels are built from, at one version.
    """
    used = set()
    for path in (CHECKOUT / "scanner").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                used |= {node.attr} if node.value.id == "cv2" else set()
    assert used
    assert used == CORE | IMGPROC


def test_the_packages_the_project_is_built_on_are_direct_dependencies() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {line.partition(">")[0] for line in project["dependencies"]}
    assert names >= {"deepface", "opencv-python", "pyarrow", "click", "pillow"}
