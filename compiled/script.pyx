"""The command of a batch of admissions, and what the reply to it says of each, as `auth.admission.wire` has them.

Of an admission two things are looked at: its nonce, and what was compiled of its charges (`pieces`).
"""

cdef enum:
    # What a script says of an admission, before what is booked for it. Of a replay it says no more.
    ADMITTED = 0
    REPLAYED = 1
    LIMITED = 2
    PIECES = 6
    SCOPE = 0
    KEY_HEAD = 1
    BUCKET_KEYS = 2
    WITH_NONCE = 3
    WITHOUT_NONCE = 4
    BUCKETS = 5

cdef bytes _END = b"\r\n"


cdef class CommandWriter:
    """`script`: how the command names it. `numbers`: what is said of so many admissions, nonces and buckets.
    `undigested`: the state of a digest of nothing, which is copied for each nonce.
    """

    cdef bytes _script
    cdef object _numbers, _copy, _update, _digest

    def __cinit__(self, bytes script not None, numbers not None, undigested not None):
        self._script = script
        self._numbers = numbers
        # Looked up here, because they are needed for each nonce.
        self._copy = undigested.copy
        self._update = type(undigested).update
        self._digest = type(undigested).digest

    def write(self, batch):
        """The command, or None."""
        cdef list parts = [b"", self._script, b""], bucket_keys = [], arguments = []
        cdef Py_ssize_t nonces = 0, buckets = 0
        cdef list admissions
        cdef tuple pieces
        cdef bytes scope
        if type(batch) is not list:
            return None
        admissions = batch
        for admission in admissions:
            pieces = _pieces_of(admission)
            if pieces is None:
                return None
            nonce = admission.nonce
            bucket_keys.append(pieces[BUCKET_KEYS])
            buckets += <Py_ssize_t>pieces[BUCKETS]
            if nonce is None:
                arguments.append(pieces[WITHOUT_NONCE])
                continue
            if type(nonce) is not bytes:
                return None
            scope = pieces[SCOPE]
            digesting = self._copy()
            self._update(digesting, scope + nonce)
            parts.append(pieces[KEY_HEAD])
            parts.append(self._digest(digesting))
            parts.append(_END)
            arguments.append(pieces[WITH_NONCE])
            nonces += 1
        size, key_count, common = self._numbers(len(admissions), nonces, buckets)
        parts[0] = size
        parts[2] = key_count
        parts += bucket_keys
        parts.append(common)
        parts += arguments
        return b"".join(parts)


def divide(reply, batch, admitted not None, replayed not None, limited not None):
    """What comes of each admission; or None. `admitted` and `limited` make it of the admission's charges and of what is
    booked for it, `replayed` of nothing.
    """
    cdef list outcomes = [], numbers, admissions
    cdef Py_ssize_t at = 0, begins, size
    cdef tuple pieces
    if type(reply) is not list or type(batch) is not list:
        return None
    numbers, admissions = reply, batch
    size = len(numbers)
    for number in numbers:
        # A bool is no answer of the script.
        if type(number) is not int:
            return None
    for admission in admissions:
        pieces = _pieces_of(admission)
        begins = at + 1
        if pieces is None or at >= size:
            return None
        status = numbers[at]
        # Past the end, it is seen to be so in the next turn, or at the end.
        at = begins + <Py_ssize_t>pieces[BUCKETS]
        if status == ADMITTED:
            outcomes.append(admitted(admission.charges, numbers[begins:at]))
        elif status == REPLAYED:
            outcomes.append(replayed())
            at = begins
        elif status == LIMITED and begins < at <= size:
            outcomes.append(limited(admission.charges, numbers[begins:at]))
        else:
            return None
    return outcomes if at == size else None


cdef tuple _pieces_of(admission):
    pieces = admission.charges.pieces
    return pieces if type(pieces) is tuple and len(pieces) == PIECES else None
