"""`[webhooks]`: what it may say, and what becomes of it."""

from pathlib import Path

import pytest

from gateway import settings
from gateway.upstream import TlsSettingsRefused
from gateway.webhooks import assembly
from keys.webhook_records import InvalidUrl
from tests.support import settings_files
from tests.support.custody import FakeClock
from tests.support.webhooks import Scene


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("allowed_networks", ["0.0.0.0/0"], "everywhere"),
        ("allowed_networks", ["10.0.0.1"], "a network of one"),
        ("allowed_networks", ["inside"], "no network"),
        ("allowed_networks", ["169.254.169.254/32"], "no webhook may lead"),
        ("allowed_networks", ["fe80::/16"], "no webhook may lead"),
        ("allowed_ports", [0], "allowed_ports"),
        ("retry_after_s", [0], "retry_after_s"),
        ("connect_ms", 20_000, "total_ms"),
        ("per_partner", 65, "concurrency"),
        ("follow_redirects", True, "unknown key"),
        ("verify", False, "unknown key"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, key: str, value: object, told: str) -> None:
    """By its place in the file."""
    (line,) = settings_files.refusal(tmp_path, settings_files.put("webhooks", key, value=value))
    assert "webhooks" in line
    assert told in line


def test_exceptions_of_the_operator_count_when_a_url_is_examined() -> None:
    """By default there are none."""
    strict = assembly.examine(settings.WebhooksSettings())
    inside = settings.WebhooksSettings(allowed_networks=("10.1.0.0/16",), allowed_ports=(8443,))
    assert assembly.examine(inside)("https://10.1.2.3:8443/x") == "https://10.1.2.3:8443"
    for examine, url in (
        (strict, "https://10.1.2.3:8443/x"),
        (assembly.examine(inside), "https://10.2.0.1:8443/"),
        (assembly.examine(inside), "https://10.1.2.3/"),
    ):
        with pytest.raises(InvalidUrl):
            examine(url)


async def test_a_node_that_is_not_to_tell_has_no_worker(scene: Scene) -> None:
    """Others do it: those that can reach the internet."""
    silent = settings.WebhooksSettings(deliver=False)
    worker = assembly.build_dispatch(silent, scene.room.engine, scene.webhooks, FakeClock(), bytes)
    assert worker is None


async def test_authorities_that_cannot_be_read_are_told_by_name(scene: Scene, tmp_path: Path) -> None:
    """Before anything is served."""
    missing = settings.WebhooksSettings(ca_file=str(tmp_path / "none.pem"))
    with pytest.raises(TlsSettingsRefused, match="webhooks"):
        assembly.build_dispatch(missing, scene.room.engine, scene.webhooks, FakeClock(), bytes)


def test_an_attempt_is_taken_for_lost_only_long_after_it_must_have_ended() -> None:
    """Whatever time an attempt may take."""
    for total_ms in (1_000, 60_000):
        plan = assembly.plan(settings.WebhooksSettings(connect_ms=1_000, total_ms=total_ms))
        assert plan.hold_ms >= 3 * total_ms + 60_000
