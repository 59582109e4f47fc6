"""Who of a batch still waits for its answer, and the answers themselves, as `auth.admission.lane` has them.

Who waits is a question, the future that it waits on, and a deadline.
"""

cdef enum:
    QUESTION = 0
    ANSWER = 1
    PARTS = 3


def still_waiting(waiting):
    """Those whose future is not done, and their questions; or None."""
    cdef list still = [], questions = [], callers
    cdef tuple each
    if type(waiting) is not list:
        return None
    callers = waiting
    for one in callers:
        if not _is_caller(one):
            return None
        each = one
        if not each[ANSWER].done():
            still.append(each)
            questions.append(each[QUESTION])
    return still, questions


def settle(waiting, outcomes) -> bool:
    """Whether each had its outcome, unless its future was done before. If not, none had."""
    cdef list callers, told
    cdef tuple each
    cdef Py_ssize_t at
    if type(waiting) is not list or type(outcomes) is not list:
        return False
    callers, told = waiting, outcomes
    if len(callers) != len(told):
        return False
    for one in callers:
        if not _is_caller(one):
            return False
    for at in range(len(callers)):
        each = callers[at]
        answer, outcome = each[ANSWER], told[at]
        if answer.done():
            continue
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)
    return True


cdef bint _is_caller(one):
    return type(one) is tuple and len(one) == PARTS
