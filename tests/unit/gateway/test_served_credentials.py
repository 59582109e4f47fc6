"""Which credential a node sends, while the store, the KMS and the operators change."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.credentials.secrets_manager import SecretsManager
from gateway.credentials.served import ServedCredentials
from gateway.settings import SecretsManagerSettings
from keys import kms
from keys.changes import Author
from keys.secret import Secret
from keys.upstream_credentials import CredentialRequest, UpstreamCredentials
from storage import engine as storage_engine
from storage import schema
from tests.support import custody
from tests.support.custody import Room

OPERATOR = Author("operator")
ENVIRONMENTS = {"paper": "paper", "live": "live", "narrow": "paper"}
Serve = Callable[..., ServedCredentials]


@pytest.fixture
def room(engine: AsyncEngine) -> Room:
    return custody.build_room(engine)


@pytest.fixture
async def serve(room: Room) -> AsyncIterator[Serve]:
    """Makes what a node serves with; all of it is closed at the end."""
    made: list[ServedCredentials] = []

    def make(node: Room = room, **asked: Any) -> ServedCredentials:  # noqa: ANN401  any option
        served = ServedCredentials(
            held(node),
            SecretsManager(SecretsManagerSettings()),
            ENVIRONMENTS,
            asked.get("required", ()),
            wall_ms=node.clock,
            monotonic_ms=node.clock,
        )
        made.append(served)
        return served

    yield make
    for served in made:
        await served.aclose()


def held(room: Room) -> UpstreamCredentials:
    return UpstreamCredentials(room.engine, room.data_keys, room.changes, os.urandom)


def request(upstream: str = "paper", **changed: Any) -> CredentialRequest:  # noqa: ANN401  any field
    fields: dict[str, Any] = {
        "upstream": upstream,
        "environment": ENVIRONMENTS.get(upstream, "paper"),
        "form": "header",
        "source": "local",
        "details": {"header": "x-api-key"},
    }
    return CredentialRequest(**fields | changed)


def lines(served: ServedCredentials, upstream: str = "paper") -> bytes | None:
    return served.by_upstream[upstream].lines


async def test_a_node_follows_every_step(room: Room, serve: Serve) -> None:
    """Set, rotated, revoked and removed: with the next refresh, and without a restart."""
    served, entered = serve(room.another_node()), held(room)
    await served.refresh()
    assert served.by_upstream == {}
    await entered.create(request(), Secret('{"value":"first"}'), author=OPERATOR)
    await served.refresh()
    assert lines(served) == b"x-api-key: first\r\n"
    await entered.announce("paper", Secret('{"value":"second"}'), author=OPERATOR)
    await served.refresh()
    assert lines(served) == b"x-api-key: first\r\n"
    await entered.activate("paper", author=OPERATOR)
    await served.refresh()
    assert lines(served) == b"x-api-key: second\r\n"
    await entered.revoke("paper", author=OPERATOR)
    await served.refresh()
    assert served.missing == {"paper": "no version of it is active"}
    await entered.remove("paper", author=OPERATOR)
    await served.refresh()
    assert served.by_upstream == {}


async def test_an_upstream_that_has_to_have_one_is_never_without(room: Room, serve: Serve) -> None:
    """Before there is one, and after it was removed, there is nothing to send and nothing is sent."""
    served, entered = serve(required=["paper"]), held(room)
    assert set(served.missing) == {"paper"}
    await served.refresh()
    assert set(served.missing) == {"paper"}
    await entered.create(request(), Secret('{"value":"first"}'), author=OPERATOR)
    await served.refresh()
    assert served.missing == {}
    await entered.remove("paper", author=OPERATOR)
    await served.refresh()
    assert set(served.missing) == {"paper"}


async def test_a_paper_credential_is_never_sent_to_a_live_upstream(room: Room, serve: Serve) -> None:
    """However it came to be in the store."""
    await held(room).create(
        request("live", environment="paper"), Secret('{"value":"first"}'), author=OPERATOR
    )
    served = serve()
    await served.refresh()
    assert set(served.missing) == {"live"}
    assert lines(served, "live") is None


async def test_what_is_not_configured_is_left_alone(room: Room, serve: Serve) -> None:
    """An upstream of another node's configuration."""
    await held(room).create(request("elsewhere"), Secret('{"value":"first"}'), author=OPERATOR)
    served = serve()
    await served.refresh()
    assert served.by_upstream == {}


async def test_while_the_kms_is_away_what_was_only_replaced_goes_on(room: Room, serve: Serve) -> None:
    """A new version that cannot be opened yet takes nothing away, and is taken up later."""
    node = room.another_node()
    served, entered = serve(node), held(room)
    await entered.create(request(), Secret('{"value":"first"}'), author=OPERATOR)
    await served.refresh()
    await entered.rotate("paper", Secret('{"value":"second"}'), author=OPERATOR)
    node.data_keys._held.clear()
    room.kms.down = True
    for _ in range(2):
        with pytest.raises(kms.KmsUnavailable):
            await served.refresh()
        assert lines(served) == b"x-api-key: first\r\n"
    room.kms.down = False
    await served.refresh()
    assert lines(served) == b"x-api-key: second\r\n"


async def test_while_the_kms_is_away_what_was_revoked_does_not_go_on(room: Room, serve: Serve) -> None:
    """Neither when all of it was, nor when its successor cannot be opened."""
    node = room.another_node()
    served, entered = serve(node), held(room)
    await entered.create(request(), Secret('{"value":"first"}'), author=OPERATOR)
    await entered.create(request("live"), Secret('{"value":"live"}'), author=OPERATOR)
    await served.refresh()
    await entered.rotate("paper", Secret('{"value":"second"}'), author=OPERATOR)
    await entered.revoke("paper", 1, author=OPERATOR)
    await entered.revoke("live", author=OPERATOR)
    node.data_keys._held.clear()
    room.kms.down = True
    with pytest.raises(kms.KmsUnavailable):
        await served.refresh()
    assert set(served.missing) == {"paper", "live"}


async def test_one_that_can_never_be_opened_keeps_no_other_back(
    room: Room, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Its upstream is asked nothing; the others are, and the node starts."""
    entered = held(room)
    await entered.create(request(), Secret('{"value":"canary-1"}'), author=OPERATOR)
    await entered.create(request("live"), Secret("canary-2 is no object of its form"), author=OPERATOR)
    await entered.create(request("narrow"), Secret('{"value":"canary-3"}'), author=OPERATOR)
    async with storage_engine.transaction(room.engine) as conn:
        await conn.execute(
            sa.update(schema.secret_versions)
            .where(schema.secret_versions.c.secret_id == "upstream_narrow")
            .values(ciphertext=b"\x01" + b"broken" * 10)
        )
    served = serve()
    await served.refresh()
    assert lines(served) == b"x-api-key: canary-1\r\n"
    assert set(served.missing) == {"narrow"}
    assert "canary" not in caplog.text
    assert "narrow" in caplog.text


async def test_what_has_not_changed_is_not_made_anew(room: Room, serve: Serve) -> None:
    """Another change in the store leaves a credential, and a token it may hold, as it is."""
    served, entered = serve(), held(room)
    await entered.create(request(), Secret('{"value":"first"}'), author=OPERATOR)
    await served.refresh()
    before = served.by_upstream["paper"]
    await entered.create(request("live"), Secret('{"value":"live"}'), author=OPERATOR)
    await entered.announce("paper", Secret('{"value":"second"}'), author=OPERATOR)
    await served.refresh()
    assert served.by_upstream["paper"] is before
