# Reading pieces of bytes. These few lines are all that touches memory directly: every place is held against the length
# first, and whoever asks for one outside gets an answer, never a byte.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memcpy


cdef inline bytes cut(bytes whole, Py_ssize_t begin, Py_ssize_t end):
    """`whole[begin:end]`, of places that must be in it."""
    if not 0 <= begin <= end <= PyBytes_GET_SIZE(whole):
        raise IndexError("a piece outside of its bytes")
    return PyBytes_FromStringAndSize(PyBytes_AS_STRING(whole) + begin, end - begin)


cdef inline Py_ssize_t seek(bytes whole, unsigned char byte, Py_ssize_t begin) noexcept:
    """Where this byte first stands from `begin` on; -1 if it does not."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(whole)
    if not 0 <= begin < size:
        return -1
    cdef const char* start = PyBytes_AS_STRING(whole)
    cdef const void* found = memchr(start + begin, byte, size - begin)
    return -1 if found is NULL else <const char*>found - start


cdef inline bint stands(bytes piece, bytes whole, Py_ssize_t at) noexcept:
    """Whether `piece` stands in `whole` at this place."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(piece)
    if at < 0 or at > PyBytes_GET_SIZE(whole) - size:
        return False
    return memcmp(PyBytes_AS_STRING(whole) + at, PyBytes_AS_STRING(piece), size) == 0


cdef inline bytes fresh(Py_ssize_t size):
    """Bytes to be filled by `put`, all of them, before anybody else sees them."""
    return PyBytes_FromStringAndSize(NULL, size)


cdef inline Py_ssize_t put(bytes fresh, Py_ssize_t at, bytes piece) except -1:
    """Where the next piece goes."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(piece)
    if not 0 <= at <= PyBytes_GET_SIZE(fresh) - size:
        raise IndexError("a piece outside of its bytes")
    memcpy(PyBytes_AS_STRING(fresh) + at, PyBytes_AS_STRING(piece), size)
    return at + size
