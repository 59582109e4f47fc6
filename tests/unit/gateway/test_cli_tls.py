"""TLS settings of upstreams, as the command line meets them: told in a line, before anything starts."""

import json
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest
import trustme

from gateway import cli
from tests.support.commands import Run, read


@pytest.fixture
def lead_by_tls(place: Path) -> Callable[[str], None]:
    """Has the upstream `paper-trading` reached by TLS, with these settings."""

    def write(tls: str) -> None:
        file = place / ".portreeve/portreeve.toml"
        head, upstream, rest = file.read_text("utf-8").partition("[upstreams.paper-trading]\n")
        rest = rest.replace("http://", "https://", 1)
        file.write_text(f"{head}{upstream}tls = {{ {tls} }}\n{rest}", "utf-8")

    return write


@pytest.mark.parametrize(
    ("tls", "why"),
    [
        ('ca_file = "absent.pem"', "the CA file cannot be used"),
        ('ca_file = "policies.toml"', "the CA file cannot be used"),
        ('client_cert_file = "absent.pem", client_key = "file:absent.key"', "absent.key"),
        ('client_cert_file = "policies.toml", client_key = "file:policies.toml"', "cannot be used together"),
    ],
)
def test_tls_that_can_not_be_used_is_told_before_anything_starts(
    store: Run, lead_by_tls: Callable[[str], None], tls: str, why: str
) -> None:
    """`config check` and `serve` say so in a line that names the upstream, and the doctor calls it a failure."""
    lead_by_tls(tls)
    for command in (("config", "check"), ("serve",)):
        told = store(*command, code=1).stderr
        assert told.startswith("Error: upstreams.paper-trading.tls: ")
        assert why in told
    result = click.testing.CliRunner().invoke(cli.cli, ["doctor", "--json"])
    failed = {
        one["subject"]: one["detail"] for one in json.loads(result.stdout) if one["verdict"] == "failed"
    }
    assert failed.keys() == {"upstream TLS"}
    assert why in failed["upstream TLS"]


def test_tls_that_can_be_used_holds(store: Run, lead_by_tls: Callable[[str], None], place: Path) -> None:
    """An authority of one's own is read, by `config check` and by the doctor."""
    trustme.CA().cert_pem.write_to_path(place / ".portreeve/ca.pem")
    lead_by_tls('ca_file = "ca.pem"')
    store("config", "check")
    verdicts = {one["subject"]: one["verdict"] for one in read(store("doctor", "--json"))}
    assert verdicts["upstream TLS"] == "ok"
