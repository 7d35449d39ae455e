"""A store's client, made anew once when its credentials expire; for use by several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from scanner.errors import CredentialsExpired

C = TypeVar("C")
T = TypeVar("T")

RENEWALS = 3  # of one request: other threads' luck must not keep it asking for ever


class Connection(Generic[C]):
    """Hands requests to the client that is signed in.

    A request that fails because the credentials have expired is asked again through a new client,
    which reads files, environment and sign-in caches afresh. If the new client gets no request
    through either, this and every further request fails at once with CredentialsExpired, until
    `sign_in_again`. A renewal that helped may be followed by another one, hours later.
    """

    def __init__(
        self, client: C, connect: Callable[[], C], expired: Callable[[Exception], str | None]
    ) -> None:
        """`expired` names the trouble (a code, never a text of the store), None if it is another;
        `connect` may raise anything.
        """
        self._connect = connect
        self._expired = expired
        self._lock = threading.Lock()
        self._client = client
        self._number = 0  # of the client; rises with each renewal
        self._worked = 0  # number of the newest client that got a request through; 0 may be renewed
        self._refused = ""

    def ask(self, request: Callable[[C], T]) -> T:
        """What `request` returns or raises. Raises CredentialsExpired."""
        why = ""
        for _ in range(1 + RENEWALS):
            with self._lock:
                if self._refused:
                    raise _expired(self._refused)
                client, number = self._client, self._number
            try:
                answer = request(client)
            except Exception as error:
                named = self._expired(error)
                if named is None:
                    raise
                why = named
            else:
                if self._worked < number:
                    with self._lock:
                        self._worked = max(self._worked, number)
                return answer
            self._renew(number, why)
        raise _expired(why)

    def sign_in_again(self) -> None:
        """A new client, whatever was found out about the one before. Raises CredentialsExpired."""
        with self._lock:
            self._refused = ""
            self._make("sign-in failed")
            self._worked = self._number - 1  # one failure of the new one is enough

    def _renew(self, number: int, why: str) -> None:
        with self._lock:
            if self._refused:
                raise _expired(self._refused)
            if number != self._number:  # another thread has done it
                return
            if number > self._worked:  # this one was a renewal, and in vain
                self._refused = why
                raise _expired(why)
            self._make(why)

    def _make(self, why: str) -> None:
        try:
            self._client = self._connect()
        except Exception:
            self._refused = why
            raise _expired(why) from None
        self._number += 1


def _expired(why: str) -> CredentialsExpired:
    return CredentialsExpired(f"the credentials have expired ({why}); sign in again")
