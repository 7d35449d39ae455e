"""Libraries kept out: nothing that looks for them may take that for anything but absence."""

from __future__ import annotations

import subprocess
import sys

import pytest


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_pyarrow_works_without_pandas() -> None:
    """`None` in sys.modules was taken for pandas itself by pyarrow: every scan crashed."""
    code = (
        "from scanner.unloaded import keep_out; keep_out('pandas'); import sys, pyarrow as pa; "
        "print(pa.array(sorted({'b', 'a'})).to_pylist(), 'pandas' in sys.modules)"
    )
    assert _python(code) == "['a', 'b'] False"


@pytest.mark.parametrize("again", [1, 2])
def test_is_as_if_it_were_not_installed(again: int) -> None:
    code = (
        "import sys; from scanner.unloaded import keep_out\n"
        f"for _ in range({again}): keep_out('wave')\n"
        "import wsgiref, wsgiref.util\n"
        "try:\n    import wave\n"
        "except ImportError as error: print(error.name, len(sys.meta_path))\n"
    )
    there = int(_python("import sys; print(len(sys.meta_path))"))
    assert _python(code) == f"wave {there + 1}"


def test_what_is_loaded_stays() -> None:
    code = (
        "import wave; from scanner.unloaded import keep_out; keep_out('wave'); "
        "import wave as again; print(again is wave)"
    )
    assert _python(code) == "True"
