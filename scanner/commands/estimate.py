"""`consentry estimate-misses`: how many faces a scan may have missed, by a person's own look."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scanner.errors import ScannerError, UsageError

if TYPE_CHECKING:
    from scanner.misses import Opener, Sample
    from scanner.model import SavedRun
    from scanner.reports._misses import Shown

DEFAULT_SAMPLE = 200
MAX_SAMPLE = 5_000  # what a browser shows, and a person looks at
SIDE_PX = 480  # of the pictures on the page: a face of a twentieth of that can still be seen


@click.command("estimate-misses")
@click.argument("run", metavar="[RUN]", default="last")
@click.option(
    "--sample",
    "size",
    type=click.IntRange(1, MAX_SAMPLE),
    default=DEFAULT_SAMPLE,
    show_default=True,
    help="How many pictures to look at.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Of the draw. Default: random.")
@click.option(
    "--missed",
    type=click.IntRange(0),
    metavar="K",
    help="So many of them hold a face: state what that proves.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Default: consentry.yaml here; its `stores` options count as in a scan.",
)
@click.option("--profile", help="AWS profile for s3:// targets.")
@click.option("--endpoint-url", metavar="URL", help="S3 endpoint, e.g. http://127.0.0.1:9000.")
@click.option("--region", help="S3 region.")
@click.option("--anonymous", is_flag=True, default=None, help="Do not sign requests.")
@click.option("--output-directory", type=click.Path(path_type=Path), metavar="DIR",
              envvar="CONSENTRY_OUTPUT_DIRECTORY",
              help="Where runs are saved. Default: .consentry.")  # fmt: skip
def estimate_misses(
    run: str,
    size: int,
    seed: int | None,
    missed: int | None,
    output_directory: Path | None,
    **options: Any,
) -> None:
    """Draw pictures in which no face was found, for you to look at: RUN's id, its folder, or
    'last'.

    Writes a page for this machine only, beside the saved run, that shows them. Look through it,
    then give the number of pictures with a face as --missed: the answer is an exact upper bound.
    """
    from scanner import misses, runs

    folder = _folder(run, output_directory)
    saved = runs.load(folder)
    seed = secrets.randbelow(2**32) if seed is None else seed
    sample = misses.draw(folder, size, seed)
    drawn = len(sample.pictures)
    if missed is not None:
        if missed > drawn:
            raise UsageError(
                f"--missed {missed}: only {drawn} pictures are drawn; give the --sample of the page"
            )
        for line in misses.bound_lines(missed, drawn, sample.among, sample.with_faces):
            _say(line)
        if not saved.complete:
            _say("The run is not complete: this says nothing of what it did not look at.")
        return
    if not drawn:
        raise UsageError(f"{folder}: in every picture of this run a face was found, or it has none")
    place = folder.parent / f"{folder.name}-misses.html"
    command = (
        f"consentry estimate-misses {shlex.quote(run if run != 'last' else saved.info.id)} "
        f"--sample {size} --seed {seed} "
    )
    if output_directory is not None:
        command += f"--output-directory {shlex.quote(str(output_directory))} "
    unseen = _write(place, saved, sample, f"{command}--missed", options)
    _say(
        f"{sample.among:,} pictures without a found face, {drawn:,} drawn (seed {seed})"
        + (f", {unseen:,} cannot be shown" if unseen else "")
    )
    click.echo(_visible(f"page: {place}"))
    _say("It shows pictures: keep it on this machine, and delete it when you are done.")
    click.echo(_visible(f"then: {command}--missed NUMBER"))


def _folder(run: str, output_directory: Path | None) -> Path:
    from scanner import runs

    folder = runs.named(run, output_directory or Path(".consentry"))
    return folder if run == "last" else folder.absolute()


def _write(
    place: Path, saved: SavedRun, sample: Sample, command: str, options: dict[str, Any]
) -> int:
    """The page, whole or not at all, readable by its owner only; how many cannot be shown."""
    from scanner.reports._misses import page

    unseen = 0

    def counted(pictures: Iterable[Shown]) -> Iterator[Shown]:
        nonlocal unseen
        for picture in pictures:
            unseen += picture.jpeg is None
            yield picture

    pictures = counted(_pictures(sample, _opener(saved, options)))
    temporary = place.with_name(f".{place.name}-{os.getpid()}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            for piece in page(
                pictures,
                run_id=saved.info.id,
                drawn=len(sample.pictures),
                among=sample.among,
                command=command,
            ):
                file.write(piece)
        temporary.replace(place)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise UsageError(f"{place}: cannot write the page there ({why})") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return unseen


def _pictures(sample: Sample, opener: Opener) -> Iterator[Shown]:
    from scanner.engines.viewing import MAX_BYTES, Viewer
    from scanner.errors import Unreadable
    from scanner.readers.thumbnail import jpeg
    from scanner.reports._misses import Shown

    with Viewer(SIDE_PX) as viewer:
        for number, picture in enumerate(sample.pictures, 1):
            try:
                pixels = viewer.pixels(opener.read(picture, MAX_BYTES))
                yield Shown(number, picture.location, jpeg(pixels, SIDE_PX))
            except Unreadable as error:
                yield Shown(number, picture.location, None, f"{error.reason}: {error.detail}")


def _opener(saved: SavedRun, options: dict[str, Any]) -> Opener:
    """The stores of the run's targets; one that cannot be opened is said, and left out."""
    from scanner.config import Overrides, find_config, load_settings
    from scanner.misses import Opener
    from scanner.stores import open_store

    cwd = Path.cwd()
    config = options.pop("config")
    settings = load_settings(find_config(config, (), cwd), Overrides(**options), cwd)
    stores = []
    for target in saved.info.targets:
        try:
            stores.append(open_store(settings.store_spec(target)))
        except ScannerError as error:
            click.echo(_visible(f"consentry: {error}"), err=True)
    if not stores:
        raise UsageError(
            "none of the run's targets can be opened; run this where the scan was run, with its "
            "options"
        )
    return Opener(stores)


def _say(text: str) -> None:
    import textwrap

    click.echo(textwrap.fill(_visible(text), 80))


def _visible(text: str) -> str:
    from scanner.reports import visible

    return visible(text)
