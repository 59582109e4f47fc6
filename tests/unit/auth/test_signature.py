"""Who signed, what a stranger learns, and what a holder is told."""

import hmac
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth import credential, signature
from keys import served
from keys.secret import HmacKey
from keys.verifiers import Ed25519Verifier
from tests.support import served_keys

NOW: Final = 1_763_596_800_123
CANONICAL: Final = b"PORTREEVE1\n1763596800123\nk3J9s0Qe7Lx2Vb5N\nkey\nGET\n/orders\n\nhash"
WRONG_HMAC: Final = b"\x0f" * 32
WRONG_ED25519: Final = b"\x0f" * 64
BYTES_IN_A_DECOY_SECRET: Final = 32


def entropy(size: int) -> bytes:
    return b"\xdd" * size


def hmac_of(canonical: bytes = CANONICAL, secret: bytes = served_keys.SECRET) -> bytes:
    return hmac.digest(secret, canonical, "sha256")


def ed25519_of(
    canonical: bytes = CANONICAL, private_key: Ed25519PrivateKey = served_keys.PRIVATE_KEY
) -> bytes:
    return private_key.sign(canonical)


def claim(key_id: str, raw: bytes) -> credential.SignedCredential:
    return credential.SignedCredential(
        key_id, key_id.encode(), b"%d" % NOW, NOW, None, b"k3J9s0Qe7Lx2Vb5N", raw
    )


def verify(
    key: served.ServedKey | None, raw: bytes, canonical: bytes = CANONICAL, now_ms: int = NOW
) -> signature.VerifiedKey:
    known = {} if key is None else {key.id: key}
    authenticator = signature.SignatureAuthenticator(known.get, entropy=entropy)
    return authenticator.verify(
        claim(served_keys.UNKNOWN_KEY_ID if key is None else key.id, raw), canonical, now_ms
    )


def test_an_hmac_by_the_secret_as_shown_verifies() -> None:
    """The prefix is part of the HMAC key, and the version that verified is named."""
    key = served_keys.make_hmac_key()
    assert served_keys.SECRET.startswith(b"prs_paper_")
    assert verify(key, hmac_of()) == signature.VerifiedKey(key, 1)


def test_an_ed25519_signature_verifies() -> None:
    """With the public key alone."""
    key = served_keys.make_ed25519_key()
    assert verify(key, ed25519_of()) == signature.VerifiedKey(key, 1)


@pytest.mark.parametrize("at", range(0, len(CANONICAL), 5))
@pytest.mark.parametrize("make", [served_keys.make_hmac_key, served_keys.make_ed25519_key])
def test_any_changed_byte_of_the_string_is_refused(make: Callable[[], served.ServedKey], at: int) -> None:
    """What was signed and what arrived differ in one byte."""
    changed = CANONICAL[:at] + bytes([CANONICAL[at] ^ 1]) + CANONICAL[at + 1 :]
    raw = hmac_of() if make is served_keys.make_hmac_key else ed25519_of()
    with pytest.raises(signature.BadSignature):
        verify(make(), raw, changed)


@pytest.mark.parametrize("at", range(0, 64, 3))
def test_any_changed_bit_of_a_signature_is_refused(at: int) -> None:
    """Neither algorithm takes a signature that is nearly right."""
    raw = bytearray(ed25519_of())
    raw[at] ^= 1
    with pytest.raises(signature.BadSignature):
        verify(served_keys.make_ed25519_key(), bytes(raw))
    mac = bytearray(hmac_of())
    mac[at % 32] ^= 1
    with pytest.raises(signature.BadSignature):
        verify(served_keys.make_hmac_key(), bytes(mac))


@pytest.mark.parametrize("length", [0, 1, 16, 31, 33, 63, 65, 128])
@pytest.mark.parametrize("make", [served_keys.make_hmac_key, served_keys.make_ed25519_key])
def test_a_signature_of_another_length_is_refused(make: Callable[[], served.ServedKey], length: int) -> None:
    """The parser lets none through; if it did, none would verify, and no prefix of a right one does."""
    for raw in (hmac_of(), ed25519_of()):
        with pytest.raises(signature.BadSignature):
            verify(make(), (raw * 4)[:length])


