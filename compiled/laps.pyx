"""The laps of a request, as `gateway.trace` takes them."""

from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec


cdef inline long long _now() noexcept:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <long long>now.tv_sec * 1000000 + now.tv_nsec // 1000


def now_us():
    """Microseconds of a clock that only goes on, the one that `time.perf_counter_ns` reads."""
    return _now()


def finish(dict began not None):
    """What each stage took, and all together. Each began when the one before ended."""
    cdef dict took = {}
    cdef long long first = 0, last = 0, now = 0
    cdef object stage = None
    for each, at in began.items():
        now = at
        if stage is None:
            first = now
        else:
            took[stage] = now - last
        stage, last = each, now
    now = _now()
    if stage is not None:
        took[stage] = now - last
    return took, now - first
