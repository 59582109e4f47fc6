"""Data keys and signing keys over the control surface: to look at, for whoever reaches all partners."""

from __future__ import annotations

from pathlib import Path

from tests.support import control_roles, problems
from tests.support.control_node import control_node


async def test_what_seals_and_what_signs_is_shown_to_operators(tmp_path: Path) -> None:
    """As it is stored, without anything of a key; a partner's operator is told nothing."""
    async with control_node(tmp_path, control_roles.policies()) as node:
        officer, admin = await node.key(control_roles.OFFICER), await node.key(control_roles.ADMIN)
        data_keys = (await node.ask(officer, "GET", "/control/v1/kms")).json()["items"]
        assert {each["environment"] for each in data_keys} >= {"live", "service"}
        assert {(each["state"], each["epoch"]) for each in data_keys} == {("active", 1)}
        assert all(each["wrapped_by"][0].startswith("local key ") for each in data_keys)
        assert sum(each["secrets"] for each in data_keys) == 5
        signing = (await node.ask(officer, "GET", "/control/v1/rings")).json()["items"]
        assert {(each["ring"], each["state"]) for each in signing} == {
            ("access", "active"),
            ("identity", "active"),
            ("ledger", "active"),
        }
        for target in ("/control/v1/kms", "/control/v1/rings"):
            problems.check(await node.ask(admin, "GET", target), "permission_denied")