def both_hmac_versions() -> served.ServedKey:
    retiring = served_keys.make_hmac_version(version=2, state="retiring")
    return served_keys.make_hmac_key(
        versions=(
            served_keys.make_hmac_version(version=3, secret=HmacKey(served_keys.OTHER_SECRET)),
            retiring,
        )
    )


def both_ed25519_versions() -> served.ServedKey:
    retiring = served_keys.make_ed25519_version(version=2, state="retiring")
    active = served_keys.make_ed25519_version(
        version=3, public_key=served_keys.OTHER_PRIVATE_KEY.public_key()
    )
    return served_keys.make_ed25519_key(versions=(active, retiring))


def test_during_a_rotation_both_secrets_verify() -> None:
    """The new one and the retiring one, each under its own version number."""
    assert verify(both_hmac_versions(), hmac_of(secret=served_keys.OTHER_SECRET)).version == 3
    assert verify(both_hmac_versions(), hmac_of()).version == 2


def test_during_a_rotation_both_public_keys_verify() -> None:
    """The same for Ed25519."""
    raw = ed25519_of(private_key=served_keys.OTHER_PRIVATE_KEY)
    assert verify(both_ed25519_versions(), raw).version == 3
    assert verify(both_ed25519_versions(), ed25519_of()).version == 2


@pytest.mark.parametrize("state", ["pending", "revoked", "destroyed"])
def test_a_version_that_does_not_serve_verifies_nothing(state: str) -> None:
    """Not yet active or no longer: were it loaded by mistake, it would still be refused."""
    with pytest.raises(signature.BadSignature):
        verify(served_keys.make_hmac_key(versions=(served_keys.make_hmac_version(state=state),)), hmac_of())
    with pytest.raises(signature.BadSignature):
        verify(
            served_keys.make_ed25519_key(versions=(served_keys.make_ed25519_version(state=state),)),
            ed25519_of(),
        )


def test_a_destroyed_secret_verifies_nothing() -> None:
    """A version whose material is gone is passed over, and the one after it counts."""
    gone = served_keys.make_hmac_version(secret=None)
    with pytest.raises(signature.BadSignature):
        verify(served_keys.make_hmac_key(versions=(gone,)), hmac_of(secret=b""))
    assert (
        verify(
            served_keys.make_hmac_key(versions=(gone, served_keys.make_hmac_version(version=2))), hmac_of()
        ).version
        == 2
    )
    gone = served_keys.make_ed25519_version(public_key=None)
    with pytest.raises(signature.BadSignature):
        verify(served_keys.make_ed25519_key(versions=(gone,)), ed25519_of())


def test_the_request_does_not_choose_the_algorithm() -> None:
    """A public key is not an HMAC secret, nor does a version of the other algorithm count for a key."""
    public = served_keys.PRIVATE_KEY.public_key().public_bytes_raw()
    for secret in (public, public.hex().encode()):
        with pytest.raises(signature.BadSignature):
            verify(served_keys.make_ed25519_key(), hmac_of(secret=secret))
    with pytest.raises(signature.BadSignature):
        verify(served_keys.make_hmac_key(), ed25519_of())
    mixed = (served_keys.make_hmac_version(), served_keys.make_ed25519_version())
    with pytest.raises(signature.BadSignature):
        verify(served_keys.make_hmac_key(versions=mixed), ed25519_of())
    with pytest.raises(signature.BadSignature):
        verify(served_keys.make_ed25519_key(versions=mixed), hmac_of())
    odd = (served_keys.make_hmac_version(algorithm="ed25519"),)
    with pytest.raises(signature.BadSignature):
        verify(served_keys.make_hmac_key(versions=odd), hmac_of())


