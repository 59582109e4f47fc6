"""The head of an ordinary request, as `gateway.server.plain_head` reads it.

A server sees the same headers in the same order again and again. So what was seen is kept as a tree: each step is one
header's name as it stands in a head, and where a head has ended hangs what its names decide. To read a head is to walk
down that tree; a head that leads out of it is declined, and may be taught.
"""

from compiled.pieces cimport cut, seek, stands

cdef enum:
    SPACE = 0x20
    DELETE = 0x7F
    LONGEST_METHOD = 8

# One byte for each that may stand in a target.
cdef bytes _OF_TARGET = bytes([byte in (0x21, 0x22) or 0x24 <= byte <= 0x7E for byte in range(256)])
cdef bytes _VERSION = b" HTTP/1.1\r\n"
cdef bytes _END_OF_LINE = b"\r\n"
cdef bytes _END = b"\r\n\r\n"


cdef class _Step:
    cdef bytes opening
    cdef list following
    cdef object plan

    def __cinit__(self, bytes opening):
        self.opening = opening
        self.following = []
        self.plan = None


cdef class HeadReader:
    """`methods`: those that are ordinary, with what stands for each. `most_steps` bounds the tree."""

    cdef dict _methods
    cdef Py_ssize_t _longest, _longest_target, _most_steps, _steps
    cdef _Step _root

    def __cinit__(self, dict methods, Py_ssize_t longest, Py_ssize_t longest_target, Py_ssize_t most_steps):
        self._methods = methods
        self._longest = longest
        self._longest_target = longest_target
        self._most_steps = most_steps
        self._steps = 0
        self._root = _Step(b"")

    def teach(self, tuple names not None, plan not None) -> None:
        """From now on heads of these names are read. `plan` comes back with each."""
        if self._steps + len(names) > self._most_steps:
            self._steps = 0
            self._root = _Step(b"")
        cdef _Step step = self._root, found
        cdef bytes opening
        for name in names:
            # The end of the line before belongs to a step, so that one look tells where a value ended and what is next.
            opening = name + b": " if step is self._root else _END_OF_LINE + name + b": "
            found = _next(step, opening)
            if found is None:
                found = _Step(opening)
                step.following.append(found)
                self._steps += 1
            step = found
        step.plan = plan

    def read(self, bytes data not None):
        """Method, target, plan, values and body; or None."""
        cdef Py_ssize_t size = len(data), at, begin, end
        if size > self._longest:
            return None
        end = seek(data, SPACE, 0)
        if not 0 < end < LONGEST_METHOD:
            return None
        method = self._methods.get(cut(data, 0, end))
        begin = end + 1
        at = begin
        while at < size and _OF_TARGET[data[at]]:
            at += 1
        if method is None or at == begin or data[begin] != c"/" or at - begin > self._longest_target:
            return None
        if not stands(_VERSION, data, at):
            return None
        target = cut(data, begin, at)
        cdef list values = []
        cdef _Step step = _at(self._root, data, at + len(_VERSION))
        at += len(_VERSION)
        while step is not None:
            at += len(step.opening)
            begin = at
            # A blank in front of a value is the parser's to drop.
            if begin < size and data[begin] == SPACE:
                return None
            while at < size and SPACE <= data[at] < DELETE:
                at += 1
            values.append(cut(data, begin, at))
            if stands(_END, data, at):
                if step.plan is None:
                    return None
                return method, target, step.plan, values, cut(data, at + len(_END), size)
            step = _at(step, data, at)
        return None


cdef _Step _next(_Step step, bytes opening):
    cdef _Step each
    for each in step.following:
        if each.opening == opening:
            return each
    return None


cdef _Step _at(_Step step, bytes data, Py_ssize_t at):
    """Which of what may follow does."""
    cdef _Step each
    for each in step.following:
        if stands(each.opening, data, at):
            return each
    return None
