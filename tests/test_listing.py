"""What ends a listing reaches the caller, whatever it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from scanner.config import Settings
from scanner.errors import CredentialsExpired
from scanner.ledger import Ledger, Target
from scanner.listing import Listing
from scanner.model import UNASSIGNED, Location, ObjectInfo, StoreSpec
from scanner.stores import Store
from scanner.subjects import SubjectKey


class _Panic(BaseException):
    """What drivers that are not written in Python raise: no Exception."""


class _Failing:
    """A target whose listing ends at once."""

    def __init__(self, error: BaseException) -> None:
        self.spec = StoreSpec("/data")
        self._error = error

    def list(self) -> Iterator[ObjectInfo]:
        raise self._error

    def location(self, key: str) -> Location:
        return Location(f"/data/{key}")


def _listing(folder: Path, *errors: BaseException) -> tuple[Listing, Ledger]:
    book = Ledger.open(folder, SubjectKey(bytes(32)))
    targets = [Target(f"base {n}", "selection", "/data") for n in range(len(errors))]
    book.begin("r", datetime(2026, 11, 22, tzinfo=UTC), targets, ["/data"] * len(errors))
    stores = [cast(Store, _Failing(error)) for error in errors]
    return Listing(Settings(), stores, book, {UNASSIGNED: "look"}), book


def test_a_panic_does_not_leave_us_waiting(tmp_path: Path) -> None:
    listing, book = _listing(tmp_path, _Panic())
    listing.start()
    with pytest.raises(_Panic):
        for _ in range(20):
            listing.tasks(0.2)
    listing.stop()
    book.close()


def test_credentials_of_two_targets_that_expire_are_told_of_both(tmp_path: Path) -> None:
    errors = (CredentialsExpired("of the first"), CredentialsExpired("of the second"))
    listing, book = _listing(tmp_path, *errors)
    listing.start()
    while listing.tasks(0.2) is not None:
        pass
    assert listing.expired is errors[0]  # `scan` writes its row
    assert listing.count == book.done == 1
    assert not list(listing.empty_targets())
    listing.stop()
    book.close()
