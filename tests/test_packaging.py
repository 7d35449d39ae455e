"""What an installation is made of: one OpenCV, both distributions at one version; all five fixed
packages used.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata


def test_both_opencv_distributions_have_one_version() -> None:
    """They unpack into the same folder; with one version it does not matter which came last."""
    versions = {metadata.version(d) for d in ("opencv-python", "opencv-contrib-python-headless")}
    assert len(versions) == 1


def test_cv2_is_the_version_that_pip_thinks_it_is() -> None:
    code = "import cv2; print(cv2.__version__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert metadata.version("opencv-python").startswith(found.stdout.strip())


def test_cv2_functions_we_use_do_not_depend_on_install_order() -> None:
    """contrib is a superset: what we call must be in the plain distribution, too."""
    import cv2

    for name in ("resize", "INTER_AREA", "INTER_LINEAR"):
        assert hasattr(cv2, name)
