"""Hazards, "Signatures and replay": nothing about a signed request may be changed, left out or sent twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import rawhttp, signing
from tests.support.gateway import Deployment
from tests.support.signing import Signer, now_ms, plain_request, replace

TARGET = b"/paper/v1/orders?symbol=BTC-EUR&limit=50"
FIELDS = ("Portreeve-Key", "Portreeve-Timestamp", "Portreeve-Nonce", "Portreeve-Signature")
VECTORS = Path(__file__).parents[1] / "vectors" / "signing.json"


@pytest.fixture(params=["hmac-sha256", "ed25519"])
def signer(request: pytest.FixtureRequest, deployment: Deployment) -> Signer:
    return deployment.key(algorithm=request.param)


def send(
    deployment: Deployment, headers: signing.Headers, target: bytes = TARGET, body: bytes = b""
) -> rawhttp.Answer:
    method = "POST" if body else "GET"
    return deployment.node.ask(plain_request(method, target, headers, body))


def refused(answer: rawhttp.Answer, *codes: str) -> None:
    assert answer.code in codes, str(answer)
    assert answer.status == 401


def test_the_signer_of_these_tests_agrees_with_the_published_vectors() -> None:
    """What attacks are built from signs as the contract's vectors say."""
    published = json.loads(VECTORS.read_text())
    for vector in published["vectors"]:
        secret = published["hmac_secret" if vector["algorithm"] == "hmac-sha256" else "ed25519_seed_hex"]
        signer = Signer(vector["key_id"], vector["algorithm"], secret)
        headers = signer.headers(
            vector["method"],
            vector["target"].encode(),
            bytes.fromhex(vector["body_hex"]),
            timestamp=vector["timestamp"],
            nonce=vector["nonce"],
        )
        assert dict(headers)["Portreeve-Signature"] == vector["signature"], vector["name"]


def test_a_rightly_signed_request_passes(deployment: Deployment, signer: Signer) -> None:
    """Without this, every refusal below would prove nothing."""
    assert send(deployment, signer.headers("GET", TARGET)).status == 200
    body = b'{"symbol":"BTC-EUR"}'
    assert send(deployment, signer.headers("POST", TARGET, body), TARGET, body).status == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Portreeve-Timestamp", lambda: str(now_ms() + 1)),
        ("Portreeve-Timestamp", lambda: f"{now_ms()}/5000"),
        ("Portreeve-Nonce", signing.fresh_nonce),
    ],
    ids=["timestamp", "window", "nonce"],
)
def test_swapping_one_signed_field_is_refused(
    deployment: Deployment, signer: Signer, field: str, value: object
) -> None:
    """A captured signature carries neither a new timestamp, nor another window, nor a new nonce."""
    assert callable(value)
    headers = replace(signer.headers("GET", TARGET, timestamp=str(now_ms() - 500)), field, value())
    refused(send(deployment, headers), "bad_signature")


def test_swapping_the_key_is_refused(deployment: Deployment, signer: Signer) -> None:
    """A signature of one key is none of another, of the same algorithm or not."""
    for algorithm in ("hmac-sha256", "ed25519"):
        other = deployment.key(algorithm=algorithm, role="viewer")
        headers = replace(signer.headers("GET", TARGET), "Portreeve-Key", other.key_id)
        refused(send(deployment, headers), "bad_signature")


@pytest.mark.parametrize(
    "sent",
    [
        b"/paper/v1/orders?symbol=BTC-EUS&limit=50",
        b"/paper/v1/orders?limit=50&symbol=BTC-EUR",
        b"/paper/v1/orders?symbol=BTC-EUR&limit=50&",
        b"/paper/v1/orders?symbol=BTC%2DEUR&limit=50",
        b"/paper/v1/orders",
        b"/paper/v1/orders/1?symbol=BTC-EUR&limit=50",
    ],
)
def test_changing_the_target_is_refused(deployment: Deployment, signer: Signer, sent: bytes) -> None:
    """Path and query are signed byte for byte."""
    refused(send(deployment, signer.headers("GET", TARGET), sent), "bad_signature")


def test_moving_bytes_between_path_and_query_is_refused(deployment: Deployment, signer: Signer) -> None:
    """The cut between path and query is signed as well."""
    for signed, sent in [
        (b"/paper/v1/echo?a", b"/paper/v1/echo/a"),
        (b"/paper/v1/echo/a", b"/paper/v1/echo?a"),
    ]:
        refused(send(deployment, signer.headers("GET", signed), sent), "bad_signature")


