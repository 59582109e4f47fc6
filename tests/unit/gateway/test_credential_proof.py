"""What is added to a request, and what of the client's goes for it."""

import base64
import hashlib
import hmac

import pytest

from gateway import outbound
from gateway.credentials import forms, proof
from gateway.problems import Refusal
from gateway.stages.match_route import Routed
from keys.secret import Secret
from keys.upstream_credentials import Form
from tests.support.stage_values import PUBLIC, admitted, asserted

NOW_MS = 1_763_596_800_123
EMPTY = hashlib.sha256(b"").hexdigest().encode()
BODY = b'{"side":"buy"}'
ASKED = proof.Asked("POST", b"/orders?a=b", BODY, hashlib.sha256(BODY).hexdigest().encode())


def members(form: Form, **given: str) -> forms.Material:
    return {name: Secret(given[name]) for name in forms.MEMBERS[form]}


def ready(header: str = "x-api-key", value: str = "ours") -> proof.Ready:
    return proof.make_ready(forms.HeaderDetails(header=header), members("header", value=value))


def signing(**details: str) -> proof.Signing:
    parsed = forms.parse_details("hmac", details)
    assert isinstance(parsed, forms.HmacDetails)
    return proof.Signing(parsed, members("hmac", key_id="k%1", secret="s3cret"), lambda: NOW_MS)


def sent(made: proof.Proof, *headers: tuple[bytes, bytes]) -> list[bytes]:
    """The header lines of a request with it, after the host."""
    request, lines = admitted(*headers), made.lines
    assert lines is not None
    attached = proof.Attached(made.taken, lines)
    prepared = outbound.request_for(
        b"u", asserted(request, PUBLIC), Routed(request, PUBLIC), b"", None, attached
    )
    return prepared.first.removesuffix(b"\r\n\r\n").split(b"\r\n")[2:]


@pytest.mark.parametrize("name", [b"x-api-key", b"X-Api-Key", b"X-API-KEY", b"x_api_key", b"X_Api-Key"])
def test_a_clients_header_of_the_same_name_goes_no_further(name: bytes) -> None:
    """In no spelling, once or twice; its neighbours go on as they are."""
    lines = sent(ready(), (b"accept", b"a"), (name, b"theirs"), (b"x-api-key-2", b"b"), (name, b"theirs"))
    assert [line for line in lines if b"api" in line.lower()] == [b"x-api-key-2: b", b"x-api-key: ours"]
    assert b"accept: a" in lines


@pytest.mark.parametrize("position", [0, 1, 2])
def test_it_is_taken_out_wherever_it_stands(position: int) -> None:
    """First, in the middle and last."""
    headers = [(b"a", b"1"), (b"b", b"x-api-key: no")]
    headers.insert(position, (b"X-Api-Key", b"theirs"))
    lines = sent(ready(), *headers)
    assert b"a: 1" in lines
    assert b"b: x-api-key: no" in lines
    assert [line for line in lines if line.startswith(b"x-api-key")] == [b"x-api-key: ours"]


def test_a_connection_header_does_not_take_it_away() -> None:
    """What the gateway adds is not the client's to name."""
    assert b"x-api-key: ours" in sent(ready(), (b"connection", b"x-api-key"), (b"x-api-key", b"theirs"))


def test_a_value_that_brings_a_line_in_that_name_is_refused() -> None:
    """Taking a line out of a value must not make the count right again."""
    smuggled = (b"a", b"1\r\nx-api-key: theirs")
    with pytest.raises(ValueError, match="header"):
        sent(ready(), smuggled)


def test_basic_is_what_rfc_7617_says() -> None:
    """Its own example; a client's `Authorization` is gone before."""
    made = proof.make_ready(
        forms.BasicDetails(), members("basic", username="Aladdin", password="open sesame")
    )
    lines = sent(made, (b"authorization", b"Bearer theirs"))
    assert [line for line in lines if line.startswith(b"authorization")] == [
        b"authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    ]


async def test_hmac_signs_what_is_asked_and_when() -> None:
    """Four lines: time, method, target, and the hash of the body; in hexadecimal digits."""
    text = b"1763596800123\nPOST\n/orders?a=b\n" + ASKED.body_sha256
    expected = hmac.digest(b"s3cret", text, "sha256").hex()
    assert await signing().prove(ASKED) == (
        f"x-api-key: k%1\r\nx-timestamp: 1763596800123\r\nx-signature: {expected}\r\n".encode()
    )


async def test_hmac_joined_is_signed_over_the_body_itself() -> None:
    """The other layout, in base64 and with seconds, under names of the broker's own."""
    made = signing(
        layout="joined",
        encoding="base64",
        timestamp="s",
        key_header="cb-access-key",
        timestamp_header="cb-access-timestamp",
        signature_header="cb-access-sign",
    )
    expected = base64.b64encode(hmac.digest(b"s3cret", b"1763596800POST/orders?a=b" + BODY, "sha256"))
    assert await made.prove(ASKED) == (
        b"cb-access-key: k%1\r\ncb-access-timestamp: 1763596800\r\ncb-access-sign: " + expected + b"\r\n"
    )


async def test_a_body_that_is_not_held_is_not_signed() -> None:
    """A public route's body goes through as it comes: then nothing is sent."""
    with pytest.raises(Refusal) as refused:
        await signing().prove(proof.Asked("POST", b"/orders", None, EMPTY))
    assert refused.value.problem.kind.code == "upstream_credential_unavailable"


async def test_where_nothing_can_be_proved_nothing_is_sent() -> None:
    """And why is for the operator alone."""
    with pytest.raises(Refusal) as refused:
        await proof.Missing("it was revoked").prove(ASKED)
    assert refused.value.problem.kind.status == 503
    assert "revoked" not in refused.value.problem.detail


def test_nothing_shows_what_it_holds() -> None:
    """Not even to a debugger's print."""
    assert "ours" not in repr(ready())
    assert "s3cret" not in repr(signing())
