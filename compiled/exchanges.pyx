"""The ordinary exchange with an upstream, as `gateway.upstream` has it in `wire`, `timeouts` and `pool`: asked in one
write on a connection that stands ready, answered in one read by a head that is known.

What else happens on a connection is its twin's: these classes come before those in Python, and hold what both look at.
"""

from compiled.pieces cimport cut_array, is_silent

cdef class Exchanges


cdef class OrdinaryDeadlines:
    """The two waits that every exchange goes through."""

    cdef public double total_at, _deadline, _armed_for
    cdef public object _timeouts, _which

    cdef int _begin(self, timeouts, double now, double total_at) except -1:
        cdef double deadline = now + <double>timeouts.first_byte_s
        self._timeouts = timeouts
        self.total_at = total_at
        if deadline < total_at:
            self._deadline, self._which = deadline, "first_byte"
        else:
            self._deadline, self._which = total_at, "total"
        if self._deadline < self._armed_for:
            self._arm()
        return 0

    cdef int _await_next(self, double until) except -1:
        self._deadline, self._which = until, "keep_alive"
        if until < self._armed_for:
            self._arm()
        return 0

    def begin(self, timeouts, double now, double total_at):
        self._begin(timeouts, now, total_at)

    def await_next(self, double until):
        self._await_next(until)


cdef class Exchanges:
    """Of one connection, one after the other."""

    cdef public object _transport, _response, _owner, _wait
    cdef public OrdinaryDeadlines deadlines
    cdef public bint _heard, _sending, _served, reusable
    # The socket's number, while there is one.
    cdef public int _descriptor
    cdef object _respond, _read, _view
    cdef bytearray _received
    cdef Py_ssize_t _longest

    def __cinit__(self):
        # Before it is prepared there is nothing to cut from: nothing is short enough to be looked at.
        self._longest = -1

    def prepare(self, respond not None, read not None, bytearray received not None, view, Py_ssize_t longest):
        """`respond` makes a response, `read` takes it apart where its head is known. `view`: of what is received into.
        What is longer than `longest` is not looked at.
        """
        self._respond, self._read = respond, read
        self._received, self._view = received, view
        self._longest = longest

    cdef bint _is_ready(self) except -1:
        return self.reusable and not self._transport.is_closing() and is_silent(self._descriptor)

    cdef object _ask(self, request, timeouts, double now, double total_at):
        response = self._response = self._respond(self, self._wait(), request.head_only)
        self.deadlines._begin(timeouts, now, total_at)
        if request.rest is not None:
            self._sending = True
            self.deadlines.await_caller()
        self._transport.write(request.first)
        return response

    def is_ready(self):
        return self._is_ready()

    def ask(self, request, timeouts, double now, double total_at):
        return self._ask(request, timeouts, now, total_at)

    def get_buffer(self, sizehint):
        return self._view

    def buffer_updated(self, Py_ssize_t size):
        response = self._response
        if response is None or self._heard or self._sending or size > self._longest or response.head_only:
            self.take_in(size)
            return
        known = self._read(cut_array(self._received, 0, size))
        if known is None:
            self.take_in(size)
            return
        response.status, response.lines, body, response.dated = known
        response.content_length = len(body)
        response.whole = body
        self._response = None
        self._served = True
        if self._transport.get_write_buffer_size():
            self.reusable = False
        self._owner.release(self)
        arrived = response.arrived
        if not arrived.done():
            arrived.set_result(None)


cdef class Stock:
    """The idle connections of a pool, and who waits for one. `retire` is told of one that serves no more."""

    cdef list _idle
    cdef object _line, _clock, _retire
    cdef double _keep_alive_s

    def __cinit__(self, list idle not None, line not None, double keep_alive_s, clock not None, retire not None):
        self._idle, self._line = idle, line
        self._keep_alive_s = keep_alive_s
        self._clock, self._retire = clock, retire

    def ask(self, request, timeouts):
        """The response that is to come; or None."""
        cdef double now
        cdef Py_ssize_t ready = len(self._idle)
        cdef Exchanges connection
        if not ready or request.rest is not None:
            return None
        connection = self._idle[ready - 1]
        if not connection._is_ready():
            return None
        now = self._clock()
        self._idle.pop()
        return connection._ask(request, timeouts, now, now + <double>timeouts.total_s)

    def release(self, Exchanges connection not None):
        if not connection.reusable:
            self._retire(connection)
            return
        connection.deadlines._await_next(<double>self._clock() + self._keep_alive_s)
        if not (self._line.waiting and self._line.hand_over(connection)):
            self._idle.append(connection)
