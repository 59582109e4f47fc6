"""What an upstream gets: a short signed statement about who stands behind a request.

Invariant: every assertion names one upstream, one environment and the permission that let the request
pass, lives at most thirty seconds, and is signed by the ring's current key. One is reused only for the
same caller, roles, permission and upstream, only until it is `reuse_ms` old, and never past a change of
the signing key. One made for a single request is never kept.
Refuses: settings under which a reused assertion could be expired when it arrives.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth import identity

_JTI_BYTES: Final = 16


class Signer(Protocol):
    """The current key of the identity ring, as `keys.ring.Ring.get_signer` gives it: an Ed25519 one."""

    @property
    def kid(self) -> str: ...
    @property
    def private_key(self) -> Ed25519PrivateKey | EllipticCurvePrivateKey: ...


class Caller(Protocol):
    """What of a principal an upstream is told."""

    @property
    def partner(self) -> str: ...
    @property
    def credential(self) -> str: ...
    @property
    def environment(self) -> str: ...
    @property
    def roles(self) -> tuple[str, ...]: ...


class _Said:
    """Where a statement has the assertion that was made of it last, so that finding it looks in no table. A table of
    thousands is in no cache of the processor's when the next of thousands asks. Equal to any other: it is no part of
    what is stated.

    A clock that went back to before `from_ms` proves nothing about its age: then a new one is made.
    """

    __slots__ = ("assertion", "era", "from_ms")

    def __init__(self) -> None:
        self.assertion = ""
        self.from_ms = 0
        # By whom and under which signing key it was made: told apart by identity. None: nothing was said yet.
        self.era: object = None

    def repeat(self, other: _Said) -> None:
        self.assertion, self.from_ms, self.era = other.assertion, other.from_ms, other.era

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Said)

    def __hash__(self) -> int:
        return 0


_NOTHING_SAID: Final = _Said()


class Statement(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """About whom, to whom, and by which permission: all that an assertion says but its times, its id and its signer.

    Equal ones are one. Whoever keeps it has its hash worked out once, and finds at once what was said of it.
    """

    partner: str
    credential: str
    environment: str
    roles: tuple[str, ...]
    permission: str
    upstream: str
    # Its own: whatever a caller passes is overwritten, so that one made from another never finds what that one said.
    said: _Said = _NOTHING_SAID

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "said", _Said())


def state(caller: Caller, upstream: str, permission: str) -> Statement:
    return Statement(
        caller.partner, caller.credential, caller.environment, caller.roles, permission, upstream
    )


class RequestBinding(msgspec.Struct, frozen=True, gc=False):
    """The one request an assertion is made for, as the upstream will receive it: after any stripping."""

    request_id: str
    method: str
    path: bytes
    query: bytes
    body_sha256: str


class Assertions:
    def __init__(  # noqa: PLR0913  what it signs with, whom it speaks for, and its three bounds
        self,
        get_signer: Callable[[], Signer],
        issuer: str,
        *,
        entropy: Callable[[int], bytes],
        lifetime_ms: int = 30_000,
        reuse_ms: int = 10_000,
        max_reusable: int = 32_768,
    ) -> None:
        lifetime_s, rest_ms = divmod(lifetime_ms, 1_000)
        if rest_ms or not 1 <= lifetime_s <= identity.LONGEST_LIFETIME_S:
            raise ValueError(f"lifetime_ms must be 1 to {identity.LONGEST_LIFETIME_S} whole seconds")
        if not 0 <= reuse_ms < lifetime_ms:
            raise ValueError("reuse_ms must be shorter than lifetime_ms")
        self._get_signer = get_signer
        self._issuer = issuer
        self._entropy = entropy
        self._lifetime_s = lifetime_s
        self._reuse_ms = reuse_ms
        self._max_reusable = max_reusable
        self._kid: str | None = None
        # The first part of what the current key signs: the same in all of it.
        self._head = b""
        # Another one with each signing key: what was made in an earlier one is not reused.
        self._era = object()
        # The milliseconds of the second in which was signed last: one number for all that was.
        self._second_ms = 0
        # What was said by equal statements, which do not know of each other.
        self._reusable: OrderedDict[Statement, _Said] = OrderedDict()

    def issue(self, statement: Statement, now_ms: int, bind: RequestBinding | None = None) -> str:
        signer = self._get_signer()
        if signer.kid != self._kid:
            self._reusable.clear()
            self._kid, self._head, self._era = signer.kid, _head_of(signer), object()
        if bind is not None:
            claims = self._claims(statement, now_ms)
            return self._sign(signer, claims | _bound_claims(bind))
        said = statement.said
        if said.era is not self._era or not 0 <= now_ms - said.from_ms < self._reuse_ms:
            self._find_or_make(signer, statement, now_ms)
        return said.assertion

    def _find_or_make(self, signer: Signer, statement: Statement, now_ms: int) -> None:
        kept, said = self._reusable.get(statement), statement.said
        # Of another era than this one it is where its statement was asked of another issuer meanwhile.
        if kept is not None and kept.era is self._era and 0 <= now_ms - kept.from_ms < self._reuse_ms:
            said.repeat(kept)
            return
        claims = self._claims(statement, now_ms)
        said.assertion, said.era = self._sign(signer, claims), self._era
        # The age counts from the whole second that the assertion shows, not from this millisecond.
        said.from_ms = self._shared_ms(claims["iat"])
        self._keep(statement, said)

    def _shared_ms(self, second: int) -> int:
        """The same object for all of a second: of thousands who ask in turn it is in the processor's caches."""
        if self._second_ms != second * 1_000:
            self._second_ms = second * 1_000
        return self._second_ms

    def _keep(self, statement: Statement, said: _Said) -> None:
        self._reusable[statement] = said
        self._reusable.move_to_end(statement)
        if len(self._reusable) > self._max_reusable:
            self._reusable.popitem(last=False)

    def _claims(self, statement: Statement, now_ms: int) -> dict[str, Any]:
        issued_at = now_ms // 1_000
        return {
            "iss": self._issuer,
            "aud": statement.upstream,
            "sub": statement.partner,
            "cred": statement.credential,
            "env": statement.environment,
            "perm": statement.permission,
            "roles": list(statement.roles),
            "iat": issued_at,
            "exp": issued_at + self._lifetime_s,
            "jti": _base64url(self._entropy(_JTI_BYTES)).decode("ascii"),
        }

    def _sign(self, signer: Signer, claims: dict[str, Any]) -> str:
        """A JWS in its compact form. Written here, because a library's way to the same bytes takes as long as half a
        signature: all that differs from one to the next is what is claimed.
        """
        private_key = signer.private_key
        if not isinstance(private_key, Ed25519PrivateKey):
            raise TypeError(f"an identity assertion is signed by an Ed25519 key, and {signer.kid} is none")
        signed = b"%b.%b" % (self._head, _base64url(_encode_json(claims)))
        return (b"%b.%b" % (signed, _base64url(private_key.sign(signed)))).decode("ascii")


_encode_json: Final = msgspec.json.Encoder().encode


def _head_of(signer: Signer) -> bytes:
    header = {"alg": identity.ALGORITHM, "kid": signer.kid, "typ": identity.ASSERTION_TYPE}
    return _base64url(_encode_json(header))


def _base64url(value: bytes) -> bytes:
    return urlsafe_b64encode(value).rstrip(b"=")


def _bound_claims(bind: RequestBinding) -> dict[str, Any]:
    target = identity.target_sha256(bind.path, bind.query)
    return {"rid": bind.request_id, "req": {"m": bind.method, "t": target, "b": bind.body_sha256}}
