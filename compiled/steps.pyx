"""How requests go on, as `gateway.server.turns` has it with a task.

A future, a task's step and two calls of the loop for each wait are a tenth of what an ordinary request costs. Here the
loop is called once for all requests whose wait is over, and each goes on from where it stands. A request stays the
coroutine that it is: as soon as it awaits anything but a `Wait`, it becomes a task like any other.
"""

from asyncio import CancelledError, InvalidStateError, current_task
from contextvars import copy_context

from compiled.pieces cimport advance, prepare_stop

cdef class Together
cdef class Turns


cdef class Wait:
    """What a request awaits, in a task or not. For everybody else it is a future of the loop."""

    # The kind alone of one that was cancelled.
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
        return self._error is CancelledError

    def result(self):
        if not self._is_done:
            raise InvalidStateError("nothing has come yet")
        if self._error is not None:
            raise self._raised()
        return self._value

    def exception(self):
        if not self._is_done:
            raise InvalidStateError("nothing has come yet")
        if self._error is CancelledError:
            raise self._raised()
        return self._error

    def set_result(self, value):
        self._settle(value, None)

    def set_exception(self, error):
        if isinstance(error, type):
            error = error()
        # None would pass for a result, and a StopIteration would end whoever awaits.
        if isinstance(error, StopIteration) or not isinstance(error, BaseException):
            raise TypeError("nothing that can be raised where it is awaited")
        self._settle(None, error)

    def cancel(self, msg=None):
        if self._is_done:
            return False
        self._cancel_message = msg
        self._settle(None, CancelledError)
        return True

    def _make_cancelled_error(self):
        return self._raised()

    cdef object _raised(self):
        # Made for each who asks: one that were kept would keep the frames that it went through, and whatever they hold.
        return _cancelled_error(self._cancel_message) if self._error is CancelledError else self._error

    def add_done_callback(self, callback, *, context=None):
        if context is None:
            # Of whoever adds it, not of whoever settles.
            context = copy_context()
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

    cdef bint _takes(self, Turns turns) except -1:
        """Whether these go on when it is over: one only, and of the same loop. For all others there is asyncio."""
        if self._is_done or self._turns is not None or self._loop is not turns._together._loop:
            return False
        self._turns = turns
        return True

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
            raise self._raised()
        if self._value is not None:
            if isinstance(self._value, (tuple, BaseException)):
                # Alone among values, these would be taken for what the exception is made of.
                raise StopIteration(self._value)
            prepare_stop(self._value)
        raise StopIteration


cdef object _cancelled_error(message):
    return CancelledError() if message is None else CancelledError(message)


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
        cdef Py_ssize_t gone = 0
        self._ready = []
        try:
            for turns in ready:
                gone += 1
                turns._go_on()
        except BaseException:
            # It was meant for all, or is a defect of one: the others go on all the same.
            for turns in ready[gone:]:
                self.add(turns)
            raise


cdef class Turns:
    """The requests of one connection, one after the other. `finish` is told how each ended: by itself, or by what it
    raised; it raises nothing itself.

    Invariant: `tasks`, which a stopping server waits for, holds this or a task exactly while a request is served.
    """

    cdef Together _together
    cdef object _serve, _finish, _coroutine, _exchange, _next
    cdef set _tasks
    # Of the request that runs outside of a task: what it waits for, and by what it is to learn that it was cancelled.
    cdef Wait _awaited
    cdef object _cancelled
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
        """As of a task: what it waits for is over at once, and it is told soon. One that waits for nothing more is told
        when it next goes on; one that has not begun never does.
        """
        if self._coroutine is None and self._next is None:
            return False
        if self._awaited is None or not self._awaited.cancel(msg):
            self._cancelled = _cancelled_error(msg)
        return True

    cdef int _go_on(self) except -1:
        try:
            if self._awaited is not None and self._awaited._is_done:
                self._awaited = None
                self._step()
            while self._coroutine is None and self._next is not None:
                self._exchange, self._next = self._next, None
                self._step()
        finally:
            if self._coroutine is None:
                self._rest()
        return 0

    cdef int _rest(self) except -1:
        if self._next is None:
            self._tasks.discard(self)
        else:
            # It came while another one ended, in a task or in a way that nothing ends.
            self._tasks.add(self)
            self._together.add(self)
        return 0

    cdef int _step(self) except -1:
        """Until it waits, or is over."""
        cdef bint is_over = False
        try:
            if self._coroutine is None:
                self._coroutine = self._serve(self._exchange)
            if self._cancelled is None:
                awaited = advance(self._coroutine, &is_over)
            else:
                thrown, self._cancelled = self._cancelled, None
                awaited = self._coroutine.throw(thrown)
        except StopIteration:
            # Out of `throw`: a coroutine raises none.
            is_over = True
        except BaseException as failure:
            self._end(failure)
            if isinstance(failure, (KeyboardInterrupt, SystemExit)):
                # As out of a task: these are meant for all.
                raise
            return 0
        if is_over:
            self._end(None)
        elif type(awaited) is Wait and (<Wait>awaited)._takes(self):
            self._awaited = awaited
            if self._cancelled is not None:
                self._awaited.cancel(*self._cancelled.args)
        else:
            self._become_task(awaited)
        return 0

    cdef int _become_task(self, awaited) except -1:
        rest = self._go_on_in_task(awaited)
        # Begun here: a task that is cancelled before its first step begins nothing, and so would end nothing.
        rest.send(None)
        task = self._together._loop.create_task(rest)
        self._tasks.add(task)
        self._tasks.discard(self)
        if self._cancelled is not None:
            task.cancel(*self._cancelled.args)
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
            # The next one is not begun from here: inside of a task it would take itself for one.
            self._rest()

    cdef int _end(self, failure) except -1:
        exchange, self._exchange, self._coroutine, self._cancelled = self._exchange, None, None, None
        self._finish(exchange, failure)
        return 0


class _Rest:
    """What is left of a coroutine that was begun outside of a task, and what it awaits there."""

    def __init__(self, coroutine, awaited):
        self._coroutine = coroutine
        self._awaited = awaited

    def __await__(self):
        coroutine, awaited = self._coroutine, self._awaited
        # Noted at once, as a task does, and told to the task when there is one: others may come to await the same.
        is_waited_for = getattr(awaited, "_asyncio_future_blocking", False)
        if is_waited_for:
            awaited._asyncio_future_blocking = False
        thrown = None
        try:
            yield
        except CancelledError as error:
            # Before its task waited for anything. As later on, that is told first, and passes it on.
            if awaited is None or not awaited.cancel():
                thrown = error
        if is_waited_for:
            awaited._asyncio_future_blocking = True
        while True:
            if thrown is None:
                try:
                    yield awaited
                except BaseException as error:
                    thrown = error
            try:
                awaited = coroutine.send(None) if thrown is None else coroutine.throw(thrown)
            except StopIteration:
                return
            thrown = None
