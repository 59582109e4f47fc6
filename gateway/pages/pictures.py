"""A text as a QR code (ISO/IEC 18004), for the camera of whoever would have to type it otherwise. Pure.

Invariant: bytes, error correction M, versions 1 to 10, and always the first mask: any reader takes any mask, and texts
that are mostly random need none chosen for them. Refuses what is longer than that holds.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Final

import msgspec

_QUIET: Final = 4
_SIZE_OF_FIRST: Final = 17
_FIELD: Final = 0x11D
_GROWN: Final = 10
_WITH_VERSION: Final = 7
_TIMING: Final = 6
# Error correction M with the first mask, as the standard writes it: its bits, their remainder, and its fixed pattern.
_FORMAT: Final = 0b101010000010010
_VERSION_REMAINDER: Final = 0x1F25

Place = tuple[int, int]
Matrix = list[list[bool]]


class TooLong(ValueError):
    """No code of these sizes holds it."""


class _Shape(msgspec.Struct, frozen=True):
    """`correction`: codewords a block. `blocks`: how many data codewords each has. `centres`: of alignment marks."""

    correction: int
    blocks: tuple[int, ...]
    centres: tuple[int, ...]


_SHAPES: Final = (
    _Shape(10, (16,), ()),
    _Shape(16, (28,), (6, 18)),
    _Shape(26, (44,), (6, 22)),
    _Shape(18, (32,) * 2, (6, 26)),
    _Shape(24, (43,) * 2, (6, 30)),
    _Shape(16, (27,) * 4, (6, 34)),
    _Shape(18, (31,) * 4, (6, 22, 38)),
    _Shape(22, (38, 38, 39, 39), (6, 24, 42)),
    _Shape(22, (36, 36, 36, 37, 37), (6, 26, 46)),
    _Shape(26, (43, 43, 43, 43, 44), (6, 28, 50)),
)


def draw(text: str) -> str:
    """As an address that an image can have."""
    matrix = encode(text.encode())
    size = len(matrix) + 2 * _QUIET
    path = "".join(
        f"M{x + _QUIET} {y + _QUIET}h1v1h-1z"
        for y, row in enumerate(matrix)
        for x, dark in enumerate(row)
        if dark
    )
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" shape-rendering="crispEdges">'
        f'<rect width="{size}" height="{size}" fill="#fff"/><path d="{path}"/></svg>'
    )
    return "data:image/svg+xml;base64," + base64.b64encode(picture.encode()).decode()


def encode(content: bytes) -> Matrix:
    version, shape = _choose(len(content))
    size = _SIZE_OF_FIRST + 4 * version
    fixed = _fixed(version, shape, size)
    bits = _bits(_interleave(_pad(content, version, shape), shape))
    matrix = [[fixed.get((x, y), False) for x in range(size)] for y in range(size)]
    for x, y in _path(size):
        if (x, y) not in fixed:
            # What is left over at the end is light before the mask.
            matrix[y][x] = bool(next(bits, 0)) ^ ((x + y) % 2 == 0)
    return matrix


def _choose(length: int) -> tuple[int, _Shape]:
    for version, shape in enumerate(_SHAPES, 1):
        if length + (2 if version < _GROWN else 3) <= sum(shape.blocks):
            return version, shape
    raise TooLong("no QR code of these sizes holds it")


def _pad(content: bytes, version: int, shape: _Shape) -> bytes:
    """The mode, the length, the bytes, an end, and filling."""
    width = 8 if version < _GROWN else 16
    capacity = sum(shape.blocks)
    bits = f"0100{len(content):0{width}b}" + "".join(f"{each:08b}" for each in content) + "0000"
    whole = int(bits, 2).to_bytes(len(bits) // 8)
    filling = b"\xec\x11" * capacity
    return whole + filling[: capacity - len(whole)]


def _interleave(codewords: bytes, shape: _Shape) -> bytes:
    blocks, at = [], 0
    for length in shape.blocks:
        blocks.append(codewords[at : at + length])
        at += length
    corrections = [_correct(block, shape.correction) for block in blocks]
    longest = max(shape.blocks)
    mixed = [block[index] for index in range(longest) for block in blocks if index < len(block)]
    return bytes(mixed + [each[index] for index in range(shape.correction) for each in corrections])


def _correct(block: bytes, count: int) -> bytes:
    """The remainder of division by the generator polynomial of Reed and Solomon."""
    generator = [1]
    root = 1
    for _ in range(count):
        longer = [*generator, 0]
        for index, factor in enumerate(generator):
            longer[index + 1] ^= _multiply(factor, root)
        generator, root = longer, _multiply(root, 2)
    remainder = [*block, *([0] * count)]
    for index in range(len(block)):
        factor = remainder[index]
        for offset, each in enumerate(generator):
            remainder[index + offset] ^= _multiply(each, factor)
    return bytes(remainder[len(block) :])


def _multiply(left: int, right: int) -> int:
    product = 0
    while right:
        product ^= left if right & 1 else 0
        left = (left << 1) ^ (_FIELD if left & 0x80 else 0)
        right >>= 1
    return product


def _bits(codewords: bytes) -> Iterator[int]:
    return (each >> place & 1 for each in codewords for place in range(7, -1, -1))


def _path(size: int) -> Iterator[Place]:
    """Two columns at a time from the right, up and down by turns, around the column of the timing marks."""
    upwards = True
    for right in (*range(size - 1, _TIMING, -2), *range(_TIMING - 1, 0, -2)):
        rows = range(size - 1, -1, -1) if upwards else range(size)
        yield from ((x, y) for y in rows for x in (right, right - 1))
        upwards = not upwards


def _fixed(version: int, shape: _Shape, size: int) -> dict[Place, bool]:
    """All that is the same whatever the content."""
    marks: dict[Place, bool] = {}
    for index in range(size):
        marks[index, _TIMING] = marks[_TIMING, index] = index % 2 == 0
    last = size - 4
    for centre in ((3, 3), (last, 3), (3, last)):
        marks |= _finder(centre, size)
    corners = (
        {(shape.centres[0], shape.centres[0]), (shape.centres[0], shape.centres[-1])}
        if shape.centres
        else set()
    )
    corners |= {(y, x) for x, y in corners}
    for centre in ((x, y) for x in shape.centres for y in shape.centres if (x, y) not in corners):
        marks |= _alignment(centre)
    marks |= _format(size)
    return marks | (_version(version, size) if version >= _WITH_VERSION else {})


def _finder(centre: Place, size: int) -> dict[Place, bool]:
    reach = range(-4, 5)
    around = {(centre[0] + x, centre[1] + y): max(abs(x), abs(y)) not in {2, 4} for x in reach for y in reach}
    return {place: dark for place, dark in around.items() if min(place) >= 0 and max(place) < size}


def _alignment(centre: Place) -> dict[Place, bool]:
    reach = range(-2, 3)
    return {(centre[0] + x, centre[1] + y): max(abs(x), abs(y)) != 1 for x in reach for y in reach}


def _format(size: int) -> dict[Place, bool]:
    bits = [bool(_FORMAT >> index & 1) for index in range(15)]
    marks = {(8, size - 8): True}
    beside = [0, 1, 2, 3, 4, 5, 7, 8]
    for index in range(8):
        marks[8, beside[index]] = marks[size - 1 - index, 8] = bits[index]
    for index in range(8, 15):
        marks[8, size - 15 + index] = bits[index]
        marks[beside[14 - index], 8] = bits[index]
    return marks


def _version(version: int, size: int) -> dict[Place, bool]:
    remainder = version
    for _ in range(12):
        remainder = (remainder << 1) ^ (_VERSION_REMAINDER if remainder >> 11 else 0)
    bits = version << 12 | remainder
    places = ((size - 11 + index % 3, index // 3, index) for index in range(18))
    marks = {}
    for x, y, index in places:
        marks[x, y] = marks[y, x] = bool(bits >> index & 1)
    return marks
