"""Who of a batch still waits for its answer, and the answers themselves, as `auth.admission.lane` has them.

Who waits is a question, the future that it waits on, and a deadline.
"""

cdef enum:
    QUESTION = 0
    ANSWER = 1
    PARTS = 3


def still_waiting(waiting):
    """Those whose future is not done, and their questions; or None."""
    cdef list still = [], questions = []
    cdef tuple each
    if type(waiting) is not list:
        return None
    for one in <list>waiting:
        if type(one) is not tuple or len(<tuple>one) != PARTS:
            return None
        each = <tuple>one
        if not each[ANSWER].done():
            still.append(each)
            questions.append(each[QUESTION])
    return still, questions


def settle(waiting, outcomes) -> bool:
    """Whether each had its outcome, unless its future was done before. If not, none had."""
    cdef Py_ssize_t at, size
    if type(waiting) is not list or type(outcomes) is not list or len(<list>waiting) != len(<list>outcomes):
        return False
    for one in <list>waiting:
        if type(one) is not tuple or len(<tuple>one) != PARTS:
            return False
    size = len(<list>waiting)
    for at in range(size):
        answer = (<tuple>(<list>waiting)[at])[ANSWER]
        if answer.done():
            continue
        outcome = (<list>outcomes)[at]
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)
    return True