def test_changing_the_method_is_refused(deployment: Deployment, signer: Signer) -> None:
    """What was signed as GET is no DELETE."""
    target = b"/paper/v1/orders/1"
    wire = plain_request("DELETE", target, signer.headers("GET", target))
    refused(deployment.node.ask(wire), "bad_signature")


@pytest.mark.parametrize(
    ("signed", "sent"),
    [(b'{"qty":1}', b'{"qty":9}'), (b"", b'{"qty":9}'), (b'{"qty":1}', b'{"qty":1} ')],
    ids=["changed", "added", "longer"],
)
def test_changing_the_body_is_refused(
    deployment: Deployment, signer: Signer, signed: bytes, sent: bytes
) -> None:
    """The digest of the body is always signed, that of an empty one too."""
    target = b"/paper/v1/orders"
    refused(send(deployment, signer.headers("POST", target, signed), target, sent), "bad_signature")


def test_dropping_the_body_is_refused(deployment: Deployment, signer: Signer) -> None:
    """A signed body cannot be left out."""
    wire = plain_request("POST", TARGET, signer.headers("POST", TARGET, b"{}"))
    refused(deployment.node.ask(wire), "bad_signature")


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_is_mandatory(deployment: Deployment, signer: Signer, field: str) -> None:
    """One of the four left out, or empty, or of blanks: refused, and none of it means absent."""
    for value in (None, "", " "):
        refused(
            send(deployment, replace(signer.headers("GET", TARGET), field, value)), "malformed_credentials"
        )


def test_no_field_at_all_is_missing_credentials(deployment: Deployment) -> None:
    """Empty and absent are different things."""
    refused(send(deployment, []), "missing_credentials")
    refused(send(deployment, [(field, "") for field in FIELDS]), "malformed_credentials")


MALFORMED = [
    ("Portreeve-Signature", str.upper),
    ("Portreeve-Signature", lambda value: value[:-1]),
    ("Portreeve-Signature", lambda value: value + "0"),
    ("Portreeve-Signature", lambda value: value[:-2] + "g0"),
    ("Portreeve-Signature", lambda value: "0x" + value[2:]),
    ("Portreeve-Signature", lambda value: value + "=="),
    ("Portreeve-Signature", lambda value: value[:32] + " " + value[33:]),
    ("Portreeve-Nonce", lambda _: "a" * 15),
    ("Portreeve-Nonce", lambda _: "a" * 65),
    ("Portreeve-Nonce", lambda _: "abcdefghijklmnop="),
    ("Portreeve-Nonce", lambda _: "abcdefgh.ijklmnopq"),
    ("Portreeve-Nonce", lambda _: "abcdefgh ijklmnopq"),
    ("Portreeve-Nonce", lambda _: "abcdefghijklmn\xe9pqrs"),
    ("Portreeve-Nonce", lambda _: "abcdefghijklmnop:x"),
    ("Portreeve-Timestamp", lambda value: "+" + value),
    ("Portreeve-Timestamp", lambda value: "-" + value),
    ("Portreeve-Timestamp", lambda value: "0" + value),
    ("Portreeve-Timestamp", lambda value: value + ".0"),
    ("Portreeve-Timestamp", lambda value: value[:3] + "_" + value[3:]),
    ("Portreeve-Timestamp", lambda value: value + "/"),
    ("Portreeve-Timestamp", lambda value: value + "/0"),
    ("Portreeve-Timestamp", lambda value: value + "/-1"),
    ("Portreeve-Timestamp", lambda value: value + "/60001"),
    ("Portreeve-Timestamp", lambda value: value + "/05000"),
    ("Portreeve-Timestamp", lambda value: value + "/5000/5000"),
    ("Portreeve-Timestamp", lambda value: value + " /5000"),
    ("Portreeve-Timestamp", lambda _: "9" * 400),
    ("Portreeve-Timestamp", lambda _: "1e12"),
    ("Portreeve-Timestamp", lambda _: "\xb2\xb3\xb9\xb2\xb3\xb9\xb2\xb3\xb9\xb2\xb3\xb9\xb2"),
    ("Portreeve-Key", str.lower),
    ("Portreeve-Key", lambda value: value[:-1] + ("a" if value[-1] != "a" else "b")),
    ("Portreeve-Key", lambda value: value[:15] + ("a" if value[15] != "a" else "b") + value[16:]),
    ("Portreeve-Key", lambda value: value + "0"),
    ("Portreeve-Key", lambda value: value[:-1]),
    ("Portreeve-Key", lambda value: value.replace("prk_", "prs_")),
    ("Portreeve-Key", lambda value: value.replace("_paper_", "_live_")),
    ("Portreeve-Key", lambda value: value + ", " + value),
    ("Portreeve-Key", lambda _: "k" * 10_000),
]


