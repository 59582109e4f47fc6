"""All of a list that comes in pages, for commands: people read it whole, and scripts cut it themselves."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar


class Page(Protocol):
    """`after`: what the next one is asked with; None on the last."""

    @property
    def after(self) -> str | None: ...


Some = TypeVar("Some", bound=Page)
Item = TypeVar("Item")


async def gather(
    ask: Callable[[str | None], Awaitable[Some]], items: Callable[[Some], Sequence[Item]]
) -> list[Item]:
    found: list[Item] = []
    after: str | None = None
    while True:
        page = await ask(after)
        found.extend(items(page))
        after = page.after
        if after is None:
            return found