EVERY_KEY: Final[dict[str, served.ServedKey | None]] = {
    "unknown": None,
    "hmac": served_keys.make_hmac_key(),
    "hmac in rotation": both_hmac_versions(),
    "hmac without versions": served_keys.make_hmac_key(versions=()),
    "hmac destroyed": served_keys.make_hmac_key(versions=(served_keys.make_hmac_version(secret=None),)),
    "hmac revoked": served_keys.make_hmac_key(revoked=True),
    "hmac expired": served_keys.make_hmac_key(expires_at=1),
    "hmac frozen": served_keys.make_hmac_key(frozen=True),
    "ed25519": served_keys.make_ed25519_key(),
    "ed25519 in rotation": both_ed25519_versions(),
    "ed25519 without versions": served_keys.make_ed25519_key(versions=()),
    "ed25519 destroyed": served_keys.make_ed25519_key(
        versions=(served_keys.make_ed25519_version(public_key=None),)
    ),
    "ed25519 revoked": served_keys.make_ed25519_key(revoked=True),
    "ed25519 of a frozen partner": served_keys.make_ed25519_key(partner_frozen=True),
}


class Work(Counter[tuple[str, int]]):
    """Counts the checks made: the kind of each, and the length of what it worked on."""


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    counted = Work()
    by_hmac, by_ed25519 = HmacKey.verifies, Ed25519Verifier.verifies

    def count_hmac(self: HmacKey, raw: bytes, message: bytes) -> bool:
        counted["hmac", len(raw)] += 1
        return by_hmac(self, raw, message)

    def count_ed25519(self: Ed25519Verifier, raw: bytes, message: bytes) -> bool:
        counted["ed25519", len(raw)] += 1
        return by_ed25519(self, raw, message)

    monkeypatch.setattr(HmacKey, "verifies", count_hmac)
    monkeypatch.setattr(Ed25519Verifier, "verifies", count_ed25519)
    return counted


@pytest.mark.parametrize("name", EVERY_KEY)
@pytest.mark.parametrize(("raw", "expected"), [(WRONG_HMAC, ("hmac", 32)), (WRONG_ED25519, ("ed25519", 64))])
def test_a_refusal_costs_the_same_for_every_key(
    work: Work, name: str, raw: bytes, expected: tuple[str, int]
) -> None:
    """Unknown, known, rotating, revoked or of the other algorithm: two checks, chosen by the length."""
    with pytest.raises(signature.BadSignature) as refused:
        verify(EVERY_KEY[name], raw)
    assert work == {expected: 2}
    assert str(refused.value) == "The signature does not verify."


def test_a_right_signature_is_checked_once(work: Work) -> None:
    """Padding is for refusals; the request path pays for one check."""
    verify(served_keys.make_ed25519_key(), ed25519_of())
    verify(served_keys.make_hmac_key(), hmac_of())
    assert work == {("ed25519", 64): 1, ("hmac", 32): 1}


@pytest.mark.parametrize("name", EVERY_KEY)
def test_a_signature_by_a_decoy_is_refused(name: str) -> None:
    """Whoever knew the decoys could still sign for nobody, neither for an unknown key nor for a known one."""
    with pytest.raises(signature.BadSignature):
        verify(EVERY_KEY[name], hmac_of(secret=entropy(BYTES_IN_A_DECOY_SECRET)))
    with pytest.raises(signature.BadSignature):
        verify(EVERY_KEY[name], ed25519_of(private_key=Ed25519PrivateKey.from_private_bytes(entropy(32))))


STATES: Final[list[tuple[dict[str, Any], type[signature.KeyRefused]]]] = [
    ({"revoked": True}, signature.KeyRevoked),
    ({"expires_at": NOW}, signature.KeyExpired),
    ({"frozen": True}, signature.KeyFrozen),
    ({"partner_frozen": True}, signature.PartnerFrozen),
]


