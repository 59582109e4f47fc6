"""The table [people]: what it refuses before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import people, settings
from gateway.demo import example


def load(tmp_path: Path, lines: str, issuer: str = "https://gate.acme.example") -> settings.Settings:
    file = example.render(tmp_path, example.Ports(8080, 1, 2))
    text = file.read_text()
    head, _, rest = text.partition("[people]\n")
    rest = rest.partition("\n\n")[2]
    file.write_text(
        head.replace('issuer = "https://portreeve.example"', f'issuer = "{issuer}"')
        + f"[people]\n{lines}\n\n"
        + rest
    )
    return settings.load(file)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("idle_ms = 600000\nabsolute_ms = 300000", "people.idle_ms: is more than absolute_ms (300000)"),
        ("step_up_ms = 50000000", "people.step_up_ms: is more than absolute_ms"),
        ("idle_ms = 1", "people.idle_ms: expected"),
        ('relying_party = "evil.example"', "people.relying_party: is neither the issuer's host"),
        ('relying_party = "example"', "people.relying_party: is neither"),
        ('relying_party = "cme.example"', "people.relying_party: is neither"),
        ('mail_from = "nobody"', "people.mail_from: is no address"),
        ('mail_from = "a@b.example\\nBcc: c@d.example"', "people.mail_from: is no address"),
        ('mail = "smtp"', 'people.mail: is "smtp", but there is no smtp_url'),
        ('smtp_url = "smtps://mail"', 'people.smtp_url: is set, but mail is not "smtp"'),
        ('mail = "smtp"\nsmtp_url = "http://mail"', "people.smtp_url: begins with neither"),
        ('mail = "smtp"\nsmtp_url = "smtps://a:b@mail"', "people.smtp_url: carries a password"),
        ('mail = "smtp"\nsmtp_url = "smtps://a@mail"', "people.smtp_password: and the account"),
        (
            'mail = "smtp"\nsmtp_url = "smtps://a@mail"\nsmtp_password = "hunter2hunter2"',
            "people.smtp_password: a secret stands here as a reference",
        ),
    ],
)
def test_refuses(tmp_path: Path, lines: str, told: str) -> None:
    """With the place, and never with a password that stands in it by mistake."""
    with pytest.raises(settings.SettingsError) as refused:
        load(tmp_path, lines)
    assert told in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("issuer", "configured", "party", "origin"),
    [
        ("https://gate.acme.example", None, "gate.acme.example", "https://gate.acme.example"),
        ("https://gate.acme.example/p", "acme.example", "acme.example", "https://gate.acme.example"),
        ("http://localhost:8080", None, "localhost", "http://localhost:8080"),
    ],
)
def test_passkeys_are_made_for_the_issuers_host(
    issuer: str, configured: str | None, party: str, origin: str
) -> None:
    """Or for a domain above it; they are used from the issuer's own origin alone."""
    found = people.find_party(issuer, configured)
    assert (found.id, found.origin) == (party, origin)


def test_a_password_file_lies_beside_the_configuration(tmp_path: Path) -> None:
    """As every reference to a file does."""
    lines = 'mail = "smtp"\nsmtp_url = "smtps://a@mail"\nsmtp_password = "file:secret"'
    assert load(tmp_path, lines).people.smtp_password == f"file:{tmp_path / 'secret'}"
