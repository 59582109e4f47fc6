"""The claim of an ordinary signed request, as `auth.credential` parses it and `auth.canonical` writes it."""

from compiled.pieces cimport seek

cdef enum:
    # What is longer may not fit.
    MOST_DIGITS = 18
    SHORTEST_NONCE = 16
    LONGEST_NONCE = 64
    # In digits: of HMAC-SHA256, and of Ed25519.
    SHORT_SIGNATURE = 64
    LONG_SIGNATURE = 128
    # What stands for a byte that is no digit.
    NO_DIGIT = 255

# By a byte: each has a place.
cdef unsigned char[256] _IS_OF_NONCE
cdef unsigned char[256] _DIGITS

for _byte in range(256):
    _IS_OF_NONCE[_byte] = chr(_byte) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
    _DIGITS[_byte] = "0123456789abcdef".index(chr(_byte)) if chr(_byte) in "0123456789abcdef" else NO_DIGIT


def read_claim(bytes timestamp, bytes nonce, bytes signature):
    """The milliseconds, and the bytes that lowercase digits of a signature stand for. None for what is not there, and
    for a timestamp with a window, too.
    """
    if timestamp is None or nonce is None or signature is None:
        return None
    cdef long long at_ms = _number(timestamp)
    if at_ms < 0 or not _is_nonce(nonce):
        return None
    cdef bytes raw = _unhex(signature)
    return None if raw is None else (at_ms, raw)


cdef long long _number(bytes digits):
    """Of digits without a zero in front; -1 if it is none."""
    cdef Py_ssize_t size = len(digits), at
    cdef long long number = 0
    if not 0 < size <= MOST_DIGITS or digits[0] == c"0":
        return -1
    for at in range(size):
        if not c"0" <= digits[at] <= c"9":
            return -1
        number = 10 * number + (digits[at] - c"0")
    return number


cdef bint _is_nonce(bytes nonce):
    cdef Py_ssize_t size = len(nonce), at
    if not SHORTEST_NONCE <= size <= LONGEST_NONCE:
        return False
    for at in range(size):
        if not _IS_OF_NONCE[<unsigned char>nonce[at]]:
            return False
    return True


cdef bytes _unhex(bytes digits):
    cdef Py_ssize_t size = len(digits), at
    cdef unsigned char high, low, doubt = 0
    # Half of the longest.
    cdef unsigned char[64] raw
    if size != SHORT_SIGNATURE and size != LONG_SIGNATURE:
        return None
    for at in range(size // 2):
        high = _DIGITS[<unsigned char>digits[2 * at]]
        low = _DIGITS[<unsigned char>digits[2 * at + 1]]
        doubt |= high | low
        raw[at] = (high << 4) | (low & 15)
    return None if doubt == NO_DIGIT else raw[:size // 2]


cdef class LineWriter:
    """Writes strings to sign. `otherwise` writes, or refuses, what is not all lines of bytes."""

    cdef bytes _scheme
    cdef object _otherwise

    def __cinit__(self, bytes scheme not None, otherwise not None):
        self._scheme = scheme
        self._otherwise = otherwise

    def write(self, timestamp, nonce, key_id, method, path, query, body_sha256_hex):
        if (
            _is_line(timestamp)
            and _is_line(nonce)
            and _is_line(key_id)
            and _is_line(method)
            and _is_line(path)
            and _is_line(query)
            and _is_line(body_sha256_hex)
        ):
            return b"\n".join((self._scheme, timestamp, nonce, key_id, method, path, query, body_sha256_hex))
        return self._otherwise(timestamp, nonce, key_id, method, path, query, body_sha256_hex)


cdef bint _is_line(object field):
    return type(field) is bytes and seek(<bytes?>field, c"\n", 0) < 0
