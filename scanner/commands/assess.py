"""`consentry assess`: a draft of an impact assessment, made of a saved run."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from scanner.commands.whole_file import write_whole
from scanner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("run", metavar="[RUN]", default="last")
@click.option("-f", "--format", "form", type=click.Choice(["markdown", "html"]),
              default="markdown", show_default=True,
              help="Markdown is to be filled in, HTML to be read or printed.")  # fmt: skip
@click.option("-o", "--output", metavar="FILE",
              help="Write the draft there. Default: standard output.")  # fmt: skip
@click.option("--redact-paths", is_flag=True, envvar="CONSENTRY_REDACT_PATHS",
              help="Keyed pseudonyms instead of the names of objects.")  # fmt: skip
@click.option("--public-key", type=_PATH, metavar="FILE", envvar="CONSENTRY_PUBLIC_KEY",
              help="Ed25519 key (PEM) that the run's seal must be signed with.")  # fmt: skip
@click.option("--output-directory", type=_PATH, metavar="DIR",
              envvar="CONSENTRY_OUTPUT_DIRECTORY",
              help="Where runs are saved. Default: .consentry.")  # fmt: skip
@click.option("--key-file", type=_PATH, metavar="FILE", envvar="CONSENTRY_KEY_FILE",
              help="Key of the pseudonyms.")  # fmt: skip
def assess(
    run: str,
    form: str,
    output: str | None,
    redact_paths: bool,
    public_key: Path | None,
    output_directory: Path | None,
    key_file: Path | None,
) -> None:
    """Draft an impact assessment (PIA, DPIA) of a saved run: RUN's id, its folder, or 'last'.

    It tells what the run knows, and leaves a marked blank for every answer that only a person can
    give. It is no assessment until somebody has filled them in.

    \b
    consentry assess last -o assessment.md
    consentry assess last -f html -o assessment.html
    """
    from scanner import runs, seal

    folder = runs.named(run, output_directory or Path(".consentry"))
    key = None if public_key is None else seal.load_public_key(public_key)
    saved, kept = runs.load(folder), runs.kept(folder)
    found = seal.verify(folder, key)
    if found.wrong:
        _say(f"run {saved.info.id} is {seal.state(found)}; the draft says so")
    if redact_paths:
        from scanner.redaction import redacted, redacted_kept
        from scanner.subjects import SubjectKey

        pseudonyms = SubjectKey.load(key_file)
        kept = redacted_kept(saved, kept, pseudonyms)
        with redacted(saved, pseudonyms, files=False) as view:
            saved = view
    from scanner.reports._assessment import write

    missing = 0

    def render(out: IO[bytes]) -> None:
        nonlocal missing
        missing = write(
            saved, kept, out, form=form, seal=seal.state(found), sealed_well=not found.wrong
        )

    if output is None or output == "-":
        _to_stdout(render)
    else:
        _to_file(Path(output), folder, render)
        _say(f"draft: {output}; {missing} answers are missing in it")


def _to_stdout(render: Callable[[IO[bytes]], None]) -> None:
    try:
        render(sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        with suppress(OSError):  # what is left in the buffer goes nowhere, without a word
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise _cannot_write("standard output", error) from error


def _to_file(path: Path, folder: Path, render: Callable[[IO[bytes]], None]) -> None:
    """A whole draft or none, and none into the run."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; -o names a file")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}; make it first")
    if path.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{path}: lies in the saved run itself; write the draft elsewhere")
    try:
        write_whole(path, render)
    except OSError as error:
        raise _cannot_write(str(path), error) from error


def _cannot_write(where: str, error: OSError) -> UsageError:
    reason = error.strerror or type(error).__name__
    return UsageError(f"{where}: cannot write the draft there ({reason})")


def _say(text: str) -> None:
    from scanner.reports import visible

    click.echo(f"consentry: {visible(text)}", err=True)