@pytest.mark.parametrize(("field", "spoil"), MALFORMED)
def test_the_grammar_of_every_field_is_strict(
    deployment: Deployment, signer: Signer, field: str, spoil: object
) -> None:
    """Another spelling of a good value is refused, also when the signature covers that spelling."""
    assert callable(spoil)
    given = dict(signer.headers("GET", TARGET))
    given[field] = spoil(given[field])
    if field != "Portreeve-Signature":
        signed_as = Signer(given["Portreeve-Key"], signer.algorithm, signer.secret)
        stamp, nonce = given["Portreeve-Timestamp"], given["Portreeve-Nonce"]
        given = dict(signed_as.headers("GET", TARGET, timestamp=stamp, nonce=nonce))
    refused(send(deployment, list(given.items())), "malformed_credentials")


def test_nonces_at_both_ends_of_the_grammar_pass(deployment: Deployment, signer: Signer) -> None:
    """Sixteen and sixty-four characters of the whole alphabet are nonces."""
    tail = signing.fresh_nonce()
    for nonce in (tail[:14] + "_-", (tail * 3)[:64]):
        assert send(deployment, signer.headers("GET", TARGET, nonce=nonce)).status == 200


def test_nonces_come_in_any_order(deployment: Deployment, signer: Signer) -> None:
    """Several processes of one partner never collide over an order of nonces or timestamps."""
    tail = signing.fresh_nonce()
    stamps = [now_ms() - offset for offset in (0, 900, 100, 5000, 400)]
    for number, stamp in zip((5, 1, 9, 0, 3), stamps, strict=True):
        headers = signer.headers("GET", TARGET, nonce=f"{number}{tail}", timestamp=str(stamp))
        assert send(deployment, headers).status == 200


def test_a_second_use_of_a_nonce_is_refused(deployment: Deployment, signer: Signer) -> None:
    """The same bytes twice pass once, on whichever node, and so does the nonce under a new signature."""
    nonce = signing.fresh_nonce()
    wire = signer.request("GET", TARGET, nonce=nonce)
    assert deployment.node.ask(wire).status == 200
    for node in deployment.nodes:
        refused(node.ask(wire), "replayed_request")
        refused(node.ask(signer.request("GET", b"/paper/v1/orders", nonce=nonce)), "replayed_request")


def test_a_nonce_is_per_key(deployment: Deployment, signer: Signer) -> None:
    """One key's nonces say nothing about another's."""
    nonce = signing.fresh_nonce()
    other = deployment.key(role="viewer")
    assert send(deployment, signer.headers("GET", TARGET, nonce=nonce)).status == 200
    assert send(deployment, other.headers("GET", TARGET, nonce=nonce)).status == 200


def test_a_nonce_is_recorded_only_behind_a_right_signature(deployment: Deployment, signer: Signer) -> None:
    """A stranger who saw a nonce cannot burn it."""
    nonce = signing.fresh_nonce()
    headers = signer.headers("GET", TARGET, nonce=nonce)
    wrong = "0" * len(dict(headers)["Portreeve-Signature"])
    refused(send(deployment, replace(headers, "Portreeve-Signature", wrong)), "bad_signature")
    assert send(deployment, headers).status == 200


def test_the_request_never_chooses_the_algorithm(deployment: Deployment) -> None:
    """HMAC keyed with an Ed25519 public key is no signature, nor is an Ed25519 one under an HMAC key."""
    asymmetric, symmetric = deployment.key(algorithm="ed25519"), deployment.key()
    seed, public = signing.new_ed25519()
    for keyed_with in (public, seed, "", "\0" * 32):
        forged = Signer(asymmetric.key_id, "hmac-sha256", keyed_with)
        refused(send(deployment, forged.headers("GET", TARGET)), "bad_signature")
    refused(
        send(deployment, Signer(symmetric.key_id, "ed25519", seed).headers("GET", TARGET)), "bad_signature"
    )


