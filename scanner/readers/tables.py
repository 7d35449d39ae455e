"""What table readers share: flat and bounded batches, subject keys, files inside cells."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scanner.errors import Unreadable
from scanner.model import Blob, Location, Part, Problem, ReadOptions, Record, TableBatch, Text
from scanner.readers import raster
from scanner.readers.carving import HEAD_BYTES, MIN_CHARS, carve, decode_value, is_file
from scanner.readers.streams import as_unreadable

MAX_ROWS = 8_192  # of a batch
MAX_BATCH_BYTES = 32 << 20  # of a batch with more than one row
_MAX_NESTING = 32
_MIN_BINARY = 16  # bytes; no header of a file is shorter
# A cell that may be a file as a whole, by its first 64 characters
_MAYBE_FILE = r"^\s*(?:[dD][aA][tT][aA]:|\\x|0[xX]|(?:[A-Za-z0-9+/_-]\s*){28})"
# A text that may hold a file: a long run of digits (cheap: linear, vectorised)
_MAYBE_HOLDS = r"[A-Za-z0-9+/_-]{76}"


def name_columns(names: Iterable[str]) -> list[str]:
    """Column names made distinct: the second "name" is "name#2"."""
    seen: set[str] = set()
    distinct: list[str] = []
    for name in names:
        candidate, n = name, 1
        while candidate in seen:
            n += 1
            candidate = f"{name}#{n}"
        seen.add(candidate)
        distinct.append(candidate)
    return distinct


def emit(
    blob: Blob,
    source: Iterable[pa.RecordBatch | Problem | Text | int],
    options: ReadOptions,
    *,
    location: Location | None = None,
    schema: pa.Schema | None = None,
    clean: bool = False,
) -> Iterator[Part]:
    """A table as parts: its batches, after each the files in its cells; Problems and Texts come
    through in place.

    A number in `source` says how many rows could not be read there: numbering goes on behind them.
    `schema` is for tables without a row. `clean`: strings are known to be valid UTF-8. If `source`
    raises, the rows before are yielded first, so nothing that was read is lost.
    """
    where = location or blob.location
    pending: tuple[int, pa.RecordBatch] | None = None
    row = 0
    failure: Exception | None = None
    pieces = iter(source)
    while True:
        try:
            piece = next(pieces, None)
        except Exception as error:  # given on, below, after the rows that were read
            failure, piece = error, None
        if piece is None:
            break
        if isinstance(piece, (Problem, Text)):
            yield piece
            continue
        if isinstance(piece, int):
            row += piece
            continue
        if schema is None:
            schema = piece.schema
        for part in _prepared(piece, clean):
            if pending is not None:
                yield from _parts(blob, where, *pending, options, last=False)
            pending = row, part
            row += part.num_rows
    if pending is None and schema is not None and len(schema):
        empty = pa.RecordBatch.from_arrays([pa.nulls(0, f.type) for f in schema], schema=schema)
        pending = 0, next(_prepared(empty, clean=True))
    if pending is not None:
        yield from _parts(blob, where, *pending, options, last=True)
    if failure is not None:
        raise failure


def _prepared(batch: pa.RecordBatch, clean: bool) -> Iterator[pa.RecordBatch]:
    """Flat pieces of plain types; at least one, even if there are no rows."""
    with as_unreadable("a table's rows"):
        flat = _flattened(batch)
        if not clean:
            # before anything follows offsets or indices: they are the file's, and may lead anywhere
            flat = pa.RecordBatch.from_arrays([_valid(c) for c in flat.columns], flat.schema.names)
        for piece in _split(flat):
            yield _plain(piece)


def _parts(
    blob: Blob,
    where: Location,
    first_row: int,
    batch: pa.RecordBatch,
    options: ReadOptions,
    last: bool,
) -> Iterator[Part]:
    keys = _subject_keys(batch, options.subject_column)
    yield TableBatch(where, first_row, batch, last, keys)
    limit = options.limits.max_cell_bytes
    inherited = blob.record.subject_key if blob.record is not None else None
    for column, name in zip(batch.columns, batch.schema.names, strict=True):
        # Hugging Face images are struct<bytes, path>: the cell is called as its column is
        if name.endswith(".bytes") and f"{name[:-6]}.path" in batch.schema.names:
            name = name[:-6]
        for index, suffix, found in _files(column, limit):
            place = where.child(f"row={first_row + index}/{name}{suffix}")
            if isinstance(found, int):
                detail = f"a cell of {found} bytes, more than {limit} (max_cell_bytes)"
                yield Problem(place, "bytes", detail)
                continue
            key = keys[index] if keys is not None else inherited
            record = Record(first_row + index, key)
            yield Blob(place, io.BytesIO(found), len(found), record)


# ---------------------------------------------------------------- shape


def _flattened(batch: pa.RecordBatch) -> pa.RecordBatch:
    names: list[str] = []
    columns: list[Any] = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        for name, array in _leaves(field.name, column, 0):
            names.append(name)
            columns.append(array)
    return pa.RecordBatch.from_arrays(columns, names=name_columns(names))


def _leaves(name: str, array: Any, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if depth > _MAX_NESTING:
        raise Unreadable("depth", f"columns nested deeper than {_MAX_NESTING}")
    if pa.types.is_struct(array.type) and array.type.num_fields:
        for i, child in enumerate(array.flatten()):  # applies the parent's nulls
            yield from _leaves(f"{name}.{array.type.field(i).name}", child, depth + 1)
    elif pa.types.is_struct(array.type):
        yield name, pa.nulls(len(array))
    elif pa.types.is_union(array.type):
        codes = array.type_codes.to_numpy(zero_copy_only=False)
        dense = array.type.mode == "dense"
        slots = array.offsets.to_numpy() if dense else np.arange(len(array))
        for i, code in enumerate(array.type.type_codes):
            taken = pa.array(np.where(codes == code, slots, 0), mask=codes != code)
            child = array.field(i).take(taken)
            yield from _leaves(f"{name}.{array.type.field(i).name}", child, depth + 1)
    else:
        yield name, array


def _weight(array: Any) -> int:
    """Bytes of a column once it is decoded: a dictionary may repeat a large value in every row."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        if _is_bytes(kind.value_type) or _is_text(kind.value_type):
            lengths = pc.binary_length(array.dictionary)
            return int(pc.sum(lengths.take(array.indices)).as_py() or 0)
        return len(array) * 8
    if pa.types.is_run_end_encoded(kind):
        return int(array.values.nbytes) * max(1, len(array))
    return int(array.nbytes)


