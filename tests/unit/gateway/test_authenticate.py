"""Who is asking: with a body and without, and at what time a key is asked for its state."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from auth import credential, freshness, signature
from auth.bearer import VerifiedToken
from auth.oauth.token_claims import InvalidToken
from gateway import bodies, routes
from gateway.arrival import Header
from gateway.problems import Refusal
from gateway.stages.authenticate import EMPTY_SHA256, Authenticate, Authenticated
from gateway.stages.match_route import Routed
from keys.served import ServedKey
from tests.support import served_keys
from tests.support.access_tokens import CLIENT_ID, ISSUER, World
from tests.support.stage_values import PUBLIC, READ, admitted, changed

NOW = 1_763_596_800_123
NONCE = b"k3J9s0Qe7Lx2Vb5N"
BODY = b'{"side":"buy"}'
WITH_BODY = msgspec.structs.replace(READ, max_body_bytes=len(BODY))
PUBLIC_WITH_BODY = msgspec.structs.replace(PUBLIC, max_body_bytes=len(BODY))


def signed(body: bytes = b"", at_ms: int = NOW) -> list[Header]:
    key_id, stamp, digest = served_keys.HMAC_KEY_ID.encode(), b"%d" % at_ms, sha256(body).hexdigest().encode()
    message = b"\n".join((b"PORTREEVE1", stamp, NONCE, key_id, b"GET", b"/a", b"", digest))
    return [
        (b"portreeve-key", key_id),
        (b"portreeve-timestamp", stamp),
        (b"portreeve-nonce", NONCE),
        (b"portreeve-signature", hmac.digest(served_keys.SECRET, message, "sha256").hex().encode()),
    ]


class Stage:
    """The stage with one key, a clock to set, and a body that says when it was read."""

    def __init__(self, key: ServedKey | None = None, **rules: object) -> None:
        key = key or served_keys.make_hmac_key()
        authenticator = signature.SignatureAuthenticator({key.id: key}.get, entropy=bytes)
        self.now_ms = NOW
        self.read = 0
        self.world = World(**rules)
        self.stage = Authenticate(
            authenticator, self.world.authenticator, freshness.FreshnessRules(), lambda: self.now_ms
        )

    def routed(
        self,
        *sent: Header,
        route: routes.Route = WITH_BODY,
        body: bytes = b"",
        after: Callable[[], object] = int,
    ) -> Routed:
        async def receive() -> dict[str, Any]:
            self.read += 1
            after()
            return {"type": "http.request", "body": body}

        request = admitted(*sent)
        arrival = changed(request.arrival, at_ms=NOW, receive=receive)
        return Routed(msgspec.structs.replace(request, arrival=arrival), route)

    async def ask(self, routed: Routed) -> Authenticated:
        with bodies.Budget(1_000, 1_000).hold(routed.admitted.source) as hold:
            return await self.stage.with_body(routed, hold)


async def test_without_a_body_nothing_is_read_and_nothing_waited_for() -> None:
    """A plain call does."""
    stage = Stage()
    authenticated = stage.stage.without_body(stage.routed(*signed()))
    assert authenticated.caller is not None
    assert authenticated.caller.key.id == served_keys.HMAC_KEY_ID
    assert (authenticated.nonce, authenticated.body, authenticated.body_sha256) == (NONCE, b"", EMPTY_SHA256)
    assert authenticated.routed.admitted.arrival.trace.partner == "acme"
    assert stage.read == 0


@pytest.mark.parametrize(
    "framing", [(b"content-length", b"%d" % len(BODY)), (b"transfer-encoding", b"chunked")]
)
async def test_a_body_is_read_and_was_signed(framing: Header) -> None:
    """However it is framed; the signature of a request without one does not fit it."""
    stage = Stage()
    authenticated = await stage.ask(stage.routed(*signed(BODY), framing, body=BODY))
    assert (authenticated.body, authenticated.body_sha256) == (BODY, sha256(BODY).hexdigest().encode())
    with pytest.raises(signature.BadSignature):
        await stage.ask(stage.routed(*signed(), framing, body=BODY))


async def test_what_costs_nothing_is_refused_before_a_byte_of_the_body_is_read() -> None:
    """A body that is declared too large, a header outside its grammar, a time that has passed."""
    stage, framing = Stage(), (b"content-length", b"%d" % len(BODY))
    with pytest.raises(Refusal, match="body_too_large"):
        await stage.ask(stage.routed(*signed(BODY), framing, route=READ, body=BODY))
    with pytest.raises(credential.MissingCredentials):
        await stage.ask(stage.routed(framing, body=BODY))
    with pytest.raises(freshness.StaleTimestamp):
        await stage.ask(stage.routed(*signed(BODY, NOW - 30_001), framing, body=BODY))
    assert stage.read == 0


async def test_a_key_may_expire_while_its_body_takes_its_time() -> None:
    """It is asked for its state when all of the request is there."""
    stage = Stage(served_keys.make_hmac_key(expires_at=NOW + 1))
    assert stage.stage.without_body(stage.routed(*signed())).caller is not None

    def expire() -> None:
        stage.now_ms = NOW + 1

    sent = (*signed(BODY), (b"content-length", b"%d" % len(BODY)))
    with pytest.raises(signature.KeyExpired):
        await stage.ask(stage.routed(*sent, body=BODY, after=expire))


def test_a_key_that_has_expired_is_refused_without_a_body_too() -> None:
    """The time at which the head came decides: nothing was waited for since."""
    stage = Stage(served_keys.make_hmac_key(expires_at=NOW))
    with pytest.raises(signature.KeyExpired):
        stage.stage.without_body(stage.routed(*signed()))


async def test_on_a_public_route_nobody_asks() -> None:
    """No credential is looked at and no body is read here; one that is declared too large is refused all the same."""
    stage, framing = Stage(), (b"content-length", b"%d" % len(BODY))
    assert stage.stage.without_body(stage.routed(*signed()[:1], route=PUBLIC)).caller is None
    assert (await stage.ask(stage.routed(framing, route=PUBLIC_WITH_BODY, body=BODY))).caller is None
    assert stage.read == 0
    with pytest.raises(Refusal, match="body_too_large"):
        await stage.ask(stage.routed(framing, route=PUBLIC, body=BODY))


def bearing(stage: Stage, method: str = "GET") -> list[Header]:
    """A token that is good at `NOW`, with its proof."""
    token = stage.world.token(iat=NOW // 1000, exp=NOW // 1000 + 300)
    shown = stage.world.present(token, htm=method, iat=NOW // 1000)
    return [(b"authorization", b"DPoP " + shown.access_token), (b"dpop", shown.proof or b"")]


async def test_a_proof_for_another_host_opens_no_route_of_this_one() -> None:
    """The route says which, and no header does."""
    stage = Stage(origins=(ISSUER, "https://desk.example"))
    here, there = (
        msgspec.structs.replace(WITH_BODY, host=host) for host in ("gateway.example", "desk.example")
    )
    assert stage.stage.without_body(stage.routed(*bearing(stage), route=here)).caller is not None
    with pytest.raises(InvalidToken, match="proof_wrong_uri"):
        stage.stage.without_body(stage.routed(*bearing(stage), route=there))


async def test_a_token_authenticates_in_place_of_a_signature() -> None:
    """What is used once is its proof; whose it is stands in the trace."""
    stage = Stage()
    authenticated = stage.stage.without_body(stage.routed(*bearing(stage)))
    assert isinstance(authenticated.caller, VerifiedToken)
    assert authenticated.caller.key.id == CLIENT_ID
    assert authenticated.nonce == authenticated.caller.nonce
    trace = authenticated.routed.admitted.arrival.trace
    assert (trace.credential, trace.partner) == (CLIENT_ID, "acme")


async def test_a_token_is_verified_before_a_byte_of_the_body_is_read() -> None:
    """A body is read for those who are let in; its hash is there for the upstream."""
    stage, framing = Stage(), (b"content-length", b"%d" % len(BODY))
    authenticated = await stage.ask(stage.routed(*bearing(stage), framing, body=BODY))
    assert (authenticated.body, authenticated.body_sha256) == (BODY, sha256(BODY).hexdigest().encode())
    stage.read = 0
    with pytest.raises(InvalidToken, match="malformed"):
        await stage.ask(stage.routed((b"authorization", b"Bearer x"), framing, body=BODY))
    assert stage.read == 0


async def test_a_token_may_be_revoked_while_its_body_takes_its_time() -> None:
    """It is asked for once more when all of the request is there."""
    stage, framing = Stage(), (b"content-length", b"%d" % len(BODY))

    def revoke() -> None:
        stage.world.ended = {"token-1"}

    with pytest.raises(InvalidToken, match="revoked"):
        await stage.ask(stage.routed(*bearing(stage), framing, body=BODY, after=revoke))


@pytest.mark.parametrize("spoilt", [False, True])
async def test_a_request_has_one_way_to_say_who_asks(spoilt: bool) -> None:
    """Signed and with a token it is refused, be either of them right or wrong."""
    stage = Stage()
    token = (b"authorization", b"Bearer x") if spoilt else bearing(stage)[0]
    for some in (signed(), signed()[:1]):
        with pytest.raises(Refusal, match="malformed_credentials"):
            stage.stage.without_body(stage.routed(*some, token, bearing(stage)[1]))


async def test_another_scheme_is_no_token() -> None:
    """What a client says in it is not for the gateway: signed, it passes, and unsigned it has no credentials."""
    stage = Stage()
    basic = (b"authorization", b"Basic dXNlcjpwYXNz")
    assert stage.stage.without_body(stage.routed(*signed(), basic)).caller is not None
    with pytest.raises(credential.MissingCredentials):
        stage.stage.without_body(stage.routed(basic))
    with pytest.raises(credential.MissingCredentials):
        stage.stage.without_body(stage.routed(bearing(stage)[1]))


async def test_the_control_surface_takes_no_tokens() -> None:
    """However good they are: they never carry its permissions, and it says so."""
    stage = Stage()
    control = msgspec.structs.replace(READ, is_local=True, is_control=True)
    with pytest.raises(Refusal, match="missing_credentials") as caught:
        stage.stage.without_body(stage.routed(*bearing(stage), route=control))
    assert "no tokens" in caught.value.problem.detail


async def test_a_public_route_asks_nobody() -> None:
    """Nor does it look at what came."""
    stage = Stage()
    authenticated = stage.stage.without_body(
        stage.routed((b"authorization", b"Bearer x"), route=PUBLIC_WITH_BODY)
    )
    assert authenticated.caller is None
