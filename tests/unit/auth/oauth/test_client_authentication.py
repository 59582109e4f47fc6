"""How clients prove who they are: what passes, and each way that must not."""

import base64
import hmac
from typing import Any

import msgspec
import pytest

from auth import jose
from auth.oauth import assertions
from keys.client_records import Authentication, Certificate
from keys.kinds import Offer
from tests.support import jws, oauth_clients, oauth_desk
from tests.support.oauth_clients import AUTHOR, MadeClient
from tests.support.oauth_desk import ISSUER, Desk

UNKNOWN = "prc_paper_0000000000000000000000000000"
_ONE_SAID = "The client is unknown, or did not prove that it is the one it says."


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


async def _refused_assertion(desk: Desk, client: MadeClient, assertion: str) -> Any:  # noqa: ANN401  an OAuthError
    refused = await desk.refused(desk.request(desk.form(client, assertion), dpop=(desk.proof(),)))
    assert (refused.error, refused.status) == ("invalid_client", 401)
    return refused


async def test_3_an_assertion_passes_once(desk: Desk) -> None:
    """Its `jti` is single-use: the same assertion again is refused, with a fresh proof too."""
    client = await desk.made()
    form = desk.form(client)
    await desk.ask(desk.request(form, dpop=(desk.proof(),)))
    refused = await desk.refused(desk.request(form, dpop=(desk.proof(),)))
    assert (refused.error, refused.reason) == ("invalid_client", "assertion_replayed")


async def test_3_the_jti_is_single_use_whatever_else_the_assertion_says(desk: Desk) -> None:
    """A `jti` that was used does not pass in another assertion of the same client, and does in another client's."""
    client, other = await desk.made(), await desk.made(number=2)
    await desk.ask(desk.good(client, client_assertion=desk.assertion(client, jti="one")))
    await _refused_assertion(desk, client, desk.assertion(client, jti="one", exp=desk.now_s() + 30))
    await desk.ask(desk.good(other, client_assertion=desk.assertion(other, jti="one")))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": [ISSUER]}, "assertion_audience"),
        ({"aud": ISSUER + "/"}, "assertion_audience"),
        ({"aud": ISSUER + "/oauth/token"}, "assertion_audience"),
        ({"aud": None}, "assertion_audience"),
        ({"exp": None}, "assertion_without_expiry"),
        ({"exp": "soon"}, "assertion_without_expiry"),
        ({"exp": True}, "assertion_without_expiry"),
        ({"exp": 1}, "assertion_expired"),
        ({"exp": 1e306}, "assertion_without_expiry"),
        ({"exp": -1e308}, "assertion_without_expiry"),
        ({"jti": None}, "assertion_without_id"),
        ({"jti": ""}, "assertion_without_id"),
        ({"jti": 7}, "assertion_without_id"),
        ({"jti": "x" * 257}, "assertion_without_id"),
        ({"iat": "now"}, "assertion_from_the_future"),
        ({"iat": 1e306}, "assertion_from_the_future"),
        ({"nbf": -1e306}, "assertion_from_the_future"),
        ({"iss": None}, "assertion_names_no_client"),
        ({"sub": None}, "assertion_names_no_client"),
        ({"sub": "prc_paper_somebody"}, "assertion_names_no_client"),
    ],
)
async def test_3_an_assertion_says_what_it_must(desk: Desk, claims: dict[str, Any], reason: str) -> None:
    """`iss` = `sub` = the client, `exp`, `jti`, and the issuer as `aud`, as one string."""
    client = await desk.made()
    refused = await _refused_assertion(desk, client, desk.assertion(client, **claims))
    assert refused.reason == reason


async def test_3_an_assertions_expiry_is_near(desk: Desk) -> None:
    """A minute by a clock that is ten seconds ahead, and no more; the last second of it is over when it comes."""
    client, now = await desk.made(), desk.now_s()
    await desk.ask(desk.good(client, client_assertion=desk.assertion(client, exp=now + 70)))
    faults = {
        now + 71: "assertion_too_long",
        now + 3600: "assertion_too_long",
        now: "assertion_expired",
    }
    for expires, reason in faults.items():
        refused = await _refused_assertion(desk, client, desk.assertion(client, exp=expires))
        assert refused.reason == reason


