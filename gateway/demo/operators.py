"""The demo's people: made as everybody is, by an invitation, a password and one-time passwords of their own.

Invariant: whoever stands in `demo.json` and still has what stands there is left as they are. Whoever's password or
device has been lost with the file gets others: this is what `portreeve people` does for anybody, without the mails.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Final

import msgspec

from auth.admission.memory import MemoryAdmission
from auth.people import one_time_passwords
from auth.people.accounts import Invitation
from auth.people.failures import UnknownAccount
from auth.people.hashing import PARAMETERS, Parameters, PasswordHashes
from auth.people.records import Account, Step
from gateway.demo.contents import DemoOperator
from gateway.people import People, StoredPeople
from keys.changes import Author, Clock
from keys.secret import SecretBytes

_SOURCE: Final = "127.0.0.1"
_PASSWORD_BYTES: Final = 15
_COUNTED_ALONE: Final = b"nobody else counts here"


class WantedOperator(msgspec.Struct, frozen=True):
    email: str
    name: str
    roles: tuple[str, ...]
    partner: str | None


WANTED: Final = (
    WantedOperator("security@demo.example", "Security Officer", ("security-officer",), None),
    WantedOperator("partner@acme.example", "Acme's Administrator", ("partner-admin",), "acme"),
    # Whoever keeps keys does not trade, so it is somebody else who can allow an app to.
    WantedOperator("trader@acme.example", "Acme's Trader", ("trader",), "acme"),
)


async def find_or_create(  # noqa: PLR0913  whom, what is known of them, and sources of time and chance
    stored: StoredPeople,
    known: tuple[DemoOperator, ...],
    clock: Clock,
    entropy: Callable[[int], bytes],
    *,
    author: Author,
    parameters: Parameters = PARAMETERS,
) -> tuple[DemoOperator, ...]:
    hashes = PasswordHashes(entropy, parameters)
    people = stored.serve(
        MemoryAdmission(lambda: clock() * 1000, nonce_ttl_ms=1), hashes, lambda: _COUNTED_ALONE
    )
    try:
        return tuple(
            [await _find_or_create(people, wanted, known, clock, entropy, author) for wanted in WANTED]
        )
    finally:
        hashes.close()


async def _find_or_create(  # noqa: PLR0913, PLR0917  the same, of one of them
    people: People,
    wanted: WantedOperator,
    known: tuple[DemoOperator, ...],
    clock: Clock,
    entropy: Callable[[int], bytes],
    author: Author,
) -> DemoOperator:
    account = await _find(people, wanted.email)
    for operator in known:
        if operator.email == wanted.email and account is not None and account.has_totp:
            return operator
    password = base64.urlsafe_b64encode(entropy(_PASSWORD_BYTES)).decode("ascii")
    step = await _come(people, wanted, account, password, author)
    return DemoOperator(
        email=wanted.email,
        password=password,
        totp_secret=await _enrol(people, step, clock),
        roles=wanted.roles,
        partner=wanted.partner,
    )


async def _find(people: People, email: str) -> Account | None:
    try:
        return await people.accounts.get_by(email)
    except UnknownAccount:
        return None


async def _come(
    people: People, wanted: WantedOperator, account: Account | None, password: str, author: Author
) -> Step:
    if account is None:
        asked = Invitation(email=wanted.email, name=wanted.name, partner=wanted.partner, roles=wanted.roles)
        _, ticket = await people.accounts.prepare(asked, author=author)
        return await people.passwords.accept_invitation(ticket.reveal(), password, source=_SOURCE)
    await people.accounts.remove_factors(account.id, author=author)
    _, ticket = await people.accounts.prepare_link(account.id, author=author)
    if account.state == "invited":
        return await people.passwords.accept_invitation(ticket.reveal(), password, source=_SOURCE)
    await people.passwords.reset(ticket.reveal(), password, source=_SOURCE)
    return await people.sign_in.with_password(wanted.email, password, source=_SOURCE)


async def _enrol(people: People, step: Step, clock: Clock) -> str:
    shown = (await people.factors.enrol_totp(step.cookie.reveal(), source=_SOURCE)).secret.reveal()
    device = SecretBytes(base64.b32decode(shown + "=" * (-len(shown) % 8)))
    # The step before: that of now stays for whoever signs in at once.
    code = one_time_passwords.code_at(device, one_time_passwords.step_of(clock()) - 1)
    await people.factors.confirm_totp(step.cookie.reveal(), code, source=_SOURCE)
    return shown
