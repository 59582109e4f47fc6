from asyncio import Future
from collections.abc import Sequence
from typing import TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")

def still_waiting(
    waiting: list[tuple[Question, Future[Answer], float]],
) -> tuple[list[tuple[Question, Future[Answer], float]], list[Question]] | None: ...
def settle(
    waiting: list[tuple[Question, Future[Answer], float]], outcomes: Sequence[Answer | Exception]
) -> bool: ...
