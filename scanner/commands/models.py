"""`consentry models`: the face detectors there are, and those that a user adds."""

from __future__ import annotations

import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import click

from scanner.errors import ScannerError, UsageError

NOT_INTACT = 1

# Shares of 795 labelled pictures in which a face is reported, and CPU time of a picture without one
# relative to `fast`; benchmarks/faces.py measures them, docs/recall-card.md has the whole table.
_MEASURED = """\
centerface goes as far as --faces says; measured on 795 labelled pictures:
              faces reported in          reported where   of these   time where
            portraits  masks  crowds     there is none    certain    none is
  fast        1.000    0.988  0.890          0.057         0.000        1
  balanced    1.000    0.988  0.955          0.023         0.006        2
  thorough    1.000    0.988  0.970          0.057         0.006        7"""


@click.group()
def models() -> None:
    """The face detectors that can be used."""


@models.command("list")
def models_list() -> None:
    """Every face detector, whether its model file is there, and what was added."""
    from scanner.detectors import face_detector, face_detector_names
    from scanner.detectors.added import added_models

    for name in face_detector_names():
        try:
            found = face_detector(name)
        except ScannerError as error:
            _line(f"{name:<20} not there  {error}")
        else:
            _line(f"{name:<20} ready      version {found.version}")
    click.echo(_MEASURED)
    for model in added_models():
        _line(f"{model.name:<20} added      version {model.version}, licence {model.licence}")


@models.command("add")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--licence", "--license", default="", metavar="TEXT",
              help="Under which terms you may use it; kept with it.")  # fmt: skip
@click.option("--name", metavar="NAME", help="Default: its kind, e.g. yunet.")
def models_add(file: Path, licence: str, name: str | None) -> None:
    """Copy an ONNX face detector into your model folder and pin its SHA-256.

    Scans use it from then on, beside the detector they are told to use. Files whose digest is no
    longer the pinned one are refused.
    """
    from scanner.detectors.added import add, read_file
    from scanner.detectors.onnx_files import kind_of, parsed
    from scanner.detectors.yunet import YuNet

    shown = str(file)
    try:
        data = read_file(file)
    except OSError as error:
        raise UsageError(f"{shown}: cannot be read ({error.strerror or 'I/O error'})") from None
    kind = kind_of(parsed(data, shown), shown)
    YuNet(data, "", shown)  # the only kind there is; refused here rather than in a scan
    model = add(data, name=name or kind, kind=kind, licence=licence, now=datetime.now(UTC))
    _line(f"added {model.name}: {model.kind}, {model.size:,} bytes, licence {model.licence}")
    _line(f"SHA-256 {model.sha256}")


@models.command("remove")
@click.argument("name", metavar="NAME")
def models_remove(name: str) -> None:
    """Forget a model that was added, and delete its file."""
    from scanner.detectors.added import remove

    remove(name)
    _line(f"removed {name}")


@models.command("verify")
def models_verify() -> None:
    """Whether every model file is the pinned one.

    Exit codes: 0 all are, 1 one is not (or is not there), 2 wrong use.
    """
    from scanner.detectors import CENTERFACE
    from scanner.detectors.added import added_models, pinned_bytes
    from scanner.detectors.centerface import CenterFaceNetwork

    wrong = 0
    try:
        CenterFaceNetwork()
    except ScannerError as error:
        wrong += 1
        _line(f"{CENTERFACE:<20} WRONG  {error}")
    else:
        _line(f"{CENTERFACE:<20} ok     the file that comes with the package")
    for model in added_models():
        try:
            pinned_bytes(model)
        except ScannerError as error:
            wrong += 1
            _line(f"{model.name:<20} WRONG  {error}")
        else:
            _line(f"{model.name:<20} ok     SHA-256 {model.sha256[:12]}…, added {model.added[:10]}")
    sys.exit(NOT_INTACT if wrong else 0)


def _line(text: str) -> None:
    """At most 80 columns; names in it act on no terminal."""
    from scanner.reports import visible

    click.echo(
        textwrap.fill(
            visible(text),
            80,
            subsequent_indent=" " * 4,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )
