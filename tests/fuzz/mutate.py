"""A plain mutation loop for where atheris is not: same seed, same inputs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def mutated(
    seeds: Sequence[bytes], tokens: Sequence[bytes], seed: int, most: int
) -> Iterator[bytes]:
    """The seeds themselves, then changed ones for ever; none is longer than `most` bytes."""
    yield from (one[:most] for one in seeds)
    chance = random.Random(seed)
    pool = [one[:most] for one in seeds] or [b""]
    while True:
        data = bytearray(chance.choice(pool))
        for _ in range(1 << chance.randrange(4)):
            _change(data, chance, pool, tokens)
        yield bytes(data[:most])


def _change(
    data: bytearray, chance: random.Random, pool: Sequence[bytes], tokens: Sequence[bytes]
) -> None:
    at = chance.randrange(len(data) + 1)
    match chance.randrange(8):
        case 0 if data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
        case 1 if data:
            data[at % len(data)] = chance.randrange(256)
        case 2:
            data[at:at] = chance.randbytes(1 << chance.randrange(5))
        case 3:
            del data[at : at + (1 << chance.randrange(8))]
        case 4 if tokens:
            data[at:at] = chance.choice(tokens)
        case 5:  # a piece again, or of another input
            other = chance.choice(pool) if chance.randrange(2) else bytes(data)
            start = chance.randrange(len(other) + 1)
            data[at:at] = other[start : start + (1 << chance.randrange(9))]
        case 6:  # a number that is often a limit
            width = 1 << chance.randrange(4)
            number = chance.choice(_INTERESTING) & ((1 << 8 * width) - 1)
            order = chance.choice(("little", "big"))
            data[at : at + width] = number.to_bytes(width, "little" if order == "little" else "big")
        case _:
            del data[at:]
