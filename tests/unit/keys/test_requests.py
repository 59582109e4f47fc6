import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keys import ed25519, environment, refusals, requests
from keys import format as key_format
from keys.records import KeyRequest
from tests.support.custody import make_request

NOW_MS = 1_000
PUBLIC_KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32).public_key().public_bytes_raw()
HMAC = {"partner": "acme", "environment": "paper", "algorithm": "hmac-sha256", "roles": ("trader",)}


def check(**changed: object) -> KeyRequest:
    return requests.check_key(make_request(**HMAC | changed), NOW_MS)


def test_a_plain_request_passes_as_it_is() -> None:
    """What is already in its one spelling is not touched."""
    asked = make_request(**HMAC, cidrs=("10.0.0.0/8",), permissions=("orders:read",), label="desk 7")
    assert requests.check_key(asked, NOW_MS) == asked


def test_an_ed25519_request_passes_with_its_public_key() -> None:
    """An Ed25519 key brings a valid public key."""
    assert check(algorithm="ed25519", public_key=PUBLIC_KEY).public_key == PUBLIC_KEY


def test_repetitions_are_dropped() -> None:
    """A role, a permission or a range that is named twice is stored once, in the order of the first."""
    checked = check(roles=("b", "a", "b"), permissions=("x:y", "x:y"), cidrs=("10.0.0.1", "10.0.0.1/32"))
    assert (checked.roles, checked.permissions, checked.cidrs) == (("b", "a"), ("x:y",), ("10.0.0.1/32",))


def test_narrowed_to_nothing_is_not_unnarrowed() -> None:
    """An empty list of permissions grants nothing; no list leaves the roles as they are."""
    assert check(permissions=()).permissions == ()
    assert check().permissions is None


def test_ranges_have_one_spelling() -> None:
    """Addresses become ranges, and IPv6 is written in its short form."""
    assert check(cidrs=("2001:DB8:0:0::/32", "::1")).cidrs == ("2001:db8::/32", "::1/128")


@pytest.mark.parametrize(
    "cidr",
    ["10.0.0.1/8", "10.0.0.0/33", "x", "", "10.0.0", " 10.0.0.0/8", "::ffff:10.0.0.0/104", "fe80::1%eth0"],
)
def test_what_is_no_range_is_refused(cidr: str) -> None:
    """Bits beyond the prefix, zones and IPv4 dressed as IPv6 would never match what they seem to."""
    with pytest.raises(requests.InvalidCidr):
        check(cidrs=(cidr,))


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"roles": ()}, requests.InvalidRoles),
        ({"roles": ("a b",)}, requests.InvalidRoles),
        ({"roles": ("",)}, requests.InvalidRoles),
        ({"roles": tuple(f"r{n}" for n in range(65))}, requests.InvalidRoles),
        ({"permissions": ("orders",)}, requests.InvalidPermissions),
        ({"permissions": ("orders:read:all",)}, requests.InvalidPermissions),
        ({"permissions": tuple(f"a:{n}" for n in range(65))}, requests.InvalidPermissions),
        ({"cidrs": tuple(f"10.0.0.{n}" for n in range(65))}, requests.InvalidCidr),
        ({"label": "x" * 201}, requests.InvalidLabel),
        ({"label": "a\nb"}, requests.InvalidLabel),
        ({"label": " a"}, requests.InvalidLabel),
        ({"expires_at": NOW_MS}, requests.InvalidExpiry),
        ({"expires_at": NOW_MS - 1}, requests.InvalidExpiry),
        ({"public_key": PUBLIC_KEY}, requests.PublicKeyNeedless),
        ({"algorithm": "ed25519"}, requests.PublicKeyMissing),
        ({"algorithm": "ed25519", "public_key": b"short"}, ed25519.InvalidPublicKey),
        ({"algorithm": "ed25519", "public_key": bytes(32)}, ed25519.InvalidPublicKey),
    ],
)
def test_what_cannot_be_is_refused(
    changed: dict[str, object], refusal: type[refusals.InvalidRequest]
) -> None:
    """Each part of a request has its own refusal, which names the field."""
    with pytest.raises(refusal) as caught:
        check(**changed)
    assert caught.value.field in changed | {"public_key": None}


def test_an_expiry_after_now_passes() -> None:
    """A key may expire one millisecond from now."""
    assert check(expires_at=NOW_MS + 1).expires_at == NOW_MS + 1


def test_another_environment_or_algorithm_is_refused() -> None:
    """A request that was built past the types is refused all the same."""
    with pytest.raises(environment.UnknownEnvironment):
        requests.check_key(KeyRequest(**HMAC | {"environment": "test"}), NOW_MS)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(requests.InvalidAlgorithm):
        requests.check_key(KeyRequest(**HMAC | {"algorithm": "none"}), NOW_MS)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("partner_id", ["a", "acme", "a-1", "0" * 63])
def test_partner_ids_pass(partner_id: str) -> None:
    """A partner id is a short lower-case word."""
    requests.check_partner(partner_id, "Acme", "standard")
    assert partner_id


@pytest.mark.parametrize("partner_id", ["", "-a", "A", "a_b", "a b", "a}", "{a", "a" * 64, "a\n", "é"])
def test_other_partner_ids_are_refused(partner_id: str) -> None:
    """A partner id names a slot in the shared store: no brace, no space, no newline."""
    with pytest.raises(requests.InvalidPartnerId):
        requests.check_partner(partner_id, "Acme", "standard")


@pytest.mark.parametrize("name", ["", " Acme", "a\x00b", "x" * 201])
def test_other_names_are_refused(name: str) -> None:
    """A name is printable and not endless."""
    with pytest.raises(requests.InvalidName):
        requests.check_partner("acme", name, "standard")


@pytest.mark.parametrize("tier", ["", "a b", "-a"])
def test_other_tiers_are_refused(tier: str) -> None:
    """A tier is a word."""
    with pytest.raises(requests.InvalidTier):
        requests.check_partner("acme", "Acme", tier)


@pytest.mark.parametrize("reason", ["", " ", "a\x1b[2J", "x" * 501])
def test_other_reasons_are_refused(reason: str) -> None:
    """A reason goes to the ledger and to terminals: it has letters, and no control characters."""
    with pytest.raises(requests.InvalidReason):
        requests.check_reason(reason)


def test_no_secret_is_taken_for_words() -> None:
    """Whoever revokes in haste pastes what has leaked: the ledger would keep it, and every reader see it."""
    secret = key_format.mint_secret("live", b"s" * key_format.SECRET_ENTROPY).reveal()
    for refused in (
        lambda: requests.check_reason(f"leaked:{secret}."),
        lambda: check(label=f"desk {secret}"),
        lambda: requests.check_partner("acme", secret, "standard"),
    ):
        with pytest.raises(refusals.InvalidRequest, match="no secret") as caught:
            refused()
        assert secret not in str(caught.value)
    # One letter off it is nobody's.
    requests.check_reason(f"leaked: {secret[:-1]}")
