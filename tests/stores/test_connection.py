"""Credentials that expire: one renewal for all threads, one failure for all requests."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from scanner.errors import CredentialsExpired
from scanner.stores.connection import RENEWALS, Connection


class Expired(Exception):
    pass


class Clients:
    """Makes clients 1, 2, 3, …; those below `good` get no request through."""

    def __init__(self, good: int) -> None:
        self.good = good
        self.made = 0
        self.asked = 0

    def connect(self) -> int:
        self.made += 1
        return self.made

    def request(self, client: int) -> int:
        self.asked += 1
        if client < self.good:
            raise Expired
        return client

    def connection(self) -> Connection[int]:
        return Connection(
            self.connect(), self.connect, lambda e: "Expired" if isinstance(e, Expired) else None
        )


def test_a_request_is_asked_again_by_a_new_client() -> None:
    clients = Clients(good=2)
    connection = clients.connection()
    assert [connection.ask(clients.request) for _ in range(3)] == [2, 2, 2]
    assert (clients.made, clients.asked) == (2, 4)


def test_a_renewal_in_vain_fails_every_further_request_at_once() -> None:
    clients = Clients(good=9)
    connection = clients.connection()
    for _ in range(5):
        with pytest.raises(CredentialsExpired, match=r"\(Expired\); sign in again"):
            connection.ask(clients.request)
    assert (clients.made, clients.asked) == (2, 2)
    clients.good = 3
    connection.sign_in_again()
    assert connection.ask(clients.request) == 3


def test_signing_in_again_in_vain() -> None:
    clients = Clients(good=9)
    connection = clients.connection()
    for made in (2, 3):
        with pytest.raises(CredentialsExpired):
            connection.ask(clients.request)
        assert clients.made == made
        connection.sign_in_again()
    with pytest.raises(CredentialsExpired):
        connection.ask(clients.request)
    assert clients.made == 4  # it was new already: no further renewal


def test_a_renewal_that_helped_may_be_followed_by_another() -> None:
    clients = Clients(good=1)
    connection = clients.connection()
    for hour in range(1, 5):
        clients.good = hour
        assert connection.ask(clients.request) == hour


def test_a_renewal_that_fails_is_an_expiry() -> None:
    def broken() -> int:
        raise OSError("no such file")

    connection = Connection(1, broken, lambda error: "Expired")

    def request(client: int) -> None:
        raise Expired

    for _ in range(2):
        with pytest.raises(CredentialsExpired) as caught:
            connection.ask(request)
        assert "no such file" not in str(caught.value)
    with pytest.raises(CredentialsExpired):
        connection.sign_in_again()


def test_other_errors_pass_through() -> None:
    clients = Clients(good=1)

    def request(client: int) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        clients.connection().ask(request)
    assert clients.made == 1


def test_many_threads_renew_once() -> None:
    clients = Clients(good=2)
    connection = clients.connection()
    together = threading.Barrier(8)

    def request(client: int) -> int:
        if client < 2:
            together.wait(10)  # all have sent their request before the first one is refused
            raise Expired
        return client

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: connection.ask(request), range(8))) == [2] * 8
    assert clients.made == 2


def test_a_request_is_not_renewed_for_ever() -> None:
    clients = Clients(good=1)
    connection = clients.connection()
    asked = []

    def unlucky(client: int) -> None:
        asked.append(client)
        connection.ask(lambda other: None)  # another thread's request gets through
        raise Expired

    with pytest.raises(CredentialsExpired):
        connection.ask(unlucky)
    assert len(asked) == 1 + RENEWALS
