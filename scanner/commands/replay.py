"""`consentry replay`: a known incident, drawn anew and judged by the rules of today."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import click

from scanner.errors import ScannerError

DEFAULT_RECORDS = 177_600
_LIMIT = re.compile(r"[1-9][0-9]{0,5}(?:\.[0-9]{1,3})? ?(?:MB|GB|TB|MiB|GiB|TiB)", re.IGNORECASE)


class _Records(click.ParamType[int]):
    """A number of records, with or without separators, or `full`."""

    name = "records"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        text = str(value).replace("_", "").replace(",", "")
        if text == "full":
            return 0
        if not text.isdecimal() or not 1 <= int(text) <= 10**9:
            self.fail("expected a number from 1 to 1000000000, or full", param, ctx)
        return int(text)


def _limit(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not _LIMIT.fullmatch(value):
        raise click.BadParameter("expected a size such as 4GB or 800MB")
    return value


@click.command()
@click.argument("incident", metavar="INCIDENT", default="kr-immigration-2019")
@click.option(
    "--records",
    type=_Records(),
    default=str(DEFAULT_RECORDS),
    show_default=True,
    metavar="N",
    help="How many records to draw, in proportion; full: all 177,600,000.",
)
@click.option(
    "--world",
    "world_name",
    default="pipc-2022",
    show_default=True,
    metavar="WORLD",
    help="Whose facts: claims-2021, pipc-2022 or today.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=2019,
    show_default=True,
    help="Of the draw.",
)
@click.option(
    "--memory-limit",
    callback=_limit,
    default="3GB",
    show_default=True,
    metavar="SIZE",
    help="Of the database; beyond it, work goes to the disk.",
)
@click.option("--workdir", type=click.Path(path_type=Path, file_okay=False, exists=True),
              help="Where to draw (full: 15 GB). Default: the temporary folder.")  # fmt: skip
def replay(
    incident: str,
    records: int,
    world_name: str,
    seed: int,
    memory_limit: str,
    workdir: Path | None,
) -> None:
    """Replay INCIDENT: what the rules say of it in the world of each side, and what would have had
    to be settled before the first record moved. The records are drawn; no real person is in them.
    """
    import tempfile

    from scanner.policy import load_packs
    from scanner.replay.drawing import draw
    from scanner.replay.playing import before, blocking, play
    from scanner.replay.telling import told
    from scanner.replay.worlds import load_incident, load_world, world_names

    today = datetime.now(UTC).date()
    try:
        case = load_incident(incident)
        world = load_world(case, world_name, today)
        others = [
            load_world(case, name, today) for name in world_names(incident) if name != world_name
        ]
        packs = load_packs(["kr-pipa"], Path())
        with tempfile.TemporaryDirectory(prefix="consentry-replay-", dir=workdir) as name:
            folder = Path(name)
            drawn = draw(case, records or case.records, seed, folder)
            outcome = play(case, world, packs, folder, memory_limit)
            plan = before(case, packs, folder / "before")
    except OSError as error:
        raise ScannerError(
            f"the records could not be drawn ({type(error).__name__}); free space, or name another "
            "folder with --workdir"
        ) from None
    rules = sum(len(pack.rules) for pack in packs)
    for line in told(case, drawn, seed, outcome, others, blocking(plan), rules):
        click.echo(line)
