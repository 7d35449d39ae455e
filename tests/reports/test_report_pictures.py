"""What the pictures hold, as each report tells it."""

from __future__ import annotations

import io
import json

import pytest
from rich.cells import cell_len

from scanner.model import PictureCounts, SavedRun
from scanner.reports import RenderOptions, html, table
from scanner.reports import json as json_report
from scanner.reports._words import picture_groups


def text(run: SavedRun, report: object, **options: object) -> str:
    out = io.BytesIO()
    report.write(run, out, RenderOptions(**options))  # type: ignore[attr-defined, arg-type]
    return out.getvalue().decode()


def test_groups_in_words() -> None:
    assert picture_groups(PictureCounts("d", 0, 1, 0, 0, 0)) == "1 portrait"
    assert picture_groups(PictureCounts("d", 1_200, 2, 1, 3, 4)) == (
        "4 with identity documents, 3 crowds, 2 portraits, 1 other with faces, 1,200 without a face"
    )


def test_the_table_has_a_line_for_each_dataset(usual: SavedRun) -> None:
    told = text(usual, table, width=80)
    assert "  citizens: 1 portrait\n" in told
    assert "2 with identity documents, 3 crowds, 1,180 portraits" in told


@pytest.mark.parametrize("width", [40, 80])
def test_the_lines_fit(usual: SavedRun, width: int) -> None:
    assert all(cell_len(line) <= width for line in text(usual, table, width=width).splitlines())


def test_json_has_the_numbers(usual: SavedRun) -> None:
    citizens, foreigners = json.loads(text(usual, json_report))["pictures"]
    assert citizens == {
        "dataset_id": "citizens", "no_face": 0, "portraits": 1, "some_faces": 0, "crowds": 0,
        "documents": 0,
    }  # fmt: skip
    assert [
        foreigners[n] for n in ("no_face", "portraits", "some_faces", "crowds", "documents")
    ] == ([12, 1_180, 40, 3, 2])


def test_the_page_has_a_row_for_each_dataset(usual: SavedRun) -> None:
    page = text(usual, html)
    rows = page.partition("Pictures by what they hold")[2].partition("</table>")[0]
    assert rows.count("<tr>") == 3
    cells = rows.partition("법무부 외국인 얼굴")[2]
    assert [part.partition("<")[0] for part in cells.split('<td class="right">')[1:]] == [
        "2", "3", "1,180", "40", "12",
    ]  # fmt: skip


def test_a_run_without_pictures_says_nothing_of_them(empty: SavedRun) -> None:
    for report in (table, html):
        assert "Pictures by what they hold" not in text(empty, report)
    assert json.loads(text(empty, json_report))["pictures"] == []
