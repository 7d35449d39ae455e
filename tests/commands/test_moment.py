"""`--as-of` takes the same in every command that has it."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import pytest
from click.testing import CliRunner

from scanner.cli import consentry
from scanner.commands.moment import Moment


def options(group: click.Group) -> list[click.Parameter]:
    found = []
    for command in group.commands.values():
        if isinstance(command, click.Group):
            found += options(command)
        found += [p for p in command.params if "--as-of" in p.opts]
    return found


def test_every_command_reads_it_alike() -> None:
    found = options(consentry)
    assert len(found) >= 3
    assert {type(option.type) for option in found} == {Moment}


@pytest.mark.parametrize(
    "text",
    ["2024-05-01", "2024/5/1", "2024. 5. 1.", "20240501", "2024-05-01T09:00+09:00",
     "2024-05-01 00:00Z", "2024-05-01T00:00:00"],
)  # fmt: skip
def test_a_moment(text: str) -> None:
    assert Moment().convert(text, None, None) == datetime(2024, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "01/05/2024", "2024-13-01", "infinity", ""])
@pytest.mark.parametrize("command", [("scan", "."), ("consent", "check", "K")], ids=" ".join)
def test_no_moment(command: tuple[str, ...], text: str) -> None:
    result = CliRunner().invoke(consentry, [*command, "--as-of", text])
    assert result.exit_code == 2
    assert "expected a date such as 2022-12-31 or 2022-12-31T18:00:00+09:00" in result.output
