"""Follows transfers from the controller to every onward recipient, and what each passes on.

A transfer is *onward* where its exporter is not the controller: its upstream are the transfers of
the same dataset that brought the data to its exporter. What it inherits is what one of these
permits: a purpose that theirs covers (`scanner.purposes`), a recipient that they name
(`onward_to`), within the time in which the exporter had the data, and only if they were permitted
themselves. A processor hands on to sub-processors; to anybody else only where he is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from scanner.circles import circle_in
from scanner.errors import ConfigError
from scanner.purposes import Purposes

if TYPE_CHECKING:
    import pyarrow as pa

Upstream = Literal["origin", "permitted", "not_permitted", "unknown"]
UPSTREAM: tuple[Upstream, ...] = ("origin", "permitted", "not_permitted", "unknown")
Why = Literal["", "purpose", "recipient", "role", "time", "unrecorded", "upstream"]
ANY = "*"
_PROCESSORS = ("processor", "sub_processor")
_WORST = ("permitted", "unknown", "not_permitted")


@dataclass(frozen=True, slots=True)
class Hop:
    """One transfer, as far as the chain goes."""

    transfer_id: str
    dataset_id: str
    exporter: str | None  # None: the controller
    importer: str | None
    role: str | None = None
    purpose: str | None = None
    onward_to: str | None = None  # party ids, separated by ";", or "*"
    started_at: datetime | None = None
    ended_at: datetime | None = None
    destroyed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Inherited:
    """What the transfers before it permit of one."""

    state: Upstream
    why: Why = ""
    upstream: str = ""  # the transfer that permits it, or that comes nearest


def hops(transfers: pa.Table) -> list[Hop]:
    """The rows of a table of transfers (`schemas.TRANSFERS`)."""
    names = (
        "transfer_id", "dataset_id", "exporter_id", "importer_id", "role_of_recipient", "purpose",
        "onward_to", "started_at", "ended_at", "destroyed_at",
    )  # fmt: skip
    rows = transfers.select(names).to_pylist()
    return [Hop(*(_given(row[name]) for name in names)) for row in rows]


def _given(value: Any) -> Any:
    """Empty text says nothing."""
    return (value.strip() or None) if isinstance(value, str) else value


def check_chains(name: str, hops: Sequence[Hop], controllers: Mapping[str, str | None]) -> None:
    """Raises ConfigError for data that go in a circle, and for a party that passes on what no
    transfer brought to it; `name` is what messages call the registry. The path is printed.
    """
    by_dataset: dict[str, list[Hop]] = {}
    for hop in hops:
        by_dataset.setdefault(hop.dataset_id, []).append(hop)
    for dataset, here in sorted(by_dataset.items()):
        controller = controllers.get(dataset)
        onward: dict[str | None, list[str | None]] = {}
        for hop in here:
            onward.setdefault(hop.exporter or controller, []).append(hop.importer)
        circle = circle_in(onward)
        if circle:
            raise ConfigError(
                f"{name}: dataset {dataset}: transfers in a circle: {_path(circle)}; record a "
                "return as the end of the transfer (ended_at)"
            )
        if controller is None:
            continue  # nobody said where the data start
        brought = {hop.importer for hop in here}
        for hop in here:
            if hop.exporter not in (None, controller) and hop.exporter not in brought:
                raise ConfigError(
                    f"{name}: dataset {dataset}: a link is missing: {controller} → ? → "
                    f"{_path([hop.exporter, hop.importer])} (transfer {hop.transfer_id}); no "
                    f"transfer brings the data to {hop.exporter}"
                )


def inherited(
    hops: Sequence[Hop], controllers: Mapping[str, str | None], purposes: Purposes
) -> dict[tuple[str, str], Inherited]:
    """What each transfer inherits, by dataset and transfer. Circles inherit nothing certain."""
    arriving: dict[tuple[str, str | None], list[Hop]] = {}
    for hop in hops:
        arriving.setdefault((hop.dataset_id, hop.importer), []).append(hop)
    found: dict[tuple[str, str], Inherited] = {}

    def before(hop: Hop) -> list[Hop]:
        if hop.exporter is None or hop.exporter == controllers.get(hop.dataset_id):
            return []
        return arriving.get((hop.dataset_id, hop.exporter), [])

    waiting = list(hops)
    while waiting:  # those first whose upstream is settled
        later = []
        for hop in waiting:
            upstream = before(hop)
            if all((up.dataset_id, up.transfer_id) in found for up in upstream):
                found[hop.dataset_id, hop.transfer_id] = _settled(
                    hop, upstream, controllers, purposes, found
                )
            else:
                later.append(hop)
        if len(later) == len(waiting):  # in a circle, or behind one
            for hop in later:
                found[hop.dataset_id, hop.transfer_id] = Inherited("unknown", "unrecorded")
            break
        waiting = later
    return found


def _settled(
    hop: Hop,
    upstream: Sequence[Hop],
    controllers: Mapping[str, str | None],
    purposes: Purposes,
    found: Mapping[tuple[str, str], Inherited],
) -> Inherited:
    if not upstream:
        controller = controllers.get(hop.dataset_id)
        if hop.exporter is None or controller is None or hop.exporter == controller:
            return Inherited("origin")
        return Inherited("unknown", "unrecorded")
    ways = [_permitted(hop, up, found[up.dataset_id, up.transfer_id], purposes) for up in upstream]
    return min(ways, key=lambda way: (_WORST.index(way.state), way.upstream))


def _permitted(hop: Hop, up: Hop, of_it: Inherited, purposes: Purposes) -> Inherited:
    """What the transfer `up` permits of `hop`."""
    against: list[tuple[Upstream, Why]] = []
    if of_it.state in ("not_permitted", "unknown"):
        against.append((of_it.state, "upstream"))
    if up.purpose is None or hop.purpose is None:
        against.append(("unknown", "unrecorded"))
    elif not purposes.covers(up.purpose, hop.purpose):
        against.append(("not_permitted", "purpose"))
    named = None if up.onward_to is None else [p.strip() for p in up.onward_to.split(";")]
    if named is None:
        against.append(("unknown", "unrecorded"))
    elif ANY not in named and hop.importer not in named:
        against.append(("not_permitted", "recipient"))
    if up.role in _PROCESSORS and hop.importer not in (named or ()):
        if hop.role is None:
            against.append(("unknown", "unrecorded"))
        elif hop.role != "sub_processor":
            against.append(("not_permitted", "role"))
    if hop.started_at is not None:
        ends = [end for end in (up.ended_at, up.destroyed_at) if end is not None]
        early = up.started_at is not None and hop.started_at < up.started_at
        if early or any(hop.started_at >= end for end in ends):
            against.append(("not_permitted", "time"))
    elif up.ended_at is not None or up.destroyed_at is not None:
        against.append(("unknown", "unrecorded"))
    if not against:
        return Inherited("permitted", "", up.transfer_id)
    state, why = max(against, key=lambda reason: _WORST.index(reason[0]))
    return Inherited(state, why, up.transfer_id)


def _path(parties: Sequence[str | None]) -> str:
    return " → ".join(party or "the controller" for party in parties)
