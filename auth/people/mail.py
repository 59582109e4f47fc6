"""Mails to people: what is said in them, and the one thing that whoever sends them has to do.

Invariant: a mail's text holds a secret, its link, so no `repr` shows it; who it is for is one plain address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from keys.secret import Secret


class Mail(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    recipient: str
    subject: str
    text: Secret


class MailNotSent(Exception):
    """It could not be handed over. Says where it was to go and why not, and nothing of what it held."""


class Mailer(Protocol):
    """Atomicity: a mail is handed over whole, or `MailNotSent` is raised. Timeout: its own, and finite. What was handed
    over is not ours any more: whether it arrives is nobody's promise.
    """

    async def send(self, mail: Mail) -> None: ...


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """Where somebody goes with a ticket: the whole address, made of it."""

    invitation: Callable[[Secret], Secret]
    reset: Callable[[Secret], Secret]


def invite(recipient: str, name: str, link: Secret, days: int) -> Mail:
    return Mail(
        recipient=recipient,
        subject="You are invited to Portreeve",
        text=Secret(
            f"Hello {name},\n\n"
            "an account has been made for you. Follow this link to choose a password:\n\n"
            f"{link.reveal()}\n\n"
            f"It can be used once, within {days} days. If you did not expect it, do nothing.\n"
        ),
    )


def reset(recipient: str, name: str, link: Secret, minutes: int) -> Mail:
    return Mail(
        recipient=recipient,
        subject="A new password for Portreeve",
        text=Secret(
            f"Hello {name},\n\n"
            "somebody, hopefully you, has asked for a new password. Follow this link to choose one:\n\n"
            f"{link.reveal()}\n\n"
            f"It can be used once, within {minutes} minutes. Your second factor stays as it is. If it was not you,"
            " do nothing: your password has not changed.\n"
        ),
    )