def test_signatures_that_a_lax_verifier_takes_are_refused(deployment: Deployment) -> None:
    """Neither the all-zero signature, nor small-order points, nor an S beyond the group order."""
    signer = deployment.key(algorithm="ed25519")
    order = 2**252 + 27742317777372353535851937790883648493
    headers = signer.headers("GET", TARGET)
    good = bytes.fromhex(dict(headers)["Portreeve-Signature"])
    malleated = good[:32] + (int.from_bytes(good[32:], "little") + order).to_bytes(32, "little")
    for forged in (bytes(64), b"\x01" + bytes(63), malleated):
        refused(send(deployment, replace(headers, "Portreeve-Signature", forged.hex())), "bad_signature")


@pytest.mark.parametrize(
    ("stamp", "skew", "unit"),
    [
        (lambda: str(now_ms() // 1000), None, "second"),
        (lambda: str(now_ms() * 1000), None, "microsecond"),
        (lambda: str(now_ms() * 1_000_000), None, "nanosecond"),
        (lambda: str(now_ms() + 5_000), 5_000, None),
        (lambda: str(now_ms() - 31_000), -31_000, None),
        (lambda: f"{now_ms() - 5_000}/2000", -5_000, None),
        (lambda: f"{now_ms() - 61_000}/60000", -61_000, None),
        (lambda: "1", None, None),
    ],
    ids=["seconds", "microseconds", "nanoseconds", "future", "old", "narrowed", "widest", "one"],
)
def test_a_timestamp_outside_the_window_is_refused_with_reasons(
    deployment: Deployment, signer: Signer, stamp: object, skew: int | None, unit: str | None
) -> None:
    """A stale answer tells the server's time, the measured skew, and the unit when that is the mistake."""
    assert callable(stamp)
    answer = send(deployment, signer.headers("GET", TARGET, timestamp=stamp()))
    refused(answer, "stale_timestamp")
    problem = answer.json()
    assert abs(problem["server_time"] - now_ms()) < 5_000
    if skew is not None:
        # Either sign convention tells the distance; a second of slack is for a busy machine.
        assert abs(abs(problem["skew_ms"]) - abs(skew)) < 1_000
    if unit is not None:
        assert unit in problem["hint"].lower()


def test_a_timestamp_just_inside_the_window_passes(deployment: Deployment, signer: Signer) -> None:
    """Half a second ahead and twenty seconds back are fresh; a window of a minute may be asked for."""
    for stamp in (str(now_ms() + 500), str(now_ms() - 20_000), f"{now_ms() - 1_000}/5000"):
        assert send(deployment, signer.headers("GET", TARGET, timestamp=stamp)).status == 200


DUPLICATES = [
    *((field, "x") for field in FIELDS),
    ("Portreeve-Anything", "x"),
    ("Authorization", "Bearer x"),
    ("DPoP", "x"),
    ("Content-Length", "2"),
    ("Host", "gateway.test"),
]


@pytest.mark.parametrize(("name", "value"), DUPLICATES, ids=[name for name, _ in DUPLICATES])
@pytest.mark.parametrize("spelling", [str, str.upper, str.lower], ids=["as-is", "upper", "lower"])
def test_a_repeated_header_that_matters_is_refused(
    edge: Deployment, name: str, value: str, spelling: type[str]
) -> None:
    """Two of one name could be read as two requests: 400 in any case of letters, first or last."""
    body = b"{}"
    signed = edge.key().headers("POST", b"/paper/v1/echo", body)
    present = dict(signed) | {"Content-Length": "2", "Host": "gateway.test"}
    extra = (spelling(name), present.get(name, value))
    pair = [] if name in present else [(name, value)]
    for headers in ([*signed, *pair, extra], [extra, *signed, *pair]):
        answer = edge.node.ask(plain_request("POST", b"/paper/v1/echo", headers, body))
        assert answer.status == 400, str(answer)
        assert answer.code in {"malformed_headers", "malformed_request"}
    assert not edge.paper.requests


def test_headers_named_like_pseudo_headers_are_refused_or_mean_nothing(edge: Deployment) -> None:
    """`:path` and its like never route, never sign, and never reach an upstream as themselves."""
    for name in (":path", ":method", "(request-target)", "@target-uri"):
        signed = edge.key().headers("GET", TARGET)
        answer = edge.node.ask(plain_request("GET", TARGET, [(name, "/admin/x"), *signed]))
        assert answer.status in {200, 400}, str(answer)
        assert not edge.upstream_saw(b"/admin")
        assert not edge.upstream_saw(name.encode() + b":")