@pytest.mark.parametrize("name", ["iat", "nbf"])
async def test_5_ten_seconds_ahead_pass_and_more_than_sixty_fail(desk: Desk, name: str) -> None:
    """A client's clock may be a little ahead of ours."""
    client, now = await desk.made(), desk.now_s()

    def said(at: int) -> dict[str, Any]:
        return {name: at}

    for ahead in (0, 10):
        await desk.ask(desk.good(client, client_assertion=desk.assertion(client, **said(now + ahead))))
    for ahead in (11, 61, 3600):
        refused = await _refused_assertion(desk, client, desk.assertion(client, **said(now + ahead)))
        assert refused.reason == "assertion_from_the_future"


async def test_3_an_assertion_may_leave_out_when_it_was_made(desk: Desk) -> None:
    """`iat` is not required; `exp` bounds it."""
    client = await desk.made()
    await desk.ask(desk.good(client, client_assertion=desk.assertion(client, iat=None)))


async def test_4_rs256_hs256_and_none_are_refused(desk: Desk) -> None:
    """Also where the signature would verify: the key is registered for PS256."""
    client = await desk.made(algorithm="PS256")
    for algorithm in ("RS256", "HS256", "none", "RS512", "ES384"):
        refused = await _refused_assertion(desk, client, desk.assertion(client, header={"alg": algorithm}))
        assert refused.reason == "assertion_algorithm"


async def test_4_a_public_key_is_no_hmac_key(desk: Desk) -> None:
    """The classic: HS256 keyed by the public key's own bytes."""
    client = await desk.made()
    assert client.private_key is not None
    public = oauth_clients.encoded_jwk(client.private_key, kid="one")
    await _refused_assertion(desk, client, desk.assertion(client, key=public, header={"alg": "HS256"}))


async def test_4_the_registered_key_fixes_the_algorithm(desk: Desk) -> None:
    """A header that names another one of the profile verifies nothing."""
    client = await desk.made()
    for algorithm in ("EdDSA", "PS256"):
        refused = await _refused_assertion(desk, client, desk.assertion(client, header={"alg": algorithm}))
        assert refused.reason == "bad_assertion"


async def test_4_both_spellings_of_eddsa_are_one(desk: Desk) -> None:
    """`EdDSA` and `Ed25519`."""
    client = await desk.made(algorithm="EdDSA")
    for name in ("EdDSA", "Ed25519"):
        await desk.ask(desk.good(client, client_assertion=desk.assertion(client, header={"alg": name})))


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": jws.public_jwk(jws.P256)},
        {"jku": "https://elsewhere.test/jwks"},
        {"x5u": "https://elsewhere.test/x5u"},
        {"crit": ["exp"]},
        {"b64": False},
        {"kid": "k" * 10_000},
        {"typ": "dpop+jwt"},
        {"typ": "at+jwt"},
        {"typ": "logout+jwt"},
        {"kid": ["one"]},
    ],
)
async def test_a_header_that_brings_a_key_or_another_type_is_refused(
    desk: Desk, header: dict[str, Any]
) -> None:
    """`jwk`, `jku`, `x5u`, `crit`, an oversized `kid`, and statements of another kind."""
    client = await desk.made()
    await _refused_assertion(desk, client, desk.assertion(client, header=header))


@pytest.mark.parametrize("kid", ["../../etc/passwd", "' OR 1=1 --", "two", ""])
async def test_a_key_id_chooses_among_the_clients_keys_and_nothing_else(desk: Desk, kid: str) -> None:
    """A path, SQL or a key id that it does not have: the registered key verifies, or nothing does."""
    client = await desk.made()
    await desk.ask(desk.good(client, client_assertion=desk.assertion(client, header={"kid": kid})))
    await _refused_assertion(desk, client, desk.assertion(client, header={"kid": kid}, key=jws.OTHER_P256))


async def test_an_access_token_is_no_client_assertion(desk: Desk) -> None:
    """Another kind of statement of ours, and signed by us, proves no client."""
    client = await desk.made()
    answer = await desk.ask(desk.good(client))
    await _refused_assertion(desk, client, answer["access_token"])


async def test_another_clients_assertion_proves_nothing(desk: Desk) -> None:
    """Signed by a registered key, and not by this client's."""
    client, other = await desk.made(), await desk.made(number=2)
    await _refused_assertion(desk, client, desk.assertion(client, key=other.private_key))
    mixed = desk.form(client) | {"client_id": other.id}
    assert (await desk.refused(desk.request(mixed))).reason == "two_clients"


