"""The head of an ordinary answer of an upstream, as `gateway.upstream.plain_response` reads it, and of ours."""

from compiled.pieces cimport cut, seek, stands

cdef enum:
    TAB = 0x09
    SPACE = 0x20
    DELETE = 0x7F
    MOST_DIGITS = 15

cdef bytes _END = b"\r\n\r\n"


cdef class _Step:
    cdef bytes opening
    cdef bytes passed
    cdef bint is_length, is_connection
    cdef list following
    cdef int status

    def __cinit__(self, bytes opening):
        self.opening = opening
        self.following = []
        self.status = 0


cdef class AnswerReader:
    cdef dict _roots
    cdef Py_ssize_t _longest_head, _most_steps, _steps

    def __cinit__(self, Py_ssize_t longest_head, Py_ssize_t most_steps):
        self._longest_head = longest_head
        self._most_steps = most_steps
        self._steps = 0
        self._roots = {}

    def teach(self, bytes status_line not None, int status, tuple headers not None) -> None:
        """`headers`: the name of each as it was written, as it goes on (empty if it does not), and what it is to us:
        `length`, `connection`, or nothing.
        """
        if self._steps + len(headers) + 1 > self._most_steps:
            self._steps = 0
            self._roots = {}
        cdef _Step step = self._roots.get(status_line), found
        if step is None:
            step = self._roots[status_line] = _Step(b"")
            self._steps += 1
        for name, passed, role in headers:
            opening = b"\r\n" + name + b":"
            found = _next(step, opening)
            if found is None:
                found = _Step(opening)
                found.passed = passed + b": " if passed else b""
                found.is_length = role == "length"
                found.is_connection = role == "connection"
                step.following.append(found)
                self._steps += 1
            step = found
        step.status = status

    def read(self, bytes received not None):
        """Status, lines, body; or None."""
        cdef Py_ssize_t size = len(received), at = seek(received, c"\r", 0), begin, end
        cdef long long length = -1
        cdef list lines = []
        cdef _Step step
        if at < 0:
            return None
        step = self._roots.get(cut(received, 0, at))
        if step is None:
            return None
        while True:
            if stands(_END, received, at):
                break
            step = _at(step, received, at)
            if step is None:
                return None
            begin = at + len(step.opening)
            at = begin
            while at < size and (SPACE <= received[at] < DELETE or received[at] == TAB):
                at += 1
            end = at
            while begin < end and (received[begin] == SPACE or received[begin] == TAB):
                begin += 1
            while begin < end and (received[end - 1] == SPACE or received[end - 1] == TAB):
                end -= 1
            if step.is_length:
                length = _number(received, begin, end)
                if length < 0:
                    return None
            elif step.is_connection:
                if not _keeps_alive(received, begin, end):
                    return None
            elif step.passed:
                lines.append(step.passed)
                lines.append(cut(received, begin, end))
                lines.append(b"\r\n")
        if not step.status or at > self._longest_head or length != size - at - len(_END):
            return None
        return step.status, b"".join(lines), cut(received, at + len(_END), size)


cdef long long _number(bytes whole, Py_ssize_t begin, Py_ssize_t end):
    """As a length is written, without a zero in front; -1 if it is not."""
    cdef long long number = 0
    if not 0 < end - begin <= MOST_DIGITS or (whole[begin] == c"0" and end - begin > 1):
        return -1
    while begin < end:
        if not c"0" <= whole[begin] <= c"9":
            return -1
        number = 10 * number + (whole[begin] - c"0")
        begin += 1
    return number


cdef bint _keeps_alive(bytes whole, Py_ssize_t begin, Py_ssize_t end):
    return cut(whole, begin, end).lower() == b"keep-alive"


cdef _Step _next(_Step step, bytes opening):
    cdef _Step each
    for each in step.following:
        if each.opening == opening:
            return each
    return None


cdef _Step _at(_Step step, bytes data, Py_ssize_t at):
    cdef _Step each
    for each in step.following:
        if stands(each.opening, data, at):
            return each
    return None


def nearest(tuple tolerances_us not None, tuple emissions_us not None, list booked_us not None):
    """Which limit is nearest to its end, how often it still lets pass, and what is booked there."""
    cdef long long least = 0, left, booked
    cdef Py_ssize_t at, found = -1
    if not len(tolerances_us) == len(emissions_us) == len(booked_us):
        raise ValueError("as many of each")
    for at in range(len(booked_us)):
        booked = booked_us[at]
        left = (<long long>tolerances_us[at] - booked) // <long long>emissions_us[at]
        if found < 0 or left < least:
            least, found = left, at
    return found, least, booked_us[found]