def _split(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, max(1, batch.num_rows), MAX_ROWS):
        stack = [batch.slice(start, MAX_ROWS)]
        while stack:
            piece = stack.pop()
            rows = piece.num_rows
            if rows > 1 and sum(map(_weight, piece.columns)) > MAX_BATCH_BYTES:
                stack += [piece.slice(rows // 2), piece.slice(0, rows // 2)]
            else:
                yield piece


def _plain_type(kind: Any) -> Any:
    """The ordinary type with the same values: no views, dictionaries or run ends."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_list_view(kind):
        return pa.list_(_plain_type(kind.value_type))
    if pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind):
        return pa.large_list(_plain_type(kind.value_type))
    return kind


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns: list[Any] = []
    for array in batch.columns:
        if pa.types.is_run_end_encoded(array.type):
            array = pc.run_end_decode(array)
        elif pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if pa.types.is_list_view(array.type) or pa.types.is_large_list_view(array.type):
            array = _as_list(array)
        target = _plain_type(array.type)
        if target != array.type:
            # what cannot be cast stays as it is: detectors leave types alone that they do not know
            with suppress(pa.ArrowNotImplementedError, pa.ArrowInvalid):
                array = array.cast(target)
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        columns.append(array)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _as_list(array: Any) -> Any:
    """A list view as a list (its cast makes one that is not valid, in pyarrow 26)."""
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    large = pa.types.is_large_list_view(array.type)
    made = pa.LargeListArray if large else pa.ListArray
    kind = pa.int64() if large else pa.int32()
    return made.from_arrays(pa.array(offsets, kind), array.flatten(), mask=array.is_null())


def _valid(array: Any) -> Any:
    """The column with strings that are UTF-8; raises Unreadable if its very structure is broken."""
    try:
        array.validate(full=True)
        return array
    except pa.ArrowInvalid:
        pass
    if pa.types.is_dictionary(array.type):
        values = _valid(array.dictionary)
        found = pa.DictionaryArray.from_arrays(array.indices, values, ordered=array.type.ordered)
        with as_unreadable("a dictionary's indices"):
            found.validate(full=True)
        return found
    raw = _as_bytes(array.type)
    if raw == array.type:
        raise Unreadable("malformed", "a column contradicts its own structure")
    try:
        array_raw = array.view(raw) if not pa.types.is_nested(raw) else array.cast(raw)
        array_raw.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise Unreadable("malformed", "a column contradicts its own structure") from None
    return pa.array(_decoded(array_raw.to_pylist()), type=array.type)


def _as_bytes(kind: Any) -> Any:
    if pa.types.is_string(kind):
        return pa.binary()
    if pa.types.is_large_string(kind):
        return pa.large_binary()
    if pa.types.is_string_view(kind):
        return pa.binary_view()
    if pa.types.is_list(kind):
        return pa.list_(_as_bytes(kind.value_type))
    if pa.types.is_large_list(kind):
        return pa.large_list(_as_bytes(kind.value_type))
    return kind


def _decoded(values: list[Any]) -> list[Any]:
    return [
        value.decode("utf-8", "backslashreplace")
        if isinstance(value, bytes)
        else _decoded(value)
        if isinstance(value, list)
        else value
        for value in values
    ]


# ---------------------------------------------------------------- subjects


def _subject_keys(batch: pa.RecordBatch, column: str | None) -> tuple[str | None, ...] | None:
    if column is None or column not in batch.schema.names:
        return None
    keys = batch.column(batch.schema.names.index(column))
    if pa.types.is_temporal(keys.type):
        # As text of UTC: Python's datetimes would need the files of time zones
        if pa.types.is_timestamp(keys.type):
            keys = keys.cast(pa.timestamp(keys.type.unit))
        keys = keys.cast(pa.string())
    return tuple(map(_key, keys.to_pylist()))


def _key(value: object) -> str | None:
    if isinstance(value, float):
        if value != value:
            return None
        value = int(value) if value.is_integer() else value
    elif isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    text = "" if value is None else str(value).strip()
    return text or None


# ---------------------------------------------------------------- files in cells


def _is_bytes(kind: Any) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    ) and not pa.types.is_decimal(kind)


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_list(kind: Any) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _is_octet(kind: Any) -> bool:
    return bool(pa.types.is_uint8(kind) or pa.types.is_int8(kind))


def _may_hold(kind: Any) -> bool:
    if pa.types.is_map(kind):
        return _may_hold(kind.key_type) or _may_hold(kind.item_type)
    if pa.types.is_struct(kind):
        return any(_may_hold(kind.field(i).type) for i in range(kind.num_fields))
    if _is_list(kind):
        return _is_octet(kind.value_type) or _may_hold(kind.value_type)
    return _is_bytes(kind) or _is_text(kind)


def _files(array: Any, limit: int) -> Iterator[tuple[int, str, bytes | int]]:
    """(index, place within the cell, the file's bytes, or the size of a cell over the limit)."""
    kind = array.type
    if not len(array) or not _may_hold(kind):
        return
    if _is_text(kind):
        yield from _files_in_text(array, limit)
    elif _is_bytes(kind):
        yield from _files_in_bytes(array, limit)
    elif pa.types.is_struct(kind):
        names = [kind.field(i).name for i in range(kind.num_fields)]
        for name, child in zip(names, array.flatten(), strict=True):
            own = "" if name == "bytes" and "path" in names else f".{name}"
            for index, suffix, found in _files(child, limit):
                yield index, own + suffix, found
    elif pa.types.is_map(kind):
        pairs = array.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
        yield from _files(pairs, limit)
    elif _is_octet(kind.value_type):
        for index, octets in enumerate(array):
            numbers = octets.values
            if numbers is not None and len(numbers) >= _MIN_BINARY and not numbers.null_count:
                data = numbers.to_numpy().tobytes()
                picture = raster.from_numbers(numbers.to_numpy())
                if is_file(data[:HEAD_BYTES]):
                    yield index, "", data
                elif picture is not None:
                    yield index, "", picture
    else:
        parents = pc.list_parent_indices(array).to_numpy()
        for inner, suffix, found in _files(array.flatten(), limit):
            index = int(parents[inner])
            position = inner - int(np.searchsorted(parents, index))
            yield index, f"[{position}]{suffix}", found


def _long_cells(array: Any, least: int, limit: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Rows of cells long enough to hold a file, and (row, size) of those over the limit."""
    lengths = pc.fill_null(pc.binary_length(array), 0).to_numpy(zero_copy_only=False)
    over = [(int(i), int(lengths[i])) for i in np.flatnonzero(lengths > limit)]
    return np.flatnonzero((lengths >= least) & (lengths <= limit)).tolist(), over


def _files_in_text(array: Any, limit: int) -> Iterator[tuple[int, str, bytes | int]]:
    rows, over = _long_cells(array, MIN_CHARS, limit)
    for row, size in over:
        yield row, "", size
    if not rows:
        return
    long = array.take(pa.array(rows)) if len(rows) < len(array) else array
    heads = pc.utf8_slice_codeunits(long, 0, 64)
    whole = pc.match_substring_regex(heads, _MAYBE_FILE)
    holds = pc.match_substring_regex(long, _MAYBE_HOLDS)
    numbers = pc.match_substring_regex(heads, raster.MAYBE)
    maybe = pc.or_(pc.or_(whole, holds), numbers)
    for i in np.flatnonzero(maybe.to_numpy(zero_copy_only=False)):
        text = long[int(i)].as_py()
        picture = raster.from_text(text) if numbers[int(i)].as_py() else None
        if picture is not None:
            yield rows[i], "", picture
            continue
        data = decode_value(text) if whole[int(i)].as_py() else None
        if data is not None:
            yield rows[i], "", data
        elif holds[int(i)].as_py():  # HTML, XML or JSON in a cell
            for n, inner in enumerate(carve(text, limit)):
                yield rows[i], f"#{n}", inner


def _files_in_bytes(array: Any, limit: int) -> Iterator[tuple[int, str, bytes | int]]:
    rows, over = _long_cells(array, _MIN_BINARY, limit)
    for row, size in over:
        yield row, "", size
    for row in rows:
        value = array[row].as_buffer()
        head = value[:HEAD_BYTES].to_pybytes()
        if is_file(head):
            yield row, "", value.to_pybytes()
        elif head.isascii() and len(value) >= MIN_CHARS:  # base64 in a column of bytes
            data = decode_value(value.to_pybytes().decode("ascii", "replace"))
            if data is not None:
                yield row, "", data
