"""Checking an Ed25519 public key before it is ever trusted.

Libraries accept public keys for which signatures can be forged or prove nothing: points of small order
(anyone can sign for them), points with a small-order part (two verifiers may disagree), and second
spellings of one point.

Invariant: what passes is the one canonical encoding of a point, other than the neutral one, in the group of
prime order. The arithmetic is plain integers and takes its time: it sees public values only, once, when a
key is registered.
"""

from typing import Final, NamedTuple

from keys import refusals

SIZE: Final = 32
_P: Final = 2**255 - 19
_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, -1, _P) % _P
_ROOT_OF_MINUS_ONE: Final = pow(2, (_P - 1) // 4, _P)


class InvalidPublicKey(refusals.InvalidRequest):
    field = "public_key"

    def __init__(self, why: str) -> None:
        super().__init__(f"not an Ed25519 public key: {why}")


class _Point(NamedTuple):
    """Extended coordinates (x/z, y/z, t = xy/z), in which one addition rule holds for all pairs of points."""

    x: int
    y: int
    z: int
    t: int


_NEUTRAL: Final = _Point(0, 1, 1, 0)
# Of the points whose order divides eight.
_SMALL_ORDER_Y: Final = frozenset(
    {
        0,
        1,
        _P - 1,
        2707385501144840649318225287225658788936804267575313519463743609750303402022,  # of order eight,
        _P - 2707385501144840649318225287225658788936804267575313519463743609750303402022,  # and its mirror
    }
)


def validate_public_key(raw: bytes) -> bytes:
    if len(raw) != SIZE:
        raise InvalidPublicKey(f"{SIZE} bytes are needed, {len(raw)} were given")
    point = _decode(raw)
    if _is_neutral(point) or not _is_neutral(_multiply(point, _ORDER)):
        raise InvalidPublicKey("the point is not in the group of prime order")
    return raw


def refuse_small_order(raw: bytes) -> bytes:
    """Quick, for keys that come with a request: a second spelling and a point that anybody can sign for.

    It leaves points with a small-order part, and those that are none: whoever registers a key asks for all of it.
    """
    if len(raw) != SIZE:
        raise InvalidPublicKey(f"{SIZE} bytes are needed, {len(raw)} were given")
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _P:
        raise InvalidPublicKey("the encoding is not canonical")
    if y in _SMALL_ORDER_Y:
        raise InvalidPublicKey("the point is not in the group of prime order")
    return raw


def _decode(raw: bytes) -> _Point:
    number = int.from_bytes(raw, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if y >= _P:
        raise InvalidPublicKey("the encoding is not canonical")
    x = _find_x(y)
    if x is None:
        raise InvalidPublicKey("no point of the curve has this encoding")
    if x == 0 and sign:
        raise InvalidPublicKey("the encoding is not canonical")
    if x & 1 != sign:
        x = _P - x
    return _Point(x, y, 1, x * y % _P)


def _find_x(y: int) -> int | None:
    """The square root of (y² - 1) / (dy² + 1), for a prime that is 5 modulo 8."""
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    root = pow(square, (_P + 3) // 8, _P)
    if root * root % _P != square:
        root = root * _ROOT_OF_MINUS_ONE % _P
    return root if root * root % _P == square else None


def _add(a: _Point, b: _Point) -> _Point:
    e1, e2 = (a.y - a.x) * (b.y - b.x) % _P, (a.y + a.x) * (b.y + b.x) % _P
    e3, e4 = 2 * a.t * b.t * _D % _P, 2 * a.z * b.z % _P
    h, g, f, k = e2 - e1, e4 + e3, e4 - e3, e2 + e1
    return _Point(h * f % _P, g * k % _P, f * g % _P, h * k % _P)


def _multiply(point: _Point, scalar: int) -> _Point:
    total = _NEUTRAL
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point = _add(point, point)
        scalar >>= 1
    return total


def _is_neutral(point: _Point) -> bool:
    return point.x == 0 and point.y == point.z
