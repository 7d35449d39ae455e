"""The HTML page is self-contained, complete without JavaScript, and works in a browser."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from scanner.model import SavedRun
from scanner.reports.html import _part

Render = Callable[..., bytes]
Make = Callable[..., SavedRun]
Row = dict[str, object]
RUNS = ["usual", "hostile", "empty", "interrupted", "large"]
VOID = {"meta", "br", "input"}


class Page(HTMLParser):
    """The elements of a page; checks on the way that they are well nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.text_of: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        self.text_of.setdefault(inside, []).append(data)
        if inside not in ("script", "style"):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.mark.parametrize("which", RUNS)
def test_well_formed_and_self_contained(
    which: str, render: Render, request: pytest.FixtureRequest
) -> None:
    text = render("html", request.getfixturevalue(which)).decode()
    page = Page(text)
    assert page.all("html") == [{"lang": "en"}]
    assert not {"img", "link", "iframe", "object", "embed", "base", "video"} & {
        tag for tag, _ in page.elements
    }
    for tag, attributes in page.elements:
        assert "style" not in attributes, tag
        assert "src" not in attributes, tag
        assert not any(name.startswith("on") for name in attributes), tag
        href = attributes.get("href") or "#"
        assert href.startswith(("#", "https://www.law.go.kr/")), href
    style = "".join(page.text_of["style"])
    assert "url(" not in style and "@import" not in style
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        if (link["href"] or "").startswith("#"):
            assert (link["href"] or "")[1:] in ids
    headings = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1 and headings.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(headings))
    assert {"header", "main", "nav", "footer"} <= {tag for tag, _ in page.elements}
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(th.get("scope") in ("col", "row") for th in page.all("th"))


