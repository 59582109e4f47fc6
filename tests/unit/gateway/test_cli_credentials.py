"""Where the signing key of `request` and `sign` comes from."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import credentials

PAPER = {
    "id": "prk_paper_1",
    "algorithm": "hmac-sha256",
    "environment": "paper",
    "roles": ["trader"],
    "partner": "acme",
    "secret": "prs_paper_1",
}
LIVE = {**PAPER, "id": "prk_live_2", "environment": "live", "secret": "prs_live_2"}
ED25519 = {**PAPER, "id": "prk_paper_3", "algorithm": "ed25519", "private_key_hex": "0" * 64}
del ED25519["secret"]
NO_SECRET = {**PAPER, "id": "prk_paper_4", "secret": None}


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    file = tmp_path / "demo.json"
    document = {"base_url": "http://g", "keys": [PAPER, LIVE, ED25519, NO_SECRET], "operators": [{"x": 1}]}
    file.write_text(json.dumps(document), "utf-8")
    return file


def sources(**given: Any) -> credentials.Sources:  # noqa: ANN401  any of the struct's fields
    nothing: dict[str, Any] = {"key_id": None, "secret_file": None, "credentials_file": None, "environ": {}}
    return credentials.Sources(**{**nothing, **given})


@pytest.mark.parametrize(
    ("key_id", "target", "found"),
    [
        (None, "/paper/v1/orders", ("prk_paper_1", "prs_paper_1")),
        (None, "/live/v1/orders", ("prk_live_2", "prs_live_2")),
        (None, "/edge/v1/whoami", ("prk_paper_1", "prs_paper_1")),
        ("prk_live_2", "/paper/v1/orders", ("prk_live_2", "prs_live_2")),
        ("prk_paper_3", "/", ("prk_paper_3", "0" * 64)),
    ],
)
def test_a_stored_key_is_found_by_id_or_by_environment(
    stored: Path, key_id: str | None, target: str, found: tuple[str, str]
) -> None:
    """A named key signs wherever it is sent; an unnamed one is chosen to fit the target."""
    key = credentials.find_signing_key(sources(key_id=key_id, credentials_file=stored), target)
    assert (key.id, key.secret.reveal()) == found


@pytest.mark.parametrize("key_id", ["prk_paper_9", "prk_paper_4"])
def test_a_key_without_a_stored_secret_is_refused(stored: Path, key_id: str) -> None:
    """No other key is quietly used in its place."""
    with pytest.raises(credentials.NoCredentials, match=key_id):
        credentials.find_signing_key(sources(key_id=key_id, credentials_file=stored), "/")


def test_a_secret_file_wins_over_the_environment_and_the_store(stored: Path, tmp_path: Path) -> None:
    """The order is fixed: file, variable, credentials."""
    file = tmp_path / "secret"
    file.write_text("prs_file\n", "ascii")
    environ = {credentials.SECRET_VARIABLE: "prs_variable"}
    everything = sources(key_id="k", secret_file=file, credentials_file=stored, environ=environ)
    assert credentials.find_signing_key(everything, "/").secret.reveal() == "prs_file"
    without_file = sources(key_id="k", credentials_file=stored, environ=environ)
    assert credentials.find_signing_key(without_file, "/").secret.reveal() == "prs_variable"


def test_a_bare_secret_needs_to_know_whose_it_is() -> None:
    """A secret without a key id signs nothing."""
    with pytest.raises(credentials.NoCredentials, match="--key"):
        credentials.find_signing_key(sources(environ={credentials.SECRET_VARIABLE: "prs_x"}), "/")


def test_a_given_source_that_fails_is_an_error(stored: Path, tmp_path: Path) -> None:
    """What was asked for and can't be read is not replaced by the next source."""
    missing = sources(key_id="k", secret_file=tmp_path / "missing", credentials_file=stored)
    with pytest.raises(credentials.NoCredentials, match="missing"):
        credentials.find_signing_key(missing, "/")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff")
    with pytest.raises(credentials.NoCredentials, match="not a secret"):
        credentials.find_signing_key(sources(key_id="k", secret_file=binary), "/")


def test_the_variable_names_a_credentials_file(stored: Path) -> None:
    """PORTREEVE_CREDENTIALS stands for --credentials."""
    environ = {credentials.CREDENTIALS_VARIABLE: str(stored)}
    found = credentials.find_credentials(sources(environ=environ))
    assert found is not None
    assert found.base_url == "http://g"


def test_nothing_given_and_nothing_stored_says_what_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the ways to give a secret."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(credentials.NoCredentials, match="--secret-file or PORTREEVE_SECRET"):
        credentials.find_signing_key(sources(), "/")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"\xff", b'{"keys": []}', b'{"base_url": "x", "keys": [{}]}']
)
def test_a_file_that_is_no_credentials_is_refused(tmp_path: Path, content: bytes) -> None:
    """A wrong file is named, not ignored."""
    file = tmp_path / "wrong.json"
    file.write_bytes(content)
    with pytest.raises(credentials.NoCredentials, match=r"wrong\.json"):
        credentials.find_credentials(sources(credentials_file=file))


def test_an_empty_credentials_file_has_no_key_to_offer(tmp_path: Path) -> None:
    """No keys stored means none found."""
    file = tmp_path / "empty.json"
    file.write_text('{"base_url": "http://g"}', "ascii")
    with pytest.raises(credentials.NoCredentials, match="any key"):
        credentials.find_signing_key(sources(credentials_file=file), "/")
