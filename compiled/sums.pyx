"""How many durations fall up to each bound, and their sum, as `gateway.totals` adds them up."""

cdef enum:
    MOST_BOUNDS = 32
    MOST_ADDED = 1 << 20

# Microseconds: as many of these as may be added are still a number of 63 bits.
cdef long long _LONGEST = 1 << 40


cdef class _Sum:
    # One for each bound, and one for what lies beyond the last.
    cdef long long[MOST_BOUNDS + 1] counts
    cdef long long total

    def __cinit__(self):
        cdef Py_ssize_t at
        for at in range(MOST_BOUNDS + 1):
            self.counts[at] = 0
        self.total = 0


cdef class Adder:
    """`bounds`: upper ones, each in its own bucket, in order. What it is not sure of it leaves, and answers None."""

    cdef long long[MOST_BOUNDS] _bounds
    cdef Py_ssize_t _count

    def __cinit__(self, tuple bounds not None):
        cdef Py_ssize_t at
        if len(bounds) > MOST_BOUNDS or sorted(bounds) != list(bounds):
            raise ValueError(f"bounds are at most {MOST_BOUNDS}, in order")
        self._count = len(bounds)
        for at in range(self._count):
            self._bounds[at] = bounds[at]

    def add(self, list durations not None):
        """The counts and the sum."""
        cdef _Sum added = _Sum()
        if len(durations) > MOST_ADDED:
            return None
        for each in durations:
            if not self._take(added, each):
                return None
        return self._told(added)

    def add_each(self, list laps not None):
        """The same for each stage, of dictionaries of what stages took."""
        cdef dict stages = {}
        cdef _Sum added
        if len(laps) > MOST_ADDED:
            return None
        for took in laps:
            if type(took) is not dict:
                return None
            for stage, each in (<dict>took).items():
                added = stages.get(stage)
                if added is None:
                    added = stages[stage] = _Sum()
                if not self._take(added, each):
                    return None
        return {stage: self._told(<_Sum?>added) for stage, added in stages.items()}

    cdef bint _take(self, _Sum added, object duration) except -1:
        cdef long long length
        cdef Py_ssize_t at = 0
        if type(duration) is not int:
            return False
        try:
            length = duration
        except OverflowError:
            return False
        if not 0 <= length <= _LONGEST:
            return False
        # At most as many as there are bounds, of which the sum has one count more.
        while at < self._count and self._bounds[at] < length:
            at += 1
        added.counts[at] += 1
        added.total += length
        return True

    cdef tuple _told(self, _Sum added):
        cdef Py_ssize_t at
        return [added.counts[at] for at in range(self._count + 1)], added.total