def test_policy_names_exactly_what_is_there(usual: SavedRun, render: Render) -> None:
    page = Page(render("html", usual).decode())
    (policy,) = [
        m["content"] or ""
        for m in page.all("meta")
        if m.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy and "http" not in policy
    for kind in ("style", "script"):
        (inline,) = page.text_of[kind]
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_everything_is_told_without_javascript(usual: SavedRun, render: Render) -> None:
    page = Page(render("html", usual).decode())
    for words in (
        "May the face images and biometric fields in s3://moj-export/faces/ be used for",
        "Do not hand over yet: 3\xa0violations, 2\xa0questions only a person can answer",
        "Personal information may be provided to a third party only with the consent",
        "Obtain separate consent naming the recipient",
        "PIPA 17(1), 18(1) . Read in the text of the law itself.",
        "Read in a secondary source only",
        "The organisation's own rule, not a law.",
        "at most 900 people",
        "s3://moj-export/faces/people.parquet!/row=17/embedding",
        "법무부 외국인 얼굴",
        "Somebody decided that these do not count.",
        "privacy-team until 2027-01-31",
        "No permission to read it: GetObject: 403",
        "They are not clean; they are unknown.",
        "Looked at, whole",
        "Face images or face data",
        "A photo is not a template.",
        "It is not legal advice.",
        "The consent registry holds 12 rows",
        "--as-of 2026-11-22T12:00:00Z",
    ):
        assert words.replace("\xa0", " ") in page.text.replace("\xa0", " "), words
    hidden = [a.get("id") for _, a in page.elements if "hidden" in a]
    assert hidden == ["filter"]  # of no use without JavaScript


def test_names_are_text(hostile: SavedRun, render: Render) -> None:
    text = render("html", hostile).decode()
    assert text.count("<script>") == 1 and "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.jpg" in text
    assert "{{ 7*7 }}{% raw %}.jpg" in text


def test_links_are_only_to_the_web(usual: SavedRun, render: Render) -> None:
    assert "javascript:" not in render("html", usual).decode()


def test_long_lists_are_cut_and_say_so(large: SavedRun, render: Render) -> None:
    page = Page(render("html", large, html_findings=40, html_gaps=10).decode())
    assert len(page.all("article")) == 40
    assert "and 1,460 more findings; see findings.parquet" in page.text
    assert "and 460 more passed checks" in page.text
    assert "and 4,990 more places; see coverage.parquet" in page.text


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_contrast_is_at_least_aa(scheme: str) -> None:
    blocks = re.findall(r":root \{(.*?)\}", _part("report.css"), re.S)
    assert len(blocks) == 3
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6});", blocks[0]))
    if scheme != "light":
        block = blocks[("light", "dark", "print").index(scheme)]
        colours |= dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6});", block))

    def luminance(name: str) -> float:
        digits = colours[name][1:]
        digits = "".join(d * 2 for d in digits) if len(digits) == 3 else digits
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    pairs = [
        (ink, paper) for ink in ("ink", "quiet", "link") for paper in ("paper", "sheet", "soft")
    ]
    tones = ("stop", "warn", "ask", "clear", "note")
    pairs += [(tone, paper) for tone in tones for paper in ("sheet", f"{tone}-soft")]
    pairs += [("ink", f"{tone}-soft") for tone in tones] + [("quiet", "soft")]
    for ink, paper in pairs:
        high, low = sorted((luminance(ink), luminance(paper)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (scheme, ink, paper)


# ---------------------------------------------------------------- in a browser


class Browser:
    """As much of WebDriver as these tests need."""

    def __init__(self, port: int, chromium: str, profile: Path) -> None:
        self._url = f"http://127.0.0.1:{port}"
        arguments = [
            *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
            *("disable-sync", "disable-background-networking", "disable-component-update"),
            *("disable-dev-shm-usage", f"user-data-dir={profile}"),
        ]
        options = {
            "binary": chromium,
            "args": [f"--{argument}" for argument in arguments],
        }
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        made = self._post("/session", {"capabilities": {"alwaysMatch": wanted}})
        self._url += f"/session/{made['sessionId']}"

    def _post(self, path: str, body: Row) -> Any:
        request = urllib.request.Request(
            self._url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            request, timeout=60
        ) as answer:
            return json.load(answer)["value"]

    def open(self, path: Path) -> None:
        self.log("browser"), self.log("performance")
        self._post("/url", {"url": path.as_uri()})

    def run(self, script: str) -> Any:
        return self._post("/execute/sync", {"script": script, "args": []})

    def command(self, name: str, **parameters: object) -> Any:
        return self._post("/goog/cdp/execute", {"cmd": name, "params": parameters})

    def log(self, kind: str) -> list[dict[str, Any]]:
        entries = self._post("/se/log", {"type": kind})
        assert isinstance(entries, list)
        return entries

    def requested(self) -> set[str]:
        messages = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return {
            m["params"]["request"]["url"]
            for m in messages
            if m["method"] == "Network.requestWillBeSent"
            and m["params"]["documentURL"].startswith("file:")  # not the browser's own first page
        }


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    driver = shutil.which("chromedriver")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not driver or not chromium:
        pytest.skip("needs chromium and chromedriver")
    home = tmp_path_factory.mktemp("browser")
    log = home / "driver.log"
    with log.open("wb") as out:
        process = subprocess.Popen([driver, "--port=0"], stdout=out, stderr=out)
    try:
        port = None
        for _ in range(200):
            if port := re.search(r"started successfully on port (\d+)", log.read_text()):
                break
            time.sleep(0.05)
        assert port, "chromedriver did not start"
        browser = Browser(int(port[1]), chromium, home / "profile")
        yield browser
        request = urllib.request.Request(browser._url, method="DELETE")
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).close()
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def show(browser: Browser, render: Render, tmp_path: Path) -> Callable[[SavedRun], Browser]:
    def opened(run: SavedRun) -> Browser:
        path = tmp_path / "report.html"
        path.write_bytes(render("html", run))
        browser.open(path)
        return browser

    return opened


Show = Callable[[SavedRun], Browser]
VISIBLE_ROWS = "return [...document.querySelectorAll('#findings tbody tr:not([hidden])')].length"
VISIBLE_CARDS = "return document.querySelectorAll('article:not([hidden])').length"


@pytest.mark.parametrize("which", ["usual", "hostile", "empty"])
def test_page_runs_without_errors_and_without_network(
    which: str, show: Show, request: pytest.FixtureRequest
) -> None:
    browser = show(request.getfixturevalue(which))
    assert browser.run("return document.documentElement.dataset.ready") == "yes"
    assert browser.log("browser") == []
    (page,) = browser.requested()
    assert page.endswith("/report.html")


def test_policy_blocks_what_it_should(show: Show, usual: SavedRun) -> None:
    browser = show(usual)
    browser.run(
        "const s = document.createElement('script'); s.textContent = 'window.evil = 1';"
        "document.body.append(s);"
        "const i = document.createElement('img'); i.src = 'http://127.0.0.1:9/x';"
        "document.body.append(i);"
    )
    assert browser.run("return window.evil === undefined") is True
    assert len(browser.log("browser")) == 2  # both refusals are in the console: the log is not deaf


def set_field(browser: Browser, name: str, value: str) -> None:
    browser.run(
        f"const f = document.getElementById('filter').elements[{json.dumps(name)}];"
        f"f.value = {json.dumps(value)};"
        "f.dispatchEvent(new Event('input', {bubbles: true}));"
    )


def test_filter(show: Show, usual: SavedRun) -> None:
    browser = show(usual)
    status = "return document.getElementById('filter-status').textContent"
    assert browser.run("return document.getElementById('filter').hidden") is False
    assert browser.run(status) == "Showing 5 of 5 findings"
    set_field(browser, "verdict", "review")
    assert browser.run(status) == "Showing 2 of 5 findings"
    assert browser.run(VISIBLE_ROWS) == browser.run(VISIBLE_CARDS) == 2
    set_field(browser, "dataset", "법무부 외국인 얼굴")
    assert browser.run(VISIBLE_ROWS) == browser.run(VISIBLE_CARDS) == 1
    set_field(browser, "dataset", "All")
    set_field(browser, "verdict", "All")
    set_field(browser, "level", "warning")
    assert browser.run(VISIBLE_CARDS) == 2
    set_field(browser, "level", "All")
    set_field(browser, "text", "  ROW=17/embedding ")  # only in the card, and the row follows it
    assert browser.run(VISIBLE_ROWS) == browser.run(VISIBLE_CARDS) == 1
    set_field(browser, "text", "no such words")
    assert browser.run(status) == "Showing 0 of 5 findings"
    # paper has everything, whatever was filtered
    browser.command("Emulation.setEmulatedMedia", media="print")
    shown = "return [...document.querySelectorAll('article')].every(a => a.offsetHeight > 0)"
    assert browser.run(shown) is True
    browser.command("Emulation.setEmulatedMedia", media="")
    assert browser.run(VISIBLE_CARDS) == 0


def test_sort(show: Show, usual: SavedRun) -> None:
    browser = show(usual)
    column = (
        "return [...document.querySelectorAll('#findings tbody tr')]"
        ".map(row => row.cells[{}].textContent)"
    )
    click = "document.querySelectorAll('#findings thead button')[{}].click()"
    browser.run(click.format(3))
    assert browser.run(column.format(3)) == ["3", "24", "1,234", "1,234", "1,234"]
    browser.run(click.format(3))
    assert browser.run(column.format(3)) == ["1,234", "1,234", "1,234", "24", "3"]
    sort = "return document.querySelectorAll('#findings thead th')[3].getAttribute('aria-sort')"
    assert browser.run(sort) == "descending"
    browser.run(click.format(0))
    titles = browser.run(column.format(0))
    assert titles == sorted(titles, key=str.lower)
    assert browser.run(sort) is None


@pytest.mark.parametrize("which", ["usual", "hostile", "empty"])
@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_nothing_sticks_out(
    which: str, width: int, show: Show, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(which)
    browser = show(run)
    browser.command(
        "Emulation.setDeviceMetricsOverride",
        width=width, height=800, deviceScaleFactor=1, mobile=width < 500,
    )  # fmt: skip
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run("return window.innerWidth") == width
    browser.command("Emulation.clearDeviceMetricsOverride")


def test_prints_folded_places(show: Show, make_run: Make, make_gap: Callable[..., Row]) -> None:
    browser = show(make_run([], [make_gap(f"{n}.jpg", "error", "denied") for n in range(30)]))
    shown = "return document.querySelector('#gaps details table').checkVisibility()"
    assert browser.run(shown) is False
    browser.command("Emulation.setEmulatedMedia", media="print")
    assert browser.run(shown) is True
    browser.command("Emulation.setEmulatedMedia", media="")
