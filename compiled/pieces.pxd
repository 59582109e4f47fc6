# Reading and writing pieces of bytes. These few lines are all that touches memory directly: every place is held against
# the length first, and whoever asks for one outside gets an answer, never a byte.

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.string cimport memchr, memcmp, memcpy

cdef extern from "Python.h":
    int PyIter_Send(object iterator, object sent, PyObject** result) except? -1
    void PyErr_SetObject(object kind, object what) noexcept


cdef inline bytes cut(bytes whole, Py_ssize_t begin, Py_ssize_t end):
    """`whole[begin:end]`, of places that must be in it."""
    if not 0 <= begin <= end <= PyBytes_GET_SIZE(whole):
        raise IndexError("a piece outside of its bytes")
    return PyBytes_FromStringAndSize(PyBytes_AS_STRING(whole) + begin, end - begin)


cdef inline bytes cut_array(bytearray whole, Py_ssize_t begin, Py_ssize_t end):
    """The same of what can be written to."""
    if not 0 <= begin <= end <= PyByteArray_GET_SIZE(whole):
        raise IndexError("a piece outside of its bytes")
    return PyBytes_FromStringAndSize(PyByteArray_AS_STRING(whole) + begin, end - begin)


cdef inline Py_ssize_t seek(bytes whole, unsigned char byte, Py_ssize_t begin) noexcept:
    """Where this byte first stands from `begin` on; -1 if it does not."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(whole)
    if not 0 <= begin < size:
        return -1
    cdef const char* start = PyBytes_AS_STRING(whole)
    cdef const void* found = memchr(start + begin, byte, size - begin)
    return -1 if found is NULL else <const char*>found - start


cdef inline Py_ssize_t past_printable(bytes whole, Py_ssize_t begin) noexcept:
    """Where the run of bytes from a blank to a tilde ends that begins there; `begin` if none does."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(whole), at = begin
    if not 0 <= begin < size:
        return begin
    cdef const unsigned char* start = <const unsigned char*>PyBytes_AS_STRING(whole)
    cdef unsigned long long eight
    # Eight at once, as long as there are so many. A byte below a blank borrows its highest bit in the difference, DEL
    # carries into it in the sum, and one past ASCII keeps it in one of them, whatever those beside it borrow or carry.
    while at <= size - 8:
        memcpy(&eight, start + at, 8)
        if ((eight - 0x2020202020202020ULL) | (eight + 0x0101010101010101ULL)) & 0x8080808080808080ULL:
            break
        at += 8
    while at < size and 0x20 <= start[at] <= 0x7E:
        at += 1
    return at


cdef inline bint stands(bytes piece, bytes whole, Py_ssize_t at) noexcept:
    """Whether `piece` stands in `whole` at this place."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(piece)
    if at < 0 or at > PyBytes_GET_SIZE(whole) - size:
        return False
    return memcmp(PyBytes_AS_STRING(whole) + at, PyBytes_AS_STRING(piece), size) == 0


cdef inline Py_ssize_t which(list pieces, bytes whole, Py_ssize_t at) except -2:
    """The place of the first of these pieces that stands in `whole` there; -1 if none does."""
    cdef Py_ssize_t place
    for place in range(len(pieces)):
        if stands(<bytes?>pieces[place], whole, at):
            return place
    return -1


cdef inline long long length_of(bytes whole, Py_ssize_t begin, Py_ssize_t end) noexcept:
    """The number that these digits are, as a length is written: at most fifteen, without a zero in front. -1 if not."""
    cdef long long number = 0
    if begin < 0 or end > PyBytes_GET_SIZE(whole) or not 0 < end - begin <= 15:
        return -1
    cdef const char* digits = PyBytes_AS_STRING(whole)
    if digits[begin] == c"0" and end - begin > 1:
        return -1
    while begin < end:
        if not c"0" <= digits[begin] <= c"9":
            return -1
        number = 10 * number + (digits[begin] - c"0")
        begin += 1
    return number


# Writing pieces one behind the other into bytes that were made for them. Whoever asked for the room fills all of it
# before anybody else sees it.

cdef extern from "Python.h":
    object _new_bytes "PyBytes_FromStringAndSize" (const char*, Py_ssize_t)
    bint PyUnicode_IS_ASCII(object)
    const char* _letters "PyUnicode_1BYTE_DATA" (object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)


cdef inline bytes room(Py_ssize_t size):
    """For so many bytes, which hold anything yet."""
    return _new_bytes(NULL, size)


cdef inline Py_ssize_t put(bytes into, Py_ssize_t at, bytes piece, Py_ssize_t begin = 0) except -1:
    """Where `piece[begin:]` ends that is written there."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(piece) - begin
    if begin < 0 or size < 0 or not 0 <= at <= PyBytes_GET_SIZE(into) - size:
        raise IndexError("a piece outside of its room")
    memcpy(PyBytes_AS_STRING(into) + at, PyBytes_AS_STRING(piece) + begin, size)
    return at + size


cdef inline bint is_ascii(str text):
    return PyUnicode_IS_ASCII(text)


cdef inline Py_ssize_t put_text(bytes into, Py_ssize_t at, str text, Py_ssize_t begin = 0) except -1:
    """The same of `text[begin:]`, which must be ASCII."""
    cdef Py_ssize_t size = PyUnicode_GET_LENGTH(text) - begin
    if not PyUnicode_IS_ASCII(text) or begin < 0 or size < 0 or not 0 <= at <= PyBytes_GET_SIZE(into) - size:
        raise IndexError("a text outside of its room")
    memcpy(PyBytes_AS_STRING(into) + at, _letters(text) + begin, size)
    return at + size


cdef inline object advance(object coroutine, bint* is_over):
    """Until it waits or returns: what it waits for, or returns. No exception is made of its end, as `send` does."""
    cdef PyObject* owned
    is_over[0] = PyIter_Send(coroutine, None, &owned) == 0
    outcome = <object>owned
    # What was handed over is held by `outcome` now.
    Py_DECREF(outcome)
    return outcome


cdef inline void prepare_stop(object outcome) noexcept:
    """For an iterator that ends with an outcome: a bare `raise StopIteration` comes next, and would bring none. To
    raise one with an outcome makes a traceback for nobody.
    """
    PyErr_SetObject(StopIteration, outcome)


# What a socket has to say.

cdef extern from "poll.h":
    enum:
        POLLIN
    struct pollfd:
        int fd
        short events
        short revents
    int _poll "poll" (pollfd* watched, unsigned long count, int timeout_ms)


cdef inline bint is_silent(int descriptor) noexcept:
    """Whether nothing has come, and it is neither closed nor broken. What cannot be asked is not."""
    cdef pollfd watched
    if descriptor < 0:
        # Such a one is not looked at.
        return False
    watched.fd, watched.events, watched.revents = descriptor, POLLIN, 0
    return _poll(&watched, 1, 0) == 0
