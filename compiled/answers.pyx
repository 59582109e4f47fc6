"""Answers: the head of an upstream's, as `gateway.upstream.plain_response` reads it, and the bytes of one of ours.

An upstream answers with the same few heads again and again. So those that were seen are kept as a tree for each status
line: a step is one header's name as it stands in a head, and where a head has ended hangs its status. To read a head is
to walk down that tree; a head that leads out of it is declined.
"""

from cpython.long cimport PyLong_AsLongLongAndOverflow

from compiled.pieces cimport cut, length_of, put, room, seek, stands, which

cdef enum:
    TAB = 0x09
    SPACE = 0x20
    DELETE = 0x7F
    # What a number of 64 bits has at most.
    ROOM_FOR_DIGITS = 19
    # Of a status line or a name: what is longer is not kept.
    LONGEST_KEPT = 128
    # So that looking for the next step does not become a search.
    MOST_FOLLOWING = 16
    MICROSECONDS = 1000000

# What Redis and Lua count exactly, so that nothing here overflows.
cdef long long MOST_US = 2 ** 53

cdef bytes _END_OF_LINE = b"\r\n"
cdef bytes _END = b"\r\n\r\n"


cdef class _Step:
    # The end of the line before belongs to a step, so that one look tells where a value ended and what is next.
    cdef bytes opening
    # How the line begins that goes on to the client, if one does.
    cdef bytes passed
    # Whether it begins there as it does here.
    cdef bint is_passed_as_it_is, is_length, is_connection, is_date
    cdef list openings, following
    # None where no known head ends.
    cdef object status

    def __cinit__(self, bytes opening):
        self.opening = opening
        self.passed = b""
        self.openings = []
        self.following = []


cdef class AnswerReader:
    """`most_steps` bounds what is kept. Strangers may choose names: once there are too many, all are forgotten."""

    cdef dict _roots
    cdef Py_ssize_t _longest_head, _most_steps, _steps

    def __cinit__(self, Py_ssize_t longest_head, Py_ssize_t most_steps):
        self._longest_head = longest_head
        self._most_steps = most_steps
        self._forget()

    @property
    def steps(self) -> int:
        return self._steps

    def teach(self, bytes status_line not None, int status, tuple headers not None) -> bool:
        """From now on heads of these names, in this order, are read. Whether all others had to be forgotten for it.

        `headers`: the name of each as it was written, as it goes on (empty if it does not), and what it is to us:
        `length`, `connection`, `date`, or nothing. Exactly one is the length.
        """
        if len(headers) >= self._most_steps or len(status_line) > LONGEST_KEPT:
            return False
        for name, _, _ in headers:
            if len(name) > LONGEST_KEPT:
                return False
        if self._add(status_line, status, headers):
            return False
        self._forget()
        self._add(status_line, status, headers)
        return True

    def read(self, bytes received not None):
        """Status, the lines that go on, body, and whether the lines tell a date; or None."""
        cdef Py_ssize_t size = len(received), at = seek(received, c"\r", 0), line, value, begin, end
        # A run of bytes that go on as they are. Its last line end is seen before the run is cut.
        cdef Py_ssize_t run_begin = 0, run_end = 0
        cdef long long length = -1
        cdef bint is_dated = False, is_as_it_is
        cdef list lines = None
        cdef _Step step
        if not 0 < at <= LONGEST_KEPT:
            return None
        step = self._roots.get(cut(received, 0, at))
        if step is None:
            return None
        while not stands(_END, received, at):
            step = _at(step, received, at)
            if step is None:
                return None
            line = at + len(_END_OF_LINE)
            value = at + len(step.opening)
            at = value
            while at < size and (SPACE <= received[at] < DELETE or received[at] == TAB):
                at += 1
            begin, end = value, at
            while begin < end and (received[begin] == SPACE or received[begin] == TAB):
                begin += 1
            while begin < end and (received[end - 1] == SPACE or received[end - 1] == TAB):
                end -= 1
            if step.is_length:
                length = length_of(received, begin, end)
            elif step.is_connection:
                if cut(received, begin, end).lower() != b"keep-alive":
                    return None
            elif step.passed:
                is_dated = is_dated or step.is_date
                is_as_it_is = step.is_passed_as_it_is and begin == value + 1 and received[value] == SPACE
                if is_as_it_is and run_end == 0:
                    run_begin = line
                elif not is_as_it_is or run_end != line:
                    lines = _with_run(lines, received, run_begin, run_end)
                    run_begin = line
                if not is_as_it_is:
                    lines.append(step.passed)
                    run_begin = begin
                run_end = at + len(_END_OF_LINE)
                if end != at:
                    lines = _with_run(lines, received, run_begin, end)
                    lines.append(_END_OF_LINE)
                    run_begin = run_end = 0
        if step.status is None or at > self._longest_head or length != size - at - len(_END):
            return None
        if lines is None:
            passed = cut(received, run_begin, run_end)
        else:
            passed = b"".join(_with_run(lines, received, run_begin, run_end))
        return step.status, passed, cut(received, at + len(_END), size), is_dated

    cdef _forget(self):
        self._steps = 0
        self._roots = {}

    cdef bint _add(self, bytes status_line, int status, tuple headers) except -1:
        """False where that would be more than is kept."""
        cdef _Step step = self._roots.get(status_line), found
        cdef bytes opening
        if self._steps + len(headers) + 1 > self._most_steps:
            return False
        if step is None:
            step = self._roots[status_line] = _Step(status_line)
            self._steps += 1
        for name, passed, role in headers:
            opening = _END_OF_LINE + name + b":"
            found = _at(step, opening, 0)
            if found is None:
                if len(step.following) >= MOST_FOLLOWING:
                    return False
                found = _Step(opening)
                found.passed = passed + b": " if passed else b""
                found.is_passed_as_it_is = passed == name
                found.is_length = role == "length"
                found.is_connection = role == "connection"
                found.is_date = role == "date"
                step.openings.append(opening)
                step.following.append(found)
                self._steps += 1
            step = found
        step.status = status
        return True


