"""The claim of an ordinary signed request, as `auth.credential` parses it and `auth.canonical` writes it."""

from compiled.pieces cimport cut, seek

cdef enum:
    MOST_DIGITS = 18
    SHORTEST_NONCE = 16
    LONGEST_NONCE = 64

cdef bytes _OF_NONCE = bytes(
    [chr(byte) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-" for byte in range(256)]
)
# What a lowercase hexadecimal digit stands for, and 255 for what is none.
cdef bytes _DIGITS = bytes(
    ["0123456789abcdef".index(chr(byte)) if chr(byte) in "0123456789abcdef" else 255 for byte in range(256)]
)
cdef enum:
    NO_DIGIT = 255


def parse_timestamp(bytes timestamp not None):
    """Milliseconds, if it is nothing but those."""
    cdef Py_ssize_t size = len(timestamp), at
    cdef long long number = 0
    if not 0 < size <= MOST_DIGITS or timestamp[0] == c"0":
        return None
    for at in range(size):
        if not c"0" <= timestamp[at] <= c"9":
            return None
        number = 10 * number + (timestamp[at] - c"0")
    return number


def is_nonce(bytes nonce not None) -> bool:
    cdef Py_ssize_t size = len(nonce), at
    if not SHORTEST_NONCE <= size <= LONGEST_NONCE:
        return False
    for at in range(size):
        if not _OF_NONCE[nonce[at]]:
            return False
    return True


def unhex(bytes digits not None):
    """The bytes that lowercase digits stand for."""
    cdef Py_ssize_t size = len(digits), at
    cdef unsigned char high, low, doubt = 0
    cdef unsigned char[64] raw
    if size != 64 and size != 128:
        return None
    for at in range(size // 2):
        high = _DIGITS[digits[2 * at]]
        low = _DIGITS[digits[2 * at + 1]]
        doubt |= high | low
        raw[at] = (high << 4) | (low & 15)
    return None if doubt == NO_DIGIT or doubt > 15 else raw[:size // 2]


def string_to_sign(bytes head not None, bytes timestamp not None, bytes nonce not None, bytes key_id not None,
                   bytes method not None, bytes path not None, bytes query not None, bytes body_sha256_hex not None):
    """None where a field holds a line end."""
    for each in (timestamp, nonce, key_id, method, path, query, body_sha256_hex):
        if seek(each, c"\n", 0) >= 0:
            return None
    return b"\n".join((head, timestamp, nonce, key_id, method, path, query, body_sha256_hex))
