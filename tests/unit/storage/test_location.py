"""Storage URLs: what is understood, what is refused, and what never shows."""

from __future__ import annotations

import secrets
import ssl
import traceback
from pathlib import Path

import pytest
import trustme

from storage import location


def parse_postgresql(url: str, password: str | None = None) -> location.PostgresqlLocation:
    found = location.parse(url, password=password)
    assert isinstance(found, location.PostgresqlLocation)
    return found


@pytest.mark.parametrize("written", ["portreeve.db", "state/portreeve.db", "/var/lib/portreeve/portreeve.db"])
def test_a_file_is_named_relative_or_absolute_and_kept_absolute(written: str) -> None:
    """A later change of the working directory leads to no other file."""
    assert location.parse(f"sqlite:{written}") == location.SqliteLocation(Path.cwd() / written)


@pytest.mark.parametrize("path", ["", ":memory:", "//portreeve.db", "///portreeve.db"])
def test_a_file_that_two_tools_would_read_differently_is_refused(path: str) -> None:
    """Slashes after the scheme mean relative to some and absolute to others; memory is no store."""
    with pytest.raises(location.InvalidStorageUrl):
        location.parse(f"sqlite:{path}")


def test_a_password_for_a_file_is_refused() -> None:
    """It would be ignored, and the file be thought protected."""
    with pytest.raises(location.InvalidStorageUrl):
        location.parse("sqlite:portreeve.db", password="swordfish")


def test_a_server_is_named_with_role_host_port_and_database() -> None:
    """Percent escapes stand for what a URL cannot carry."""
    url = parse_postgresql("postgresql://port%40reeve@127.0.0.1:6543/the%20book").driver_url
    assert (url.username, url.host, url.port, url.database) == ("port@reeve", "127.0.0.1", 6543, "the book")


def test_the_password_comes_from_beside_the_url_or_from_the_url() -> None:
    """Either way the driver gets it as it is."""
    beside = parse_postgresql("postgresql://portreeve@localhost/book", "sword/fish")
    inside = parse_postgresql("postgresql://portreeve:sword%2Ffish@localhost/book")
    assert beside.driver_url.password == inside.driver_url.password == "sword/fish"


def test_two_passwords_are_refused() -> None:
    """Nobody knows which one was meant."""
    with pytest.raises(location.InvalidStorageUrl):
        location.parse("postgresql://portreeve:swordfish@localhost/book", password="other")


def test_the_password_shows_in_no_text_form() -> None:
    """Not in the value's, not in the URL's."""
    found = parse_postgresql("postgresql://portreeve@localhost/book", "swordfish")
    assert "swordfish" not in f"{found!r} {found} {found.driver_url!r} {found.driver_url}"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://portreeve@localhost/book",
        "portreeve.db",
        "postgres://portreeve@localhost/book",
        "postgresql://localhost/book",
        "postgresql://portreeve@/book",
        "postgresql://portreeve@localhost",
        "postgresql://portreeve@localhost/",
        "postgresql://portreeve@localhost/book/page",
        "postgresql://portreeve@localhost/book#page",
        "postgresql://portreeve@localhost:port/book",
        "postgresql://portreeve@localhost:99999/book",
        "postgresql://portreeve@localhost/book?application_name=x",
        "postgresql://portreeve@localhost/book?sslmode=disable&sslmode=verify-full",
        "postgresql://portreeve@localhost/book?sslmode=prefer",
        "postgresql://portreeve@localhost/book?sslmode=require",
        "postgresql://portreeve@localhost/book?sslmode=verify-full&sslrootcert=/no/such/file",
    ],
)
def test_what_is_not_understood_is_refused(url: str) -> None:
    """No part of a URL is silently without effect, and no mode encrypts without checking."""
    with pytest.raises(location.InvalidStorageUrl):
        location.parse(url)


def test_a_refusal_does_not_quote_the_url() -> None:
    """A password in the wrong place is still a password, also in what a traceback prints of the causes."""
    password = secrets.token_hex()
    with pytest.raises(location.InvalidStorageUrl) as refused:
        location.parse(f"postgresql://portreeve@localhost:{password}/book")
    assert password not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_on_this_machine_nothing_is_encrypted_by_default(host: str) -> None:
    """Loopback crosses no network."""
    assert parse_postgresql(f"postgresql://portreeve@{host}/book").tls is False


@pytest.mark.parametrize("host", ["db.internal", "10.0.0.5", "localhost.example", "[2001:db8::1]"])
def test_over_a_network_the_server_is_checked_by_default(host: str) -> None:
    """Encrypted, its certificate verified, its name compared."""
    tls = parse_postgresql(f"postgresql://portreeve@{host}/book").tls
    assert isinstance(tls, ssl.SSLContext)
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert tls.check_hostname


def test_going_unencrypted_over_a_network_has_to_be_said() -> None:
    """The URL says so, for everyone who reads it."""
    assert parse_postgresql("postgresql://portreeve@db.internal/book?sslmode=disable").tls is False


def test_authority_and_client_certificate_are_files_of_the_operator(tmp_path: Path) -> None:
    """Named in the URL as libpq names them."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("portreeve").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "me.pem"))
    options = f"sslrootcert={tmp_path}/ca.pem&sslcert={tmp_path}/me.pem"
    tls = parse_postgresql(f"postgresql://portreeve@db.internal/book?{options}").tls
    assert isinstance(tls, ssl.SSLContext)
    assert tls.cert_store_stats()["x509_ca"] == 1
