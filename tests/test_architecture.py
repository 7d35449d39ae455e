"""The dependency direction of docs/design.md, checked: a stage never imports its neighbour."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "scanner"
MODULES = sorted(PACKAGE.rglob("*.py"))
STAGES = ("stores", "readers", "detectors", "context", "policy", "reports")
# What stages may share: types, errors, schemas, and small neutral modules.
SHARED = {
    "model", "errors", "schemas", "subjects", "yamlsafe", "moments", "vocabulary", "countries",
    "purposes", "chains", "circles", "__version__",
}  # fmt: skip

# library → the only places that may import it
HEAVY = {
    "click": ("cli.py", "commands/"),
    "duckdb": ("policy/",),
    "sqlglot": ("policy/",),
    "cv2": ("detectors/",),
    "onnx": ("detectors/",),
    "onnxruntime": ("detectors/",),
    "deepface": ("detectors/",),
    "PIL": ("readers/",),
    "botocore": ("stores/",),
    "fsspec": ("stores/",),
    "jinja2": ("reports/",),
    "rich": ("reports/", "cli.py"),
    "adbc_driver_postgresql": ("context/",),
}


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def _place(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=_place)
def test_opens_with_one_sentence(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text, f"{_place(path)} has no docstring"


@pytest.mark.parametrize("path", MODULES, ids=_place)
def test_stage_imports_no_neighbour(path: Path) -> None:
    stage = _place(path).split("/")[0]
    if stage not in STAGES:
        return
    for name in _imports(path):
        if not name.startswith("scanner"):
            continue
        target = name.split(".")[1] if "." in name else "scanner"
        assert target == stage or target in SHARED, f"{_place(path)} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=_place)
def test_heavy_libraries_stay_in_their_stage(path: Path) -> None:
    place = _place(path)
    for name in _imports(path):
        allowed = HEAVY.get(name.split(".")[0])
        if allowed is not None:
            assert place.startswith(allowed), f"{place} imports {name}"


def test_nobody_imports_the_command_line() -> None:
    users = [
        _place(path)
        for path in MODULES
        if any(name.startswith("scanner.cli") for name in _imports(path))
    ]
    assert users == ["__main__.py"]


def test_library_list_is_real() -> None:
    """A rule about a library that nobody imports would check nothing."""
    used = {name.split(".")[0] for path in MODULES for name in _imports(path)}
    assert set(HEAVY) <= used | {"adbc_driver_postgresql"}