@pytest.mark.parametrize(("state", "refusal"), STATES)
@pytest.mark.parametrize("make", [served_keys.make_hmac_key, served_keys.make_ed25519_key])
def test_the_holder_is_told_why_a_key_is_refused(
    make: Callable[..., served.ServedKey], state: dict[str, Any], refusal: type[signature.KeyRefused]
) -> None:
    """After a right signature the state has its name, and the key is at hand for the audit line."""
    key = make(**state)
    with pytest.raises(refusal) as refused:
        verify(key, hmac_of() if key.algorithm == "hmac-sha256" else ed25519_of())
    assert refused.value.key == key


@pytest.mark.parametrize(("state", "refusal"), STATES)
def test_a_stranger_is_told_nothing_of_a_key(
    state: dict[str, Any], refusal: type[signature.KeyRefused]
) -> None:
    """With a wrong signature every state looks like a key that does not exist."""
    with pytest.raises(signature.BadSignature) as refused:
        verify(served_keys.make_hmac_key(**state), WRONG_HMAC)
    assert not isinstance(refused.value, refusal)


def test_of_several_states_the_most_final_is_named() -> None:
    """Revoked before expired, expired before frozen, the key before its partner."""
    together: dict[str, Any] = {}
    for state, refusal in reversed(STATES):
        together |= state
        with pytest.raises(refusal):
            verify(served_keys.make_hmac_key(**together), hmac_of())


@pytest.mark.parametrize("state", ["active", "retiring", "revoked"])
def test_the_last_versions_of_a_revoked_key_answer_its_holder(state: str) -> None:
    """Whatever state its versions were left in, the holder hears that the key is revoked."""
    key = served_keys.make_hmac_key(revoked=True, versions=(served_keys.make_hmac_version(state=state),))
    with pytest.raises(signature.KeyRevoked):
        verify(key, hmac_of())


def test_a_key_expires_at_its_time_and_not_before() -> None:
    """The last millisecond before still works."""
    key = served_keys.make_hmac_key(expires_at=NOW + 1)
    assert verify(key, hmac_of(), now_ms=NOW).key == key
    with pytest.raises(signature.KeyExpired):
        verify(key, hmac_of(), now_ms=NOW + 1)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, "unknown_key"),
        (served_keys.make_hmac_key(), "wrong_signature"),
        (served_keys.make_ed25519_key(), "other_algorithm"),
    ],
)
def test_the_audit_line_knows_what_the_answer_hides(
    key: served.ServedKey | None, reason: signature.AuditReason
) -> None:
    """Operators can tell a typing error from a wrong secret; the partner's answer stays the same."""
    with pytest.raises(signature.BadSignature) as refused:
        verify(key, WRONG_HMAC)
    assert refused.value.audit_reason == reason
    assert reason not in str(refused.value)


def test_an_ed25519_signature_on_an_hmac_key_is_of_the_other_algorithm() -> None:
    """The audit line names the mix-up in this direction too."""
    with pytest.raises(signature.BadSignature) as refused:
        verify(served_keys.make_hmac_key(), WRONG_ED25519)
    assert refused.value.audit_reason == "other_algorithm"


def test_no_refusal_shows_a_secret() -> None:
    """Neither in its text nor in the text of the key it carries around."""
    with pytest.raises(signature.KeyRevoked) as refused:
        verify(served_keys.make_hmac_key(revoked=True), hmac_of())
    assert "prs_" not in str(refused.value)
    assert "prs_" not in repr(refused.value)


def test_the_directory_is_asked_once() -> None:
    """One look-up a request, whatever comes of it."""
    asked: list[str] = []

    def find(key_id: str) -> None:
        asked.append(key_id)

    authenticator = signature.SignatureAuthenticator(find, entropy=entropy)
    with pytest.raises(signature.BadSignature):
        authenticator.verify(claim(served_keys.UNKNOWN_KEY_ID, WRONG_HMAC), CANONICAL, NOW)
    assert asked == [served_keys.UNKNOWN_KEY_ID]
