"""The embedded way: each mail is a file in the state directory's `outbox/`, for whoever tries the product out.

Invariant: nobody but the account that serves reads one: 0600 in a directory of 0700, since its link is a way in. The
log says that a mail was written and where, and nothing of what is in it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from auth.people.mail import Mail, MailNotSent
from gateway.demo import private_file
from gateway.mail import writing

_LOG: Final = logging.getLogger("portreeve.mail")
_ID_BYTES: Final = 8


class Outbox:
    def __init__(
        self, directory: Path, sender: str, clock: Callable[[], int], entropy: Callable[[int], bytes]
    ) -> None:
        self._directory = directory
        self._sender = sender
        self._clock = clock
        self._entropy = entropy

    async def send(self, mail: Mail) -> None:
        now_ms = self._clock()
        name = f"{now_ms}-{self._entropy(_ID_BYTES).hex()}"
        content = writing.write(mail, sender=self._sender, message_id=name, now_ms=now_ms)
        path = self._directory / f"{name}.eml"
        try:
            await asyncio.to_thread(self._write, path, content)
        except OSError as failure:
            raise MailNotSent(f"{path.parent}: {failure.strerror}") from None
        _LOG.info("a mail to somebody was written: %s", path)

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        private_file.write(path, content)
