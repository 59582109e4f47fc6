"""The head of an ordinary request, as `gateway.server.plain_head` reads it.

A server sees the same headers in the same order again and again. So what was seen is kept as a tree: each step is one
header's name as it stands in a head, and where a head has ended hangs what its names decide. To read a head is to walk
down that tree; a head that leads out of it is declined, and may be taught.

Invariant: bounded, because strangers choose the names. A name that is met moves one place forward among those that may
stand there, and the last one makes place for a new one: who sends ever new names takes that place alone. A step counts
as one, and a head that may end there as many more as it has names: they are its own. So many that there may be no more
take the whole tree with them, and it grows anew.
"""

from compiled.pieces cimport cut, length_of, past_printable, seek, stands, which

cdef enum:
    SPACE = 0x20
    LONGEST_METHOD = 8
    LONGEST_NAME = 64
    MOST_NAMES = 32
    # Of different names in one place.
    MOST_FOLLOWING = 16
    NOWHERE = -1

cdef bytes _VERSION = b" HTTP/1.1\r\n"
cdef bytes _END_OF_LINE = b"\r\n"
cdef bytes _END = b"\r\n\r\n"


cdef class _Step:
    """`names`: of the head that may end here, and where the values of Content-Length and Connection stand in it."""

    cdef bytes opening
    cdef list openings, following
    cdef tuple names
    cdef Py_ssize_t length, connection

    def __cinit__(self, bytes opening):
        self.opening = opening
        self.openings = []
        self.following = []
        self.names = None
        self.length = self.connection = NOWHERE


cdef class HeadReader:
    """`methods`: those that are ordinary, with what stands for each. `keeps_alive`: what the values of Connection mean.
    `most_steps` bounds the tree.
    """

    cdef dict _methods, _keeps_alive
    cdef Py_ssize_t _longest, _longest_target, _most_steps, _steps
    cdef _Step _root

    def __cinit__(self, dict methods not None, dict keeps_alive not None, Py_ssize_t longest, Py_ssize_t longest_target,
                  Py_ssize_t most_steps):
        self._methods = methods
        self._keeps_alive = keeps_alive
        self._longest = longest
        self._longest_target = longest_target
        self._most_steps = most_steps
        self._steps = 0
        self._root = _Step(b"")

    @property
    def steps(self):
        """How much is kept: the steps, and the names of every head that may end at one."""
        return self._steps

    def teach(self, tuple names not None, length, connection) -> None:
        """From now on heads of these names are read, if they are few and short. They must be tokens, so that no line
        begins with two of them. `length` and `connection`: where the values of those two stand, None for one that is
        not among the names.
        """
        if not 0 < len(names) <= MOST_NAMES or not all([len(<bytes?>name) <= LONGEST_NAME for name in names]):
            return
        # At most so many steps, and the names once more where the head ends.
        if self._steps + 2 * len(names) > self._most_steps:
            self._steps = 0
            self._root = _Step(b"")
        cdef _Step step = self._root, found
        cdef bytes opening
        cdef Py_ssize_t place
        for name in names:
            # The end of the line before belongs to a step, so that one look tells where a value ended and what is next.
            opening = name + b": " if step is self._root else _END_OF_LINE + name + b": "
            place = which(step.openings, opening, 0)
            found = None if place < 0 else step.following[place]
            if found is None:
                if len(step.following) >= MOST_FOLLOWING:
                    step.openings.pop()
                    self._steps -= _count(step.following.pop())
                found = _Step(opening)
                step.openings.append(opening)
                step.following.append(found)
                self._steps += 1
            step = found
        if step.names is None:
            self._steps += len(names)
        step.names = names
        step.length = NOWHERE if length is None else length
        step.connection = NOWHERE if connection is None else connection

    def read(self, bytes data not None):
        """Method, target, names, values, whether the connection is kept, and the body; or None."""
        cdef Py_ssize_t size = len(data), at, begin, end
        if size > self._longest:
            return None
        end = seek(data, SPACE, 0)
        # Nothing long is copied to be looked up.
        if not 0 < end < LONGEST_METHOD:
            return None
        method = self._methods.get(cut(data, 0, end))
        begin = end + 1
        end = seek(data, SPACE, begin)
        if method is None or end < 0 or end - begin > self._longest_target or not stands(_VERSION, data, end):
            return None
        # A run of printable bytes goes on past the blank behind the target: so all of the target is in it.
        if data[begin] != c"/" or past_printable(data, begin) < end:
            return None
        target = cut(data, begin, end)
        if seek(target, c"#", 0) >= 0:
            return None
        at = end + len(_VERSION)
        cdef list values = []
        cdef _Step step = _follow(self._root, data, at)
        while step is not None:
            begin = at + len(step.opening)
            # A blank in front of a value is the parser's to drop.
            if begin < size and data[begin] == SPACE:
                return None
            at = past_printable(data, begin)
            values.append(cut(data, begin, at))
            if stands(_END, data, at):
                return self._end(method, target, step, values, cut(data, at + len(_END), size))
            step = _follow(step, data, at)
        return None

    cdef tuple _end(self, object method, bytes target, _Step step, list values, bytes body):
        if step.names is None:
            return None
        if step.length == NOWHERE:
            # Without a length it would be the next request.
            if body:
                return None
        elif length_of(values[step.length], 0, len(<bytes>values[step.length])) != len(body):
            # A body that is not whole, or has the next request behind it.
            return None
        keep_alive = True if step.connection == NOWHERE else self._keeps_alive.get(values[step.connection])
        if keep_alive is None:
            return None
        return method, target, step.names, values, keep_alive, body


cdef Py_ssize_t _count(_Step step):
    """With all that follows; a head is at most `MOST_NAMES` steps deep."""
    cdef Py_ssize_t count = 1
    if step.names is not None:
        count += len(step.names)
    for each in step.following:
        count += _count(each)
    return count


cdef inline _Step _follow(_Step step, bytes data, Py_ssize_t at):
    """Which of what may follow does; it moves forward."""
    cdef Py_ssize_t place = which(step.openings, data, at)
    if place < 0:
        return None
    if place:
        _move_forward(step.openings, place)
        _move_forward(step.following, place)
        place -= 1
    return step.following[place]


cdef int _move_forward(list places, Py_ssize_t place) except -1:
    places[place - 1], places[place] = places[place], places[place - 1]
    return 0
