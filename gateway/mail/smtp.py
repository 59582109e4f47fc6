"""By a mail server: `smtp://` (which has to offer STARTTLS) or `smtps://`, each with a certificate that verifies.

Invariant: nothing of a mail, and no password, crosses a connection that is not encrypted to the server that is named.
What a server answers is told by its number: its sentences may quote anything. A mail takes no longer than the timeout
of each of its few exchanges, in a thread: the library is a blocking one.
"""

from __future__ import annotations

import asyncio
import logging
import smtplib
import ssl
from collections.abc import Callable
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

import msgspec

from auth.people.mail import Mail, MailNotSent
from gateway.mail import writing
from keys.secret import Secret

_LOG: Final = logging.getLogger("portreeve.mail")
_ID_BYTES: Final = 16
_TIMEOUT_S: Final = 10.0
_PORTS: Final = {"smtp": 587, "smtps": 465}


class InvalidServer(ValueError):
    """The message completes a sentence that begins with the place of the address."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    scheme: Literal["smtp", "smtps"]
    host: str
    port: int
    account: str | None


def parse_server(url: str) -> Server:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidServer("is no well-formed url") from None
    if parts.scheme not in _PORTS:
        raise InvalidServer('begins with neither "smtp://" nor "smtps://"')
    if parts.password is not None:
        raise InvalidServer('carries a password: put a reference to it under "smtp_password"')
    if not parts.hostname or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise InvalidServer("is not SCHEME://ACCOUNT@HOST:PORT")
    return Server(
        scheme="smtp" if parts.scheme == "smtp" else "smtps",
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        account=None if parts.username is None else unquote(parts.username),
    )


class Smtp:
    def __init__(  # noqa: PLR0913  where it goes, as whom, and sources of time and chance
        self,
        server: Server,
        password: Secret | None,
        sender: str,
        clock: Callable[[], int],
        entropy: Callable[[int], bytes],
        *,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """`trust`: whose certificates count; the system's, if absent."""
        self._server = server
        self._password = password
        self._sender = sender
        self._clock = clock
        self._entropy = entropy
        self._trust = trust or ssl.create_default_context()

    async def send(self, mail: Mail) -> None:
        name = self._entropy(_ID_BYTES).hex()
        content = writing.write(mail, sender=self._sender, message_id=name, now_ms=self._clock())
        try:
            await asyncio.to_thread(self._hand_over, mail.recipient, content)
        except smtplib.SMTPResponseException as failure:
            raise MailNotSent(f"{self._server.host} answered {failure.smtp_code}") from None
        # A `ValueError`: of what cannot be written as the library writes it, or of an answer that it cannot read.
        except (smtplib.SMTPException, OSError, ssl.SSLError, ValueError) as failure:
            raise MailNotSent(f"{self._server.host} did not take it: {type(failure).__name__}") from None
        _LOG.info("a mail to somebody was handed to %s", self._server.host)

    def _hand_over(self, recipient: str, content: bytes) -> None:
        with self._connect() as connection:
            if self._server.account is not None and self._password is not None:
                connection.login(self._server.account, self._password.reveal())
            connection.sendmail(self._sender, [recipient], content)

    def _connect(self) -> smtplib.SMTP:
        server = self._server
        if server.scheme == "smtps":
            return smtplib.SMTP_SSL(server.host, server.port, timeout=_TIMEOUT_S, context=self._trust)
        connection = smtplib.SMTP(server.host, server.port, timeout=_TIMEOUT_S)
        try:
            # Raises where the server offers none: in the clear nothing is said.
            connection.starttls(context=self._trust)
        except BaseException:
            connection.close()
            raise
        return connection
