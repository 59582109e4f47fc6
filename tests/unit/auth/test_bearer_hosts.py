"""At which of the gateway's hosts a proof of possession is one."""

import pytest

from auth.oauth.token_claims import InvalidToken
from tests.support.access_tokens import ISSUER, World


def test_a_proof_is_for_the_host_that_alone_serves_a_route() -> None:
    """The same path may be something else at another of our hosts. A host that is no origin is one inside."""
    world = World(origins=(ISSUER, "https://desk.example", "https://desk.example:8443"))
    token = world.token()
    for htu in ("https://desk.example/a", "https://desk.example:8443/a"):
        world.verify(world.present(token, htu=htu), host="Desk.example")
        with pytest.raises(InvalidToken, match="proof_wrong_uri"):
            world.verify(world.present(token, htu=htu), host="gateway.example")
    with pytest.raises(InvalidToken, match="proof_wrong_uri"):
        world.verify(world.present(token), host="desk.example")
    world.verify(world.present(token), host="inside.example")
    world.verify(world.present(token, htu="https://desk.example/a"))
