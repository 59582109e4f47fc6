"""How a token's refusal is told: in a problem for people, and in `WWW-Authenticate` for programs."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from auth import credential
from auth.oauth.token_claims import InvalidToken, NonceWanted, Reason
from auth.signature import VerifiedKey
from gateway import refusals
from gateway.problems import Problem, Renderer
from gateway.stages.authorize import refusal_of
from policies.decision import Reason as Denial
from tests.support.access_tokens import World
from tests.support.served_keys import make_hmac_key

METADATA = "https://gateway.example/.well-known/oauth-protected-resource"
ALGS = "PS256 ES256 EdDSA Ed25519"
TOLD = f', resource_metadata="{METADATA}"'


def challenge(problem: Problem) -> str:
    """All of them, in the one line there is."""
    _, headers, _ = Renderer("https://docs.example", METADATA).render(problem, "r1")
    lines = [value.decode() for name, value in headers if name == b"www-authenticate"]
    assert len(lines) <= 1
    return "".join(lines)


def test_whoever_comes_with_nothing_may_choose() -> None:
    """A signature or a token; where tokens come from is told (RFC 9728)."""
    told = challenge(refusals.problem_of(credential.MissingCredentials()))
    assert told == f'PORTREEVE1 error="missing_credentials", DPoP algs="{ALGS}"' + TOLD


@pytest.mark.parametrize("reason", get_args(Reason))
def test_every_reason_has_its_words(reason: Reason) -> None:
    """A sentence of ours, and one of the two errors of the standards; nobody is asked for a signature."""
    problem = refusals.problem_of(InvalidToken(reason))
    assert (problem.kind.code, problem.members) == ("invalid_token", {"reason": reason})
    assert problem.detail.endswith(".")
    error = "invalid_dpop_proof" if reason.startswith("proof_") or reason == "no_proof" else "invalid_token"
    assert challenge(problem) == f'DPoP algs="{ALGS}", error="{error}"' + TOLD


def test_the_scheme_that_was_used_says_the_error() -> None:
    """Whoever came as Bearer is told so, and that there is DPoP."""
    told = challenge(refusals.problem_of(InvalidToken("expired", "Bearer")))
    assert told == f'Bearer error="invalid_token"{TOLD}, DPoP algs="{ALGS}"{TOLD}'


def test_a_nonce_comes_in_a_header_of_its_own() -> None:
    """As RFC 9449 has it."""
    problem = refusals.problem_of(NonceWanted("abc"))
    status, headers, _ = Renderer("https://docs.example", METADATA).render(problem, "r1")
    assert (status, problem.kind.code) == (401, "use_dpop_nonce")
    assert (b"dpop-nonce", b"abc") in headers
    assert 'error="use_dpop_nonce"' in challenge(problem)


def test_a_scope_that_is_too_narrow_names_what_is_asked() -> None:
    """To a token; a key has no scope, and is told of its permission alone."""
    world = World()
    caller = world.verify(world.present(world.token()))
    denied = Denial("permission_denied", "orders:write")
    problem = refusal_of(denied, caller).problem
    assert (problem.kind.code, problem.members) == ("permission_denied", {"permission": "orders:write"})
    assert challenge(problem) == 'DPoP error="insufficient_scope", scope="orders:write"' + TOLD
    assert not challenge(refusal_of(denied, VerifiedKey(make_hmac_key(), 1)).problem)


def test_other_denials_ask_for_no_other_token() -> None:
    """No scope would help in the wrong environment or from the wrong address."""
    world = World()
    caller = world.verify(world.present(world.token()))
    assert not challenge(refusal_of(Denial("environment_mismatch", "live"), caller).problem)


def test_nothing_of_the_token_is_in_the_answer() -> None:
    """Nor of its proof."""
    world = World()
    shown = world.present(world.token(aud="somebody-else"))
    with pytest.raises(InvalidToken) as caught:
        world.verify(shown)
    _, headers, body = Renderer("https://docs.example").render(refusals.problem_of(caught.value), "r1")
    whole = body + msgspec.json.encode([[name.decode(), value.decode()] for name, value in headers])
    assert shown.access_token not in whole
    assert b"somebody-else" not in whole