async def test_both_live_keys_verify_while_a_client_rotates(desk: Desk) -> None:
    """With and without naming which; a key that is gone verifies no more."""
    client = await desk.made(kid="old")
    new = oauth_clients.private_key("ES256", 2)
    offer = Offer(public_key=oauth_clients.encoded_jwk(new, kid="new"))
    await desk.room.rotations.rotate(client.id, offer=offer, author=AUTHOR)
    await desk.clients.refresh()
    for key, kid in ((client.private_key, "old"), (new, "new"), (client.private_key, None), (new, None)):
        assertion = desk.assertion(client, key=key, header={"kid": kid})
        await desk.ask(desk.good(client, client_assertion=assertion))


async def test_unknown_client_and_wrong_proof_hear_the_same(desk: Desk) -> None:
    """The same code, status, text and headers, for every way to prove it."""
    client = await desk.made()
    secret = await desk.made(oauth_clients.made_with_secret)
    wrong = basic(secret.id, "pcs_paper_wrong")
    asked = [
        desk.request(desk.form(client, desk.assertion(client, key=jws.OTHER_P256))),
        desk.request(desk.form(client, desk.assertion(client, iss=UNKNOWN, sub=UNKNOWN))),
    ]
    told = [await desk.refused(request) for request in asked]
    with_secret = {"grant_type": "client_credentials"}
    asked = [
        desk.request(with_secret, authorization=wrong),
        desk.request(with_secret, authorization=basic(UNKNOWN, "pcs_paper_wrong")),
        desk.request(with_secret, authorization=basic(client.id, "pcs_paper_wrong")),
    ]
    challenged = [await desk.refused(request) for request in asked]
    for group in (told, challenged):
        assert len({(each.error, each.status, each.description, each.headers) for each in group}) == 1
        assert group[0].description == _ONE_SAID
    assert challenged[0].headers[0][0] == "WWW-Authenticate"


@pytest.mark.parametrize(
    ("algorithm", "signature_bytes"), [("ES256", 64), ("EdDSA", 64), ("PS256", 256), ("PS256", 384)]
)
@pytest.mark.parametrize("registered", ["ES256", "PS256"])
async def test_unknown_client_and_wrong_proof_take_the_same_verifications(
    desk: Desk, registered: str, algorithm: str, signature_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many, of the same algorithm and by keys of the same size, whatever key the client has registered."""
    client = await desk.made(algorithm=registered)
    verified: list[tuple[str, int]] = []
    verify = jose.verify

    def counted(read: jose.Jws, key: jose.VerificationKey) -> None:
        verified.append((key.algorithm, getattr(key.public_key, "key_size", 0)))
        verify(read, key)

    monkeypatch.setattr(jose, "verify", counted)
    taken = []
    for client_id in (client.id, UNKNOWN):
        verified.clear()
        forged = desk.assertion(client, header={"alg": algorithm}, iss=client_id, sub=client_id)
        forged = forged.rpartition(".")[0] + "." + jose.encode(b"\x01" * signature_bytes)
        await desk.refused(desk.request(desk.form(client, forged)))
        taken.append(list(verified))
    assert taken[0] == taken[1]
    assert len(taken[0]) == assertions.TRIES


async def test_unknown_client_and_wrong_secret_take_the_same_comparisons(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two digests each: those that the client has, and for the rest one that nobody has."""
    client = await desk.made(oauth_clients.made_with_secret)
    compared: list[int] = []
    compare = hmac.compare_digest

    def counted(one: bytes, other: bytes) -> bool:
        compared.append(len(other))
        return compare(one, other)

    monkeypatch.setattr("auth.oauth.basic.compare_digest", counted)
    for client_id in (client.id, UNKNOWN):
        compared.clear()
        form = {"grant_type": "client_credentials"}
        await desk.refused(desk.request(form, authorization=basic(client_id, "wrong")))
        assert compared == [32, 32]


async def test_a_client_of_the_legacy_tier_proves_itself_by_its_secret(desk: Desk) -> None:
    """In the header, form-encoded; what is bound stays bound."""
    client = await desk.made(oauth_clients.made_with_secret)
    assert client.secret is not None
    request = desk.request(
        {"grant_type": "client_credentials"},
        authorization=basic(client.id, client.secret.reveal()),
        dpop=(desk.proof(),),
    )
    assert (await desk.ask(request))["scope"] == "orders:read"


async def test_a_client_with_keys_has_no_secret(desk: Desk) -> None:
    """The way that stands with the client is the only one: none of the others proves it."""
    client = await desk.made()
    secret = await desk.made(oauth_clients.made_with_secret)
    assert secret.secret is not None
    wrong_way = desk.request(
        {"grant_type": "client_credentials"}, authorization=basic(client.id, secret.secret.reveal())
    )
    assert (await desk.refused(wrong_way)).reason == "bad_secret"
    by_name = desk.request(
        {"grant_type": "client_credentials", "client_id": client.id},
        certificate=oauth_desk.certificate(oauth_clients.THUMBPRINT),
    )
    assert (await desk.refused(by_name)).reason == "certificate:not-by-certificate"
    by_key = desk.form(client, desk.assertion(client, iss=secret.id, sub=secret.id))
    assert (await desk.refused(desk.request(by_key))).reason == "bad_assertion"


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer something",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic " + base64.b64encode(b"nothing").decode(),
        "Basic " + base64.b64encode(b":secret").decode(),
        "Basic " + base64.b64encode(b"client:").decode(),
        "Basic " + base64.b64encode(b"cl\xffient:secret").decode(),
        "Basic " + base64.b64encode(b"client:%ff").decode(),
        "Basic YWI6Yw",
        "Basic YWI6Yx==",
        "Basic " + "A" * 2_000,
    ],
)
async def test_another_scheme_or_a_broken_one_is_refused(desk: Desk, authorization: str) -> None:
    """Without an error of ours, and with the challenge that the header calls for."""
    refused = await desk.refused(
        desk.request({"grant_type": "client_credentials"}, authorization=authorization)
    )
    assert (refused.error, refused.status) == ("invalid_client", 401)
    assert refused.headers[0][0] == "WWW-Authenticate"
    assert refused.reason in {"other_scheme", "malformed_basic"}


