"""A saved run in which every name of an object is a keyed pseudonym: what `--redact-paths` shows.

    s3://moj/faces/kim_minji.zip!/front.JPG  →  path:3f9a….zip!/member:77aa….jpg

The pseudonym is HMAC-SHA256 (128 bits) under a key derived from the installation's subject key, so
one name has the same pseudonym in every report of an installation, and nobody without the key can
test a guess. The nesting (`!/`) stays, and the extension where it is one that files usually have.
The saved run keeps the names: whoever has it and the key finds the object again.
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scanner import schemas
from scanner.errors import UsageError
from scanner.model import Kept, RunInfo, SavedRun
from scanner.subjects import SubjectKey

_READ_ROWS = 65_536
# Kept at the end of a pseudonym. A closed list: what stands behind the last dot may be a name.
_ENDINGS = """
7z ar arrow avi avif avro bin bmp bz2 cab csv dcm doc docx eps feather gif gz h5 heic heif htm html
ico ipynb iso j2k jp2 jpe jpeg jpg json jsonl jxl log lz4 m4a md mdb mkv mov mp3 mp4 ndjson npy npz
odt onnx orc parquet pdf pickle pkl png ppt pptx pt pth rar raw rtf safetensors sqlite svg tar
tfrecord tgz tif tiff toml tsv txt wav webm webp xls xlsx xml xz yaml yml zip zst
"""
_EXTENSIONS = frozenset(_ENDINGS.split())
# A word in a sentence that can only be the name of a file, folder or object. What stands in
# sentences otherwise (purposes, countries, cites such as "35(3)(b)") is left alone.
_WORD = re.compile(r"[^\s\"'`]+")
_BELOW = r"((?:!?/[^\s\"'`]*)?)"
_TRAILING = ".,;:!?)]}"
# An exclude rule that names kinds of files only says nothing about any one of them.
_KIND_ONLY = re.compile(r"[*/]*(?:\.\w{1,11})*")

# Columns that hold a location or a key, by table; `item_id` is a digest without a key of one.
_NAMED = {
    "affected": ("location",),
    "coverage": ("location",),
    "detections": ("location", "object_key", "item_key"),
}
_IDS = ("item_id",)
# Columns of what a run keeps that a person has written: references, mostly.
_WRITTEN = {
    "datasets": ("collected_for", "legal_basis"),
    "transfers": (
        "role_basis", "purpose", "legal_basis", "agreement_ref", "published_ref", "transfer_tool",
    ),
    "parties": ("name",),
    "evidence": ("ref", "attested_by"),
    "facts": ("value",),
}  # fmt: skip


@contextmanager
def redacted(run: SavedRun, key: SubjectKey, *, files: bool = True) -> Iterator[SavedRun]:
    """A view of `run` without names of objects; `files` also makes its Parquet files.

    These lie in a temporary folder that is gone afterwards. Raises UsageError if a file of the run
    is lost or damaged, or if there is no room.
    """
    names = _Pseudonyms(key)
    targets = sorted(run.info.targets, key=len, reverse=True)

    def sentence(text: str | None, known: Sequence[str] = ()) -> str | None:
        return None if text is None else names.in_sentence(text, [*known, *targets])

    findings = [
        row
        | {
            "sample_locations": _each(row["sample_locations"], names.location),
            "reason": sentence(row["reason"], row["sample_locations"] or ()),
            "suppressed_by": sentence(row["suppressed_by"], row["sample_locations"] or ()),
        }
        for row in run.findings.to_pylist()
    ]
    view = dataclasses.replace(
        run,
        info=_info(run.info, names, sentence),
        findings=pa.Table.from_pylist(findings, run.findings.schema),
        coverage_gaps=_rows(run.coverage_gaps, "coverage", names, sentence),
    )
    if not files:
        yield view
        return
    with tempfile.TemporaryDirectory(prefix="consentry-") as scratch:
        for table in _NAMED:
            _copy(run.file(table), Path(scratch, f"{table}.parquet"), table, names, sentence)
        yield dataclasses.replace(view, folder=Path(scratch))


def redacted_kept(run: SavedRun, kept: Kept, key: SubjectKey) -> Kept:
    """What a run keeps beside its findings, without names of objects in what people have written.

    Ids of datasets, transfers, parties and evidence stay: findings name them, too.
    """
    names = _Pseudonyms(key)
    targets = sorted(run.info.targets, key=len, reverse=True)
    changed: dict[str, pa.Table] = {}
    for table, columns in _WRITTEN.items():
        found = getattr(kept, table)
        if found is None:
            continue
        for column in columns:
            found = _replaced(found, column, lambda text: names.in_sentence(text, targets))
        changed[table] = found
    return dataclasses.replace(kept, **changed)


_Sentence = Callable[[str | None], str | None]


def _info(info: RunInfo, names: _Pseudonyms, sentence: _Sentence) -> RunInfo:
    settings = dict(info.settings)
    config = settings.get("config")
    if isinstance(config, str) and config not in ("consentry.yaml", "consentry.yml"):
        settings["config"] = names.location(config)
    for patterns in ("include", "exclude"):
        given = settings.get(patterns)
        if isinstance(given, Sequence) and not isinstance(given, str):
            settings[patterns] = [names.pattern(str(pattern)) for pattern in given]
    return dataclasses.replace(
        info,
        targets=tuple(map(names.location, info.targets)),
        policies=tuple(names.location(p) if "/" in p or "\\" in p else p for p in info.policies),
        settings=settings,
        notes=tuple(sentence(note) or "" for note in info.notes),
    )


def _copy(source: Path, place: Path, table: str, names: _Pseudonyms, sentence: _Sentence) -> None:
    """A Parquet file of the run with its names replaced, a stretch of rows at a time."""
    schema = {"affected": schemas.AFFECTED, "coverage": schemas.COVERAGE}.get(
        table, schemas.DETECTIONS
    )
    try:
        with pq.ParquetFile(source) as file, pq.ParquetWriter(place, schema) as writer:
            for batch in file.iter_batches(batch_size=_READ_ROWS, columns=schema.names):
                rows = schemas.whole(pa.Table.from_batches([batch]), schema)
                writer.write_table(_rows(rows, table, names, sentence))
    except FileNotFoundError as error:
        raise UsageError(f"{source}: the saved run has lost this file; scan again") from error
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        kind = type(error).__name__
        raise UsageError(
            f"{source}: cannot be copied without its names ({kind}); scan again, or make room in "
            "the temporary folder (TMPDIR)"
        ) from error


def _rows(table: pa.Table, name: str, names: _Pseudonyms, sentence: _Sentence) -> pa.Table:
    """A table of the run with the columns replaced that name an object."""
    for column in _NAMED[name]:
        table = _replaced(table, column, names.location)
    for column in _IDS:
        if column in table.column_names:
            table = _replaced(table, column, names.id)
    if name == "coverage":
        table = _replaced(table, "reason", names.reason)
        table = _replaced(table, "detail", lambda text: sentence(text) or "")
    return table


def _replaced(table: pa.Table, column: str, change: Callable[[str], str]) -> pa.Table:
    """Each text is changed once, however many rows of a stretch have it."""
    at = table.schema.get_field_index(column)
    pieces = []
    for chunk in table.column(at).chunks:
        encoded = chunk.dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        changed = pa.array([None if t is None else change(t) for t in texts], pa.string())
        pieces.append(changed.take(encoded.indices))
    return table.set_column(at, table.schema.field(at), pa.chunked_array(pieces, pa.string()))


def _each(values: Sequence[str] | None, change: Callable[[str], str]) -> list[str] | None:
    return None if values is None else [change(value) for value in values]


class _Pseudonyms:
    """One installation's pseudonyms."""

    def __init__(self, key: SubjectKey) -> None:
        self._key = key.derived("consentry path pseudonyms 1")

    def location(self, location: str) -> str:
        """`path:…` of the object, then `!/member:…` for each level within it."""
        first, *nested = location.split("!/")
        named = [self._one("path", first)]
        # A member's pseudonym depends on what it lies in: equal names in two archives tell nothing.
        here = first
        for member in nested:
            here += f"!/{member}"
            named.append(self._one("member", here, member))
        return "!/".join(named)

    def id(self, item_id: str) -> str:
        return self._key.exact_digest(f"item {item_id}")

    def pattern(self, pattern: str) -> str:
        """A glob: kept where it only names kinds of files (`*.tmp`)."""
        return pattern if _KIND_ONLY.fullmatch(pattern) else self._one("path", f"glob {pattern}")

    def reason(self, reason: str) -> str:
        """A coverage reason: of `rule:<pattern>` the pattern is the name of something."""
        if not reason.startswith("rule:") or reason == "rule:symlink":
            return reason
        return "rule:" + self.pattern(reason.removeprefix("rule:"))

    def in_sentence(self, text: str, known: Sequence[str]) -> str:
        """A sentence without names: those that are `known`, and every word that looks like one."""
        found = {name: self.location(name) for name in known if len(name) > 1}
        if found:
            longest_first = sorted(found, key=len, reverse=True)
            # also what lies below one of them, named as a whole
            either = re.compile(f"({'|'.join(map(re.escape, longest_first))}){_BELOW}")

            def replaced(match: re.Match[str]) -> str:
                below = match[2].rstrip(_TRAILING)
                named = self.location(match[1] + below) if below else found[match[1]]
                return named + match[2][len(below) :]

            text = either.sub(replaced, text)
        return _WORD.sub(self._word, text)

    def _word(self, match: re.Match[str]) -> str:
        word = match[0]
        lead = word[: len(word) - len(word.lstrip("(["))]
        name = word[len(lead) :].rstrip(_TRAILING)
        tail = word[len(lead) + len(name) :]
        if not _is_name(name):
            return word
        return f"{lead}{self.location(name)}{tail}"

    def _one(self, kind: str, whole: str, name: str | None = None) -> str:
        return f"{kind}:{self._key.exact_digest(whole)}{_extension(name or whole)}"


def _extension(name: str) -> str:
    """The ending that says what kind of file it is: `.jpg`, `.tar.gz`, or nothing."""
    ending = ""
    for part in reversed(name.rsplit(".", 2)[1:]):
        if part.lower() not in _EXTENSIONS:
            break
        ending = f".{part.lower()}{ending}"
    return ending


def _is_name(word: str) -> bool:
    if word.startswith(("path:", "member:")) or word in ("/", "!/"):
        return False
    return (
        word.startswith(("/", "./", "../", "~/", "\\\\"))
        or "://" in word
        or "!/" in word
        or ("/" in word and word.count("/") > 1)
        or re.match(r"[A-Za-z]:\\", word) is not None
        or (_extension(word) != "" and not word.startswith("."))
    )
