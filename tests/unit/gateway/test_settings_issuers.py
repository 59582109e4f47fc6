"""Other issuers in the configuration, and where routes are reached: what does not hold is refused at its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway import settings, tokens
from tests.support import jws
from tests.support.settings_files import MINIMAL, Document, Edit, put, refusal, write

ISSUER: Document = {
    "issuer": "https://idp.example",
    "audience": "portreeve",
    "partner": "acme",
    "environment": "paper",
    "roles": {"desk": ["trader"]},
    "jwks_url": "https://idp.example/jwks.json",
}


def on_issuer(**changes: object) -> Edit:
    issuer = {name: value for name, value in {**ISSUER, **changes}.items() if value is not None}
    return put("oauth", value={"issuers": [issuer]})


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (on_issuer(issuer="https://gate.example"), "oauth.issuers[0].issuer: is this gateway's own"),
        (on_issuer(issuer="http://idp.example"), "oauth.issuers[0].issuer: does not begin with https://"),
        (on_issuer(audience=""), "oauth.issuers[0].audience: is empty"),
        (on_issuer(algorithms=[]), "oauth.issuers[0].algorithms: is empty"),
        (on_issuer(algorithms=["HS256"]), "oauth.issuers"),
        (on_issuer(types=[]), "oauth.issuers[0].types: names no type"),
        (on_issuer(types=[""]), "oauth.issuers[0].types: names no type"),
        (on_issuer(roles={}), "oauth.issuers[0].roles: is empty"),
        (on_issuer(roles={"desk": ["boss"]}), 'oauth.issuers[0].roles.desk: role "boss" is not'),
        (on_issuer(roles={"desk": []}), "oauth.issuers[0].roles.desk: names no role"),
        (on_issuer(jwks_url=None), "oauth.issuers[0]: needs exactly one of"),
        (on_issuer(jwks_file="keys.json"), "oauth.issuers[0]: needs exactly one of"),
        (on_issuer(jwks_url="http://idp.example/"), "oauth.issuers[0].jwks_url: it begins with https://"),
        (
            on_issuer(jwks_url="https://127.0.0.1/"),
            "oauth.issuers[0].jwks_url: an address that is not public",
        ),
        (on_issuer(jwks_url="https://169.254.169.254/"), "oauth.issuers[0].jwks_url: an address"),
        (on_issuer(jwks_url=None, jwks_file="absent.json"), "oauth.issuers[0].jwks_file: cannot be read"),
        (on_issuer(environment="prod"), "oauth.issuers"),
        (on_issuer(partner=None), "oauth.issuers"),
        (put("oauth", value={"issuers": [ISSUER, ISSUER]}), "oauth.issuers[1].issuer: is this gateway's own"),
        (put("oauth", value={"origins": ["https://gate.example/api"]}), "oauth.origins[0]: has more than"),
        (put("oauth", value={"origins": ["http://gate.example"]}), "oauth.origins[0]: has to be an https://"),
        (put("oauth", value={"key_networks": ["0.0.0.0/0"]}), "oauth.key_networks[0]: "),
        (put("oauth", value={"key_networks": ["10.0.0.1"]}), "oauth.key_networks[0]: "),
    ],
)
def test_what_does_not_hold_is_refused_at_its_place(tmp_path: Path, edit: Edit, line: str) -> None:
    """An issuer that could be confused with us, that lets everybody in, or that we could not verify."""
    assert any(found.startswith(f"portreeve.toml: {line}") for found in refusal(tmp_path, edit))


@pytest.mark.parametrize("content", ["", "[]", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "AA"}]}'])
def test_a_key_file_holds_keys(tmp_path: Path, content: str) -> None:
    """Without one that is taken, nothing of the issuer could ever pass."""
    (tmp_path / "keys.json").write_text(content)
    edit = on_issuer(jwks_url=None, jwks_file="keys.json")
    assert any("oauth.issuers[0].jwks_file: " in line for line in refusal(tmp_path, edit))


def load(directory: Path, oauth: dict[str, Any]) -> settings.Settings:
    return settings.load(write(directory, {**MINIMAL, "oauth": oauth}))


def test_a_key_file_lies_beside_the_configuration(tmp_path: Path) -> None:
    """A relative path starts from the directory of the file."""
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [jws.public_jwk(jws.P256)]}))
    issuer = {**ISSUER, "jwks_file": "keys.json"}
    del issuer["jwks_url"]
    loaded = load(tmp_path, {"issuers": [issuer], "key_ca_file": "ca.pem"})
    assert loaded.oauth.issuers[0].jwks_file == str(tmp_path / "keys.json")
    assert loaded.oauth.key_ca_file == str(tmp_path / "ca.pem")


def test_an_issuer_within_the_company_may_be_named(tmp_path: Path) -> None:
    """Where the operator has excepted its network."""
    oauth = {"issuers": [{**ISSUER, "jwks_url": "https://10.1.2.3/jwks"}], "key_networks": ["10.0.0.0/8"]}
    assert load(tmp_path, oauth).oauth.issuers[0].jwks_url == "https://10.1.2.3/jwks"


def test_a_proof_names_an_origin_that_is_configured(tmp_path: Path) -> None:
    """That of the issuer, of each resource that is an address, and those named beside: each once, in one spelling."""
    oauth = {
        "resources": ["https://API.gate.example:443/v1", "urn:gate:api"],
        "origins": ["https://gate.example", "https://eu.gate.example:8443"],
    }
    assert tokens.origins(load(tmp_path, oauth)) == (
        "https://gate.example",
        "https://api.gate.example",
        "https://eu.gate.example:8443",
    )


def test_tokens_are_for_the_issuer_where_nothing_else_is_named(tmp_path: Path) -> None:
    """The default audience is the issuer itself."""
    assert tokens.resources(load(tmp_path, {})) == ("https://gate.example",)
    assert tokens.resources(load(tmp_path, {"resources": ["urn:gate:api"]})) == ("urn:gate:api",)