async def test_two_ways_at_once_are_refused(desk: Desk) -> None:
    """RFC 6749, 2.3: one method a request; and no secret in the body at all."""
    client = await desk.made()
    secret = await desk.made(oauth_clients.made_with_secret)
    assert secret.secret is not None
    authorization = basic(secret.id, secret.secret.reveal())
    both = desk.request(desk.form(client), authorization=authorization)
    in_body = desk.request(
        {"grant_type": "client_credentials", "client_id": secret.id, "client_secret": secret.secret.reveal()}
    )
    with_both = desk.request({**desk.form(client), "client_secret": "x"})
    for request in (both, in_body, with_both):
        assert (await desk.refused(request)).error == "invalid_request"


async def test_an_assertion_of_another_kind_is_refused(desk: Desk) -> None:
    """SAML, or none said."""
    client = await desk.made()
    for kind in ("urn:ietf:params:oauth:client-assertion-type:saml2-bearer", "jwt-bearer"):
        form = desk.form(client) | {"client_assertion_type": kind}
        assert (await desk.refused(desk.request(form))).error == "invalid_request"
    alone = {"grant_type": "client_credentials", "client_assertion_type": assertions.ASSERTION_TYPE}
    assert (await desk.refused(desk.request(alone))).reason == "malformed_assertion"


async def test_a_client_proves_itself_by_its_certificate(desk: Desk) -> None:
    """RFC 8705, by thumbprint: that one alone, and not without."""
    registered = Certificate(thumbprints=(oauth_clients.THUMBPRINT,))
    client = await desk.made(oauth_clients.made_by_certificate, certificate=registered)
    form = {"grant_type": "client_credentials", "client_id": client.id}
    shown = oauth_desk.certificate(oauth_clients.THUMBPRINT)
    assert (await desk.ask(desk.request(form, certificate=shown)))["token_type"] == "Bearer"
    other = desk.request(form, certificate=oauth_desk.certificate("A" * 43))
    for request in (other, desk.request(form)):
        refused = await desk.refused(request)
        assert (refused.error, refused.description) == ("invalid_client", _ONE_SAID)


async def test_nobody_passes_by_a_name_alone(desk: Desk) -> None:
    """An unknown client, and none named."""
    unknown = {"grant_type": "client_credentials", "client_id": UNKNOWN}
    assert (await desk.refused(desk.request(unknown))).reason == "unknown_client"
    assert (await desk.refused(desk.request({"grant_type": "client_credentials"}))).reason == "no_client"


@pytest.mark.parametrize("way", ["client_secret_basic", "tls_client_auth", "none"])
async def test_a_key_that_lies_with_a_client_of_another_way_proves_nothing(
    desk: Desk, way: Authentication
) -> None:
    """What is stored beside the way that stands there does not open another one."""
    client = await desk.made()
    served = desk.clients.find(client.id)
    assert served is not None
    desk.clients._shelf.clients[client.id] = msgspec.structs.replace(served, authentication=way)
    assert (await desk.refused(desk.good(client))).reason == "bad_assertion"