cdef list _with_run(list lines, bytes received, Py_ssize_t begin, Py_ssize_t end):
    if lines is None:
        lines = []
    if begin < end:
        lines.append(cut(received, begin, end))
    return lines


cdef inline _Step _at(_Step step, bytes received, Py_ssize_t at):
    """Which of what may follow does. Names are tokens, so no line begins with two of them."""
    cdef Py_ssize_t place = which(step.openings, received, at)
    return None if place < 0 else step.following[place]


cdef bytes _digits(long long number):
    """Of what is not negative."""
    cdef unsigned char[ROOM_FOR_DIGITS] written
    cdef Py_ssize_t at = ROOM_FOR_DIGITS
    while at > 0:
        at -= 1
        written[at] = c"0" + <unsigned char>(number % 10)
        number //= 10
        if number == 0:
            break
    return written[at:ROOM_FOR_DIGITS]


cdef class StateWriter:
    """Of each limit its tolerance, its emission interval, and how the lines begin where it is the nearest to its end:
    up to the number that is left of it.
    """

    cdef tuple _tolerances_us, _emissions_us, _openings

    def __cinit__(self, tuple tolerances_us not None, tuple emissions_us not None, tuple openings not None):
        if not len(tolerances_us) == len(emissions_us) == len(openings):
            raise ValueError("as many of each")
        self._tolerances_us = tolerances_us
        self._emissions_us = emissions_us
        self._openings = openings

    def add(self, bytes lines not None, list booked_us not None):
        """`lines`, and behind them the state of the nearest limit, the first of equals; or None."""
        cdef long long left, booked, emission, tolerance, least = 0, booked_of_nearest = 0
        cdef Py_ssize_t at, nearest = -1
        cdef int overflows = 0
        if not 0 < len(booked_us) == len(self._tolerances_us):
            return None
        for at in range(len(booked_us)):
            each = booked_us[at]
            if type(each) is not int:
                return None
            # Less than nothing, where it is more than fits.
            booked = PyLong_AsLongLongAndOverflow(each, &overflows)
            tolerance, emission = self._tolerances_us[at], self._emissions_us[at]
            if not 0 <= booked <= tolerance <= MOST_US or emission < 1:
                return None
            left = (tolerance - booked) // emission
            if nearest < 0 or left < least:
                least, nearest, booked_of_nearest = left, at, booked
        return b"".join((
            lines,
            self._openings[nearest],
            _digits(least),
            b";t=",
            _digits((booked_of_nearest + MICROSECONDS - 1) // MICROSECONDS),
            _END_OF_LINE,
        ))


cdef bytes _REQUEST_ID = b"portreeve-request-id: "
cdef bytes _LENGTH = b"content-length: "


def join(bytes status_line not None, bytes lines not None, str request_id not None, bytes default_lines not None,
         bytes farewell not None, Py_ssize_t length, bytes body not None):
    """As `gateway.server.joining` does it."""
    cdef bytes identity = request_id.encode(), told = _digits(length) if length >= 0 else b""
    cdef Py_ssize_t at = 0, size = len(_END_OF_LINE) + len(body)
    size += len(status_line) + len(lines) + len(default_lines) + len(farewell)
    if identity:
        size += len(_REQUEST_ID) + len(identity) + len(_END_OF_LINE)
    if told:
        size += len(_LENGTH) + len(told) + len(_END_OF_LINE)
    cdef bytes answer = room(size)
    at = put(answer, at, status_line)
    at = put(answer, at, lines)
    if identity:
        at = put(answer, at, _REQUEST_ID)
        at = put(answer, at, identity)
        at = put(answer, at, _END_OF_LINE)
    at = put(answer, at, default_lines)
    at = put(answer, at, farewell)
    if told:
        at = put(answer, at, _LENGTH)
        at = put(answer, at, told)
        at = put(answer, at, _END_OF_LINE)
    at = put(answer, at, _END_OF_LINE)
    at = put(answer, at, body)
    if at != size:
        raise IndexError("an answer of another size")
    return answer
