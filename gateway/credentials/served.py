"""The credentials that a node serves with, by upstream; they follow the store, and what lies elsewhere.

Invariant: an upstream that has a credential in the store, or has to have one, stands in `by_upstream`; where nothing
can be sent there stands `Missing`, which lets nothing through. A new version takes the place of the old one in one
step; a version that cannot be opened for now leaves the last good one in place, unless that was revoked. A credential
of one environment is never sent to an upstream of the other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, cast

import msgspec

from gateway.credentials import forms
from gateway.credentials.oauth import OAuthClient
from gateway.credentials.proof import Missing, Proof, Signing, make_ready
from gateway.credentials.secrets_manager import Found, SecretsManager, SecretsManagerUnavailable
from keys import envelope
from keys.upstream_credentials import StoredCredential, UpstreamCredential, UpstreamCredentials

_LOG: Final = logging.getLogger("portreeve.credentials")
# After a 401 the label may have moved, but not every 401 is asked about.
_SOONEST_S: Final = 1.0


class _Followed(msgspec.Struct, eq=False):
    """One that lies elsewhere, and the version of it that is sent."""

    credential: UpstreamCredential
    secret_id: str
    version_id: str | None = None
    labels: dict[str, str] = {}
    is_failing: bool = False


class _Polled:
    """As what it stands for; a refusal also makes the next look come sooner."""

    def __init__(self, proof: Proof, look: Callable[[], None]) -> None:
        self._proof = proof
        self._look = look
        self.taken = proof.taken
        self.lines = proof.lines
        self.prove = proof.prove
        self.aclose = proof.aclose

    def note_refused(self, lines: bytes) -> None:
        self._proof.note_refused(lines)
        self._look()


class ServedCredentials:
    """`environments`: of every configured upstream. `required`: those that are never asked without a credential."""

    def __init__(  # noqa: PLR0913  what it follows, for whom, and its two clocks
        self,
        stored: UpstreamCredentials,
        elsewhere: SecretsManager,
        environments: Mapping[str, str],
        required: Iterable[str],
        *,
        wall_ms: Callable[[], int],
        monotonic_ms: Callable[[], int],
        poll_ms: int = 60_000,
    ) -> None:
        self._stored = stored
        self._elsewhere = elsewhere
        self._environments = environments
        self._required = frozenset(required)
        self._wall_ms = wall_ms
        self._monotonic_ms = monotonic_ms
        self._poll_s = poll_ms / 1000
        self.by_upstream: dict[str, Proof] = {name: Missing("there is none") for name in self._required}
        self._known: dict[str, StoredCredential] = {}
        self._followed: dict[str, _Followed] = {}
        self._look = asyncio.Event()
        self._refused = False
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def missing(self) -> dict[str, str]:
        """Upstreams that are not asked anything, each with the reason."""
        return {name: proof.why for name, proof in self.by_upstream.items() if isinstance(proof, Missing)}

    def labels(self, upstream: str) -> Mapping[str, str]:
        """Which version bears which label, where it lies in AWS Secrets Manager."""
        followed = self._followed.get(upstream)
        return {} if followed is None else followed.labels

    async def refresh(self) -> None:
        found = {each.credential.upstream: each for each in await self._stored.read_stored()}
        failure: Exception | None = None
        for name in [name for name in self.by_upstream if name not in found]:
            self._forget(name)
        for name, each in found.items():
            known = self._known.get(name)
            if name not in self._environments or (known is not None and _is_same(known, each)):
                continue
            try:
                await self._take(name, each)
            except Exception as raised:  # noqa: BLE001  one that cannot be opened now keeps no other back
                self._hold_back(name, each)
                failure = raised
        if failure is not None:
            raise failure

    async def run(self) -> None:
        """Looks at what lies elsewhere, for as long as this node serves."""
        while True:
            await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._look.wait()
            # A refusal now is heard; the next one only after a rest.
            self._look.clear()
            await asyncio.sleep(_SOONEST_S if self._refused else 0)
            self._refused = False

    async def look(self) -> None:
        """Once. What fails keeps what it has, and is told once."""
        await asyncio.gather(*(self._look_at(each) for each in tuple(self._followed.values())))

    async def aclose(self) -> None:
        self._elsewhere.close()
        for proof in self.by_upstream.values():
            await proof.aclose()
        if self._closing:
            await asyncio.wait(self._closing)

    def _hear_refusal(self) -> None:
        """The label may have moved: look soon, but not for every answer."""
        self._refused = True
        self._look.set()

    async def _take(self, name: str, stored: StoredCredential) -> None:
        credential = stored.credential
        if credential.environment != self._environments[name]:
            self._refuse(name, stored, f"it is for {credential.environment} upstreams, and this is another")
            return
        try:
            details = forms.parse_details(credential.form, credential.details)
            if credential.source != "local":
                self._follow(name, stored, details.secret_id or "")
                return
            if stored.active is None:
                self._refuse(name, stored, "no version of it is active")
                return
            material = await self._stored.open(credential, stored.active)
            proof = self._compile(credential, forms.parse_material(credential.form, material))
        except (envelope.EnvelopeRefused, forms.InvalidCredential) as failure:
            # To ask again would not help.
            self._refuse(name, stored, str(failure))
            return
        self._followed.pop(name, None)
        self._put(name, stored, proof)

    def _compile(self, credential: UpstreamCredential, members: forms.Material) -> Proof:
        details = forms.parse_details(credential.form, credential.details)
        match details:
            case forms.HeaderDetails() | forms.BasicDetails():
                return make_ready(details, members)
            case forms.HmacDetails():
                return Signing(details, members, self._wall_ms)
            case _:
                oauth = cast("forms.OAuthDetails", details)
                return OAuthClient(credential.upstream, oauth, members, self._monotonic_ms)

    def _follow(self, name: str, stored: StoredCredential, secret_id: str) -> None:
        self._followed[name] = _Followed(stored.credential, secret_id)
        self._put(name, stored, Missing("it was not fetched yet"))
        self._look.set()

    async def _look_at(self, followed: _Followed) -> None:
        name = followed.credential.upstream
        try:
            found = await self._elsewhere.read(followed.secret_id, followed.version_id)
            if found is not None:
                self._replace(followed, found)
        except (SecretsManagerUnavailable, forms.InvalidCredential) as failure:
            if not followed.is_failing:
                _LOG.warning(
                    "the credential of upstream %s cannot be had; the last one goes on: %s", name, failure
                )
            followed.is_failing = True
            return
        followed.is_failing = False

    def _replace(self, followed: _Followed, found: Found) -> None:
        name = followed.credential.upstream
        members = forms.parse_material(followed.credential.form, found.material, strictly=False)
        if self._followed.get(name) is not followed:
            return  # it was changed or removed while we asked
        proof = _Polled(self._compile(followed.credential, members), self._hear_refusal)
        followed.version_id, followed.labels = found.version_id, found.labels
        self._put(name, self._known[name], proof)

    def _hold_back(self, name: str, stored: StoredCredential) -> None:
        """It will be asked for again. What may still be sent is sent until then, and nothing else."""
        known = self._known.get(name)
        if known is None or _place(known) != _place(stored) or not _may_go_on(known, stored):
            self._followed.pop(name, None)
            self._swap(name, Missing("it cannot be opened now"))

    def _refuse(self, name: str, stored: StoredCredential, why: str) -> None:
        _LOG.warning("upstream %s is asked nothing, for want of its credential: %s", name, why)
        self._followed.pop(name, None)
        self._put(name, stored, Missing(why))

    def _put(self, name: str, stored: StoredCredential, proof: Proof) -> None:
        self._known[name] = stored
        self._swap(name, proof)

    def _forget(self, name: str) -> None:
        if name in self._required and name not in self._known:
            return
        self._known.pop(name, None)
        self._followed.pop(name, None)
        self._swap(name, Missing("there is none"))
        if name not in self._required:
            del self.by_upstream[name]

    def _swap(self, name: str, proof: Proof) -> None:
        old = self.by_upstream.get(name)
        self.by_upstream[name] = proof
        if old is not None:
            closing = asyncio.get_running_loop().create_task(_close(old))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


async def _close(proof: Proof) -> None:
    await proof.aclose()


def _may_go_on(known: StoredCredential, stored: StoredCredential) -> bool:
    """Whether what is sent was only replaced, and not revoked."""
    return known.active is not None and known.active.version.version in stored.retiring


def _is_same(known: StoredCredential, stored: StoredCredential) -> bool:
    return _place(known) == _place(stored) and known.active == stored.active


def _place(stored: StoredCredential) -> tuple[Any, ...]:
    credential = stored.credential
    return (credential.environment, credential.form, credential.source, credential.details)
