from asyncio import Future
from collections.abc import Sequence
from typing import TypeVar

_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")

def still_waiting(
    waiting: list[tuple[_Question, Future[_Answer], float]],
) -> tuple[list[tuple[_Question, Future[_Answer], float]], list[_Question]] | None: ...
def settle(
    waiting: list[tuple[_Question, Future[_Answer], float]], outcomes: Sequence[_Answer | Exception]
) -> bool: ...
