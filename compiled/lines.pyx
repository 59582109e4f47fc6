"""Many lines of a log at once, as `gateway.request_log` puts them together and looks through them."""

from compiled.pieces cimport put, room, seek, stands

cdef bytes _END = b"\n"


def join(list objects not None, bytes beginning not None):
    """A line for each object, and in the place of its brace what every line begins with. None if one is no bytes."""
    cdef Py_ssize_t size = len(objects) * len(beginning), at = 0
    cdef bytes lines
    for each in objects:
        if type(each) is not bytes or not len(<bytes>each):
            return None
        # Its end takes the place that its brace leaves.
        size += len(<bytes>each)
    lines = room(size)
    for each in objects:
        at = put(lines, at, beginning)
        at = put(lines, at, <bytes?>each, 1)
        at = put(lines, at, _END)
    if at != size:
        raise IndexError("lines that do not fill their room")
    return lines

cdef class Finder:
    """`beginnings` all end in the same byte, which is rare."""

    cdef tuple _beginnings
    cdef unsigned char _last
    # One for each byte that may stand before the last.
    cdef bint[256] _before

    def __cinit__(self, tuple beginnings not None):
        cdef Py_ssize_t at
        cdef bytes each
        if not beginnings or min(map(len, beginnings)) <= 1:
            raise ValueError("beginnings have two bytes or more")
        self._beginnings = beginnings
        each = beginnings[0]
        self._last = each[len(each) - 1]
        for at in range(256):
            self._before[at] = False
        for each in beginnings:
            if each[len(each) - 1] != self._last:
                raise ValueError("beginnings end in the same byte")
            self._before[each[len(each) - 2]] = True

    def is_any_in(self, bytes lines not None) -> bool:
        cdef Py_ssize_t at = seek(lines, self._last, 0)
        cdef bytes each
        while at >= 0:
            if at > 0 and self._before[lines[at - 1]]:
                for each in self._beginnings:
                    if stands(each, lines, at + 1 - len(each)):
                        return True
            at = seek(lines, self._last, at + 1)
        return False
