"""Tokens of another company's issuer: trusted for what the configuration says, and for nothing else."""

from typing import Any

import msgspec
import pytest

from auth import bearer, jose, presented
from auth.oauth import issuers
from auth.oauth.token_claims import InvalidToken
from keys.served_clients import ServedPartner
from tests.support import jws
from tests.support.access_tokens import ISSUER, JKT, NOW, POLICIES, World

THEIRS = "https://idp.zephyr.example"
TERMS = issuers.Terms(
    issuer=THEIRS,
    audience="portreeve",
    partner="zephyr",
    environment="paper",
    claim="groups",
    roles={"desk": ("trader",), "audit": ("viewer",), "boss": ("officer",)},
    types=("at+jwt",),
    bearer=False,
)


class Abroad(World):
    """A world that trusts one more issuer. Its key is `EDWARDS`, under the id `theirs`."""

    def __init__(self, **terms: Any) -> None:  # noqa: ANN401  any term
        super().__init__()
        key = jose.parse_public_jwk({**jws.public_jwk(jws.EDWARDS), "kid": "theirs"})
        external = issuers.ExternalTokens(
            msgspec.structs.replace(TERMS, **terms), issuers.FixedKeys((key,)), self, POLICIES
        )
        self.authenticator = bearer.TokenAuthenticator({**self.sources, THEIRS: external}, self.rules)

    def foreign(self, header: dict[str, Any] | None = None, **claims: Any) -> str:  # noqa: ANN401  any claim
        whole = {
            "iss": THEIRS,
            "aud": "portreeve",
            "sub": "tara",
            "iat": NOW // 1000,
            "exp": NOW // 1000 + 3_600,
            "groups": ["desk"],
            "cnf": {"jkt": JKT},
            **claims,
        }
        head = {"typ": "at+jwt", "kid": "theirs", "alg": "EdDSA", **(header or {})}
        return jws.compact(
            head, {name: value for name, value in whole.items() if value is not None}, jws.EDWARDS
        )


def refused(world: Abroad, token: str, scheme: presented.Scheme = "DPoP") -> str:
    with pytest.raises(InvalidToken) as caught:
        world.verify(world.present(token, scheme=scheme))
    return caught.value.reason


def test_its_people_come_as_the_partner_that_was_configured() -> None:
    """In its environment, with the roles that theirs map to, under their own name."""
    world = Abroad()
    entitlement = world.verify(world.present(world.foreign())).key.entitlement
    assert (entitlement.partner, entitlement.environment, entitlement.roles) == (
        "zephyr",
        "paper",
        ("trader",),
    )
    assert entitlement.permissions == ("orders:read", "orders:write")
    assert entitlement.id == f"{THEIRS}#tara"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "somebody-else"}, "wrong_audience"),
        ({"aud": ["a", "b"]}, "wrong_audience"),
        ({"aud": None}, "wrong_audience"),
        ({"aud": ["portreeve"] * 17}, "wrong_audience"),
        ({"iss": "https://other.example"}, "wrong_issuer"),
        ({"groups": ["nobody"]}, "no_role"),
        ({"groups": None}, "no_role"),
        ({"groups": {"desk": True}}, "bad_claims"),
        ({"groups": [["desk"]]}, "bad_claims"),
        ({"sub": None}, "bad_claims"),
        ({"sub": "a\r\nb"}, "bad_claims"),
        ({"exp": NOW // 1000 + 86_401}, "lifetime_too_long"),
        ({"iat": NOW // 1000 - 10, "exp": NOW // 1000}, "expired"),
        ({"cnf": None}, "not_bound"),
    ],
)
def test_what_it_was_not_trusted_for_is_refused(claims: dict[str, Any], reason: str) -> None:
    """Another audience or issuer, no role that is known here, no time, no name, no binding."""
    world = Abroad()
    assert refused(world, world.foreign(**claims)) == reason


@pytest.mark.parametrize("groups", ["desk audit", ["desk", "audit"], ["desk", "audit", "unknown"]])
def test_roles_come_as_a_list_or_with_blanks(groups: object) -> None:
    """Those that map to nothing add nothing."""
    world = Abroad()
    entitlement = world.verify(world.present(world.foreign(groups=groups))).key.entitlement
    assert entitlement.roles == ("trader", "viewer")


def test_a_list_of_audiences_may_name_us() -> None:
    """Whom else an issuer speaks to is its own to say."""
    world = Abroad()
    world.verify(world.present(world.foreign(aud=["portreeve", f"{THEIRS}/userinfo"])))


def test_the_control_surface_is_out_of_reach() -> None:
    """Whatever role it maps to."""
    world = Abroad()
    permissions = world.verify(world.present(world.foreign(groups=["boss"]))).key.entitlement.permissions
    assert permissions == ("orders:read", "orders:write")


def test_unbound_tokens_pass_only_where_configured_and_never_trade() -> None:
    """As with clients of our own."""
    world = Abroad(bearer=True)
    shown = world.present(world.foreign(cnf=None), scheme="Bearer")
    assert world.verify(shown).key.entitlement.permissions == ("orders:read",)
    assert refused(world, world.foreign(), "Bearer") == "bound_to_key"


@pytest.mark.parametrize(
    ("kind", "types", "passes"),
    [
        ("application/at+jwt", ("at+jwt",), True),
        ("AT+JWT", ("at+jwt",), True),
        ("JWT", ("at+jwt",), False),
        ("JWT", ("jwt",), True),
        ("id_token", ("at+jwt", "jwt"), False),
    ],
)
def test_its_types_are_configured(kind: str, types: tuple[str, ...], passes: bool) -> None:
    """Others still issue access tokens as plain `JWT`: then their ID tokens differ by the audience alone."""
    world = Abroad(types=types)
    token = world.foreign({"typ": kind})
    if passes:
        world.verify(world.present(token))
    else:
        assert refused(world, token) == "wrong_type"


def test_its_key_signs_for_nobody_else() -> None:
    """Our own issuer's name under their key, and theirs under ours, are refused."""
    world = Abroad()
    assert refused(world, world.foreign(iss=ISSUER)) == "unknown_key"
    assert refused(world, world.token(iss=THEIRS)) == "unknown_key"


def test_a_frozen_partner_takes_its_issuer_with_it() -> None:
    """And one that is not there at all."""
    world = Abroad()
    token = world.foreign()
    world.verify(world.present(token))
    world.partners["zephyr"] = ServedPartner("zephyr", "standard", frozen=True)
    assert refused(world, token) == "partner_refused"
    del world.partners["zephyr"]
    assert refused(world, token) == "partner_refused"


def test_an_issuer_without_unbound_tokens_has_none() -> None:
    """As a bearer token, too, it is refused for what it is."""
    world = Abroad()
    assert refused(world, world.foreign(cnf=None), "Bearer") == "not_bound"


@pytest.mark.parametrize("own", [True, False])
def test_each_source_reads_its_own_issuer_alone(own: bool) -> None:
    """Whoever hands it a token of another's, under a right signature, is refused."""
    world = Abroad()
    tokens = world.authenticator._sources
    source, other = (tokens[ISSUER], world.foreign()) if own else (tokens[THEIRS], world.token())
    with pytest.raises(InvalidToken, match="wrong_issuer"):
        source.read(jose.parse(other))
