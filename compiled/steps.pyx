"""How requests go on, as `gateway.server.turns` has it with a task.

A future, a task's step and two calls of the loop for each wait are a tenth of what an ordinary request costs. Here the
loop is called once for all requests whose wait is over, and each goes on from where it stands. A request stays the
coroutine that it is: as soon as it awaits anything but a `Wait`, it becomes a task like any other.
"""

from asyncio import CancelledError, InvalidStateError, current_task

from compiled.pieces cimport advance, prepare_stop

cdef class Together
cdef class Turns


cdef class Wait:
    """What a request awaits, in a task or not. For everybody else it is a future of the loop."""

    cdef object _loop, _value, _error
    cdef list _callbacks
    cdef Turns _turns
    cdef bint _is_done
    # By this a task, and asyncio, tell a future; true while a task is about to wait for it.
    cdef public object _asyncio_future_blocking
    # What asyncio's own functions look at of a future that was cancelled.
    cdef readonly object _cancel_message

    def __cinit__(self, loop not None):
        self._loop = loop
        self._asyncio_future_blocking = False

    def get_loop(self):
        return self._loop

    def done(self):
        return self._is_done

    def cancelled(self):
        return isinstance(self._error, CancelledError)

    def result(self):
        if not self._is_done:
            raise InvalidStateError("nothing has come yet")
        if self._error is not None:
            raise self._error
        return self._value

    def exception(self):
        if not self._is_done:
            raise InvalidStateError("nothing has come yet")
        if isinstance(self._error, CancelledError):
            raise self._error
        return self._error

    def set_result(self, value):
        self._settle(value, None)

    def set_exception(self, error):
        self._settle(None, error)

    def cancel(self, msg=None):
        if self._is_done:
            return False
        self._cancel_message = msg
        self._settle(None, CancelledError() if msg is None else CancelledError(msg))
        return True

    def _make_cancelled_error(self):
        return self._error

    def add_done_callback(self, callback, *, context=None):
        if self._is_done:
            self._loop.call_soon(callback, self, context=context)
        elif self._callbacks is None:
            self._callbacks = [(callback, context)]
        else:
            self._callbacks.append((callback, context))

    def remove_done_callback(self, callback):
        before = self._callbacks or []
        self._callbacks = [each for each in before if each[0] != callback]
        return len(before) - len(self._callbacks)

    cdef int _settle(self, value, error) except -1:
        cdef Turns turns = self._turns
        if self._is_done:
            raise InvalidStateError("it has come already")
        self._is_done, self._value, self._error, self._turns = True, value, error, None
        if turns is not None:
            turns._together.add(turns)
        if self._callbacks is not None:
            for callback, context in self._callbacks:
                self._loop.call_soon(callback, self, context=context)
            self._callbacks = None
        return 0

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if not self._is_done:
            self._asyncio_future_blocking = True
            return self
        if self._error is not None:
            raise self._error
        if self._value is not None:
            if isinstance(self._value, (tuple, BaseException)):
                # Alone among values, these would be taken for what the exception is made of.
                raise StopIteration(self._value)
            prepare_stop(self._value)
        raise StopIteration


cdef class Together:
    """Those who go on when their loop comes to it, in the order in which they could. All at once, as tasks would: to go
    on inside of the call that ends a wait was dearer, since then no two do the same one behind the other, and what the
    processor has just loaded serves one only.
    """

    cdef object _loop
    cdef list _ready

    def __cinit__(self, loop not None):
        self._loop = loop
        self._ready = []

    cdef int add(self, Turns turns) except -1:
        if not self._ready:
            self._loop.call_soon(self._go_on)
        self._ready.append(turns)
        return 0

    def _go_on(self):
        cdef list ready = self._ready
        cdef Turns turns
        self._ready = []
        for turns in ready:
            turns._go_on()


cdef class Turns:
    """The requests of one connection, one after the other. `finish` is told how each ended: by itself, or by what it
    raised; it raises nothing itself.

    Invariant: `tasks`, which a stopping server waits for, holds this or a task exactly while a request is served.
    """

    cdef Together _together
    cdef object _serve, _finish, _coroutine, _exchange, _next
    cdef set _tasks
    # Of the request that runs outside of a task.
    cdef Wait _awaited
    cdef object __weakref__

    def __cinit__(self, Together together not None, set tasks not None, serve, finish):
        self._together = together
        self._tasks = tasks
        self._serve = serve
        self._finish = finish

    def take(self, exchange not None):
        """The one before has been answered."""
        self._next = exchange
        if self._coroutine is None:
            self._tasks.add(self)
            self._together.add(self)

    def end(self):
        """The connection is gone. What is being served learns of it where it next has to do with its client."""

    def cancel(self, msg=None):
        """As of a task: what it waits for is over at once, and it is told soon."""
        cdef Wait awaited = self._awaited
        return awaited is not None and awaited.cancel(msg)

    cdef int _go_on(self) except -1:
        if self._awaited is not None:
            self._awaited = None
            self._step()
        return self._serve_next()

    cdef int _serve_next(self) except -1:
        while self._coroutine is None and self._next is not None:
            self._exchange, self._next = self._next, None
            self._coroutine = self._serve(self._exchange)
            self._step()
        if self._coroutine is None:
            self._tasks.discard(self)
        return 0

    cdef int _step(self) except -1:
        """Until it waits, or is over."""
        cdef bint is_over = False
        try:
            awaited = advance(self._coroutine, &is_over)
        except BaseException as failure:
            self._end(failure)
            return 0
        if is_over:
            self._end(None)
        elif type(awaited) is Wait:
            self._awaited = awaited
            self._awaited._turns = self
        else:
            task = self._together._loop.create_task(self._go_on_in_task(awaited))
            self._tasks.add(task)
            self._tasks.discard(self)
        return 0

    async def _go_on_in_task(self, awaited):
        try:
            await _Rest(self._coroutine, awaited)
        except BaseException as failure:
            self._end(failure)
            if not isinstance(failure, Exception):
                raise
        else:
            self._end(None)
        finally:
            self._tasks.discard(current_task())
            if self._next is not None:
                # Not from here: what is begun inside of a task would take itself for one.
                self._tasks.add(self)
                self._together.add(self)

    cdef int _end(self, failure) except -1:
        exchange, self._exchange, self._coroutine = self._exchange, None, None
        self._finish(exchange, failure)
        return 0


class _Rest:
    """What is left of a coroutine that was begun outside of a task, and what it awaits there."""

    def __init__(self, coroutine, awaited):
        self._coroutine = coroutine
        self._awaited = awaited

    def __await__(self):
        coroutine, awaited = self._coroutine, self._awaited
        while True:
            thrown = None
            try:
                yield awaited
            except BaseException as error:
                thrown = error
            try:
                awaited = coroutine.send(None) if thrown is None else coroutine.throw(thrown)
            except StopIteration:
                return
