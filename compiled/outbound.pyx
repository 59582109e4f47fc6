"""The head of an ordinary request to an upstream, as `gateway.outbound` composes it, with a small body behind it."""

from cpython.bytes cimport PyBytes_CheckExact, PyBytes_FromFormat

from compiled.pieces cimport is_ascii, put, put_text, room, seek

cdef enum:
    NUL = 0
    CR = 0x0D
    LF = 0x0A
    # Of the digits of an id, and from which on they are a span's, too.
    ID = 32
    SPAN = 16

cdef bytes _REQUEST_ID = b"portreeve-request-id: "
cdef bytes _TRACE = b"\r\ntraceparent: 00-"
cdef bytes _OF_SPAN = b"-"
cdef bytes _FIRST_FLAGS = b"-01"
cdef bytes _IDENTITY = b"\r\nportreeve-identity: "
cdef bytes _END = b"\r\n"
# All that a head has of its own but origin, assertion and length.
cdef Py_ssize_t _FIXED = (
    len(_REQUEST_ID) + ID + len(_TRACE) + ID + len(_OF_SPAN) + ID - SPAN + len(_FIRST_FLAGS) + 2 * len(_END)
)


cdef class Composer:
    """`most_body`: longer bodies don't leave with the head."""

    cdef Py_ssize_t _most_body

    def __cinit__(self, Py_ssize_t most_body):
        self._most_body = most_body

    def compose(
        self, bytes opening not None, bint may_end, bytes passed not None, Py_ssize_t count, bytes origin not None,
        str request_id not None, str assertion, body,
    ):
        """All that is written at once; or None."""
        if not PyBytes_CheckExact(body) or len(<bytes>body) > self._most_body:
            return None
        if len(request_id) != ID or not is_ascii(request_id) or not _are_lines(passed, count):
            return None
        cdef Py_ssize_t size = len(opening) + len(passed) + len(origin) + _FIXED + len(<bytes>body), at
        cdef bytes framing = None
        if len(<bytes>body) or not may_end:
            framing = PyBytes_FromFormat(b"content-length: %zd\r\n", len(<bytes>body))
            size += len(framing)
        if assertion is not None:
            if not is_ascii(assertion):
                return None
            size += len(_IDENTITY) + len(assertion)
        cdef bytes head = room(size)
        at = put(head, 0, opening)
        at = put(head, at, passed)
        at = put(head, at, origin)
        at = put(head, at, _REQUEST_ID)
        at = put_text(head, at, request_id)
        at = put(head, at, _TRACE)
        at = put_text(head, at, request_id)
        at = put(head, at, _OF_SPAN)
        at = put_text(head, at, request_id, SPAN)
        at = put(head, at, _FIRST_FLAGS)
        if assertion is not None:
            at = put(head, at, _IDENTITY)
            at = put_text(head, at, assertion)
        at = put(head, at, _END)
        if framing is not None:
            at = put(head, at, framing)
        at = put(head, at, _END)
        at = put(head, at, <bytes>body)
        if at != size:
            raise IndexError("a head that does not fill its room")
        return head


cdef bint _are_lines(bytes passed, Py_ssize_t count) except -1:
    """Whether these are so many lines, each up to its own end, and hold no NUL."""
    cdef Py_ssize_t at = 0, end
    while count > 0:
        end = seek(passed, CR, at)
        if end < 0 or seek(passed, LF, at) != end + 1:
            return False
        at = end + 2
        count -= 1
    return count == 0 and at == len(passed) and seek(passed, NUL, 0) < 0
