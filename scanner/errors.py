"""Every error that this program raises on purpose.

ScannerError                     what, where and what to do, in one line
├── UsageError                   the command line or the target is wrong            (exit code 2)
├── ConfigError                  consentry.yaml or a registry it names is wrong     (exit code 2)
├── PolicyError                  a pack, a rule or one of its cases is wrong        (exit code 2)
├── MissingExtra                 an optional package is needed; says how to get it  (exit code 2)
├── ModelMissing                 a model file is not there or not the pinned one    (exit code 2)
├── StoreError                   a store cannot be listed or opened                 (reason code)
│   └── CredentialsExpired       it no longer knows us: the run pauses              (exit code 3)
├── LedgerFault                  the run cannot be written down: it pauses          (exit code 3)
└── Unreadable                   one item cannot be looked at                       (reason code)

The first five end a run before it starts. StoreError and Unreadable carry a coverage reason
(`model.Reason`) and become a coverage row: they never end a run. A run that pauses goes on where it
stopped, with the next `consentry scan --resume`.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scanner.model import Reason


# What a disk says that is full or broken: a run pauses, it does not fail
DISK_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})


class ScannerError(Exception):
    """One line for a person: what is wrong, where, and what to do about it."""


class UsageError(ScannerError):
    """The command line asks for something that cannot be done."""


class ConfigError(ScannerError):
    """The configuration or a registry cannot be used as it is."""


class PolicyError(ScannerError):
    """A rule pack cannot be used as it is."""


class MissingExtra(ScannerError):
    """An optional package is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an extra package: pip install 'consentry[{extra}]'")
        self.extra = extra


class ModelMissing(ScannerError):
    """A model file is absent, or is not the file whose digest is pinned."""


class StoreError(ScannerError):
    """A store, or one object in it, cannot be reached; `reason` is the coverage reason code."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail


class CredentialsExpired(StoreError):
    """The credentials have expired and could not be renewed: every further object would fail."""

    def __init__(self, detail: str) -> None:
        super().__init__("denied", detail)
        self.store = 0  # index of the target, told by who opened it


class LedgerFault(ScannerError):
    """The ledger cannot be written (disk full, I/O error); what was committed is intact."""


class Unreadable(ScannerError):
    """One item cannot be looked at (whole); `reason` is the coverage reason code.

    `detail` is printed in reports: it never holds content of the item, only what kind of trouble it
    is.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail
