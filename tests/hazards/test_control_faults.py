"""The control surface while its store is away: a clear answer in bounded time, and nothing half done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support import control_roles, databases, problems
from tests.support.control_node import control_node
from tests.support.servers import PostgresServer

KEYS = "/control/v1/keys"
WANTED = {"partner": "acme", "environment": "live", "algorithm": "hmac-sha256", "roles": ["trader"]}


async def test_without_its_database_it_says_so_and_goes_on_once_it_is_back(
    tmp_path: Path, new_postgres_server: Callable[..., PostgresServer]
) -> None:
    """A create that was refused so is done when it is sent again, once."""
    server = new_postgres_server()
    databases.run_sql(server.url(), "CREATE DATABASE control")
    async with control_node(tmp_path, control_roles.policies(), storage=server.url("control")) as node:
        officer = await node.key(control_roles.OFFICER)
        before = (await node.ask(officer, "GET", KEYS)).json()["items"]
        server.stop()
        problems.check(await node.ask(officer, "GET", KEYS), "store_unavailable")
        away = await node.ask(officer, "POST", KEYS, WANTED, idempotency_key="while-away")
        problems.check(away, "store_unavailable")
        # What needs no store is answered as ever.
        assert (await node.ask(officer, "GET", "/edge/v1/whoami")).status == 200
        server.start()
        made = await node.ask(officer, "POST", KEYS, WANTED, idempotency_key="while-away")
        assert (made.status, made.json()["secret_shown"]) == (201, False)
        after = (await node.ask(officer, "GET", KEYS)).json()["items"]
        assert [key["id"] for key in after] == [key["id"] for key in before] + [made.json()["key"]["id"]]
