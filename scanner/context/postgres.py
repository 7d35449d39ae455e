"""Reads a registry out of a PostgreSQL table, as a stream of Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from scanner.context.sources import Source
from scanner.errors import ConfigError, MissingExtra

CONNECT_SECONDS = 15


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    columns: tuple[str, ...]
    quoted: str
    connection: Any  # adbc_driver_manager.dbapi.Connection, an optional package
    open_ended: bool = False

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        # Everything as text: dates, numerics, enums and UUIDs then look the same as in a file.
        asked = [
            f"{_quote(name)}::text" if name in self.columns else "NULL::text" for name in columns
        ]
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(f"SELECT {', '.join(asked)} FROM {self.quoted}")
                for batch in cursor.fetch_record_batch():
                    arrays = [column.cast(pa.string()) for column in batch.columns]
                    yield pa.RecordBatch.from_arrays(arrays, names=list(columns))
        except ConfigError:
            raise
        except Exception as error:  # the driver's texts may hold values of the table
            raise _failed(self.name, "reading the table failed", error) from None


@contextmanager
def open_table(url: str, table: str) -> Iterator[Source]:
    """The rows of `table` ("name" or "schema.name") at `url`, in one read-only snapshot.

    Raises ConfigError (never with the password, or with values), and MissingExtra without the
    driver.
    """
    try:
        from adbc_driver_postgresql import dbapi
    except ImportError:
        raise MissingExtra("a registry in PostgreSQL", "postgres") from None
    name = f"{_without_password(url)}, table {table}"
    parts = table.split(".")
    if not 1 <= len(parts) <= 2 or not all(parts) or "\0" in table:
        raise ConfigError(f"{name}: expected a table as 'name' or 'schema.name'")
    quoted = ".".join(_quote(part) for part in parts)
    try:
        connection = dbapi.connect(_with_timeout(url))
    except Exception as error:
        raise _failed(name, "cannot be connected to", error) from None
    try:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                cursor.execute("SET LOCAL datestyle TO ISO, YMD")
                cursor.execute("SET LOCAL timezone TO 'UTC'")
                cursor.execute(f"SELECT * FROM {quoted} LIMIT 0")
                columns = tuple(str(column[0]) for column in cursor.description or ())
                cursor.fetchall()
        except Exception as error:
            raise _failed(
                name, "the table cannot be read; check its name and the right to read it", error
            ) from None
        yield _Table(name, columns, quoted, connection)
    finally:
        with suppress(Exception):  # nothing was written; a lost connection is already told
            connection.close()


def _quote(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _failed(name: str, what: str, error: Exception) -> ConfigError:
    state = getattr(error, "sqlstate", None)
    return ConfigError(
        f"{name}: {what} ({type(error).__name__}{f', SQLSTATE {state}' if state else ''})"
    )


def _without_password(url: str) -> str:
    """The address for messages: host, port and database only."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        return f"postgresql://{parts.hostname or ''}{port}{parts.path}"
    except ValueError:
        return "postgresql://…"


def _with_timeout(url: str) -> str:
    if "connect_timeout=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}connect_timeout={CONNECT_SECONDS}"
