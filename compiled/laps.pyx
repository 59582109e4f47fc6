"""The laps of a request, as `gateway.trace` takes them."""

cdef enum:
    NS_OF_US = 1000


def finish(dict began not None, long long now_ns):
    """What each stage took in microseconds, and all together. Each began when the one before ended."""
    cdef dict took = {}
    cdef long long first = 0, last = 0, now = 0
    cdef object stage = None
    for each, at in began.items():
        now = <long long>at // NS_OF_US
        if stage is None:
            first = now
        else:
            took[stage] = now - last
        stage, last = each, now
    now = now_ns // NS_OF_US
    if stage is None:
        return took, 0
    took[stage] = now - last
    return took, now - first
