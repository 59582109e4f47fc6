"""The scanners of the configuration: each with keys of its own that are there and usable."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway import settings
from tests.support.settings_files import MINIMAL, put, refusal, write

PEM = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
)


def test_a_scanner_s_key_is_found_beside_the_configuration(tmp_path: Path) -> None:
    """A relative file starts from the configuration's own directory."""
    (tmp_path / "github.pem").write_bytes(PEM)
    loaded = settings.load(
        write(tmp_path, {**MINIMAL, "scanners": {"github": {"keys": {"k1": "github.pem"}}}})
    )
    assert loaded.scanners["github"].keys == {"k1": str(tmp_path / "github.pem")}


@pytest.mark.parametrize(
    ("scanners", "line"),
    [
        ({"github": {"keys": {"k1": "gone.pem"}}}, "scanners.github.keys.k1: {dir}/gone.pem cannot be read"),
        ({"github": {"keys": {"k1": "no.pem"}}}, "scanners.github.keys.k1: {dir}/no.pem is not a public key"),
        ({"github": {"key": {}}}, "scanners.github: unknown key key"),
        ({"GitHub": {"keys": {}}}, "scanners.GitHub: a name is"),
        (
            {"github": {"keys": {"k1": "ok.pem"}}, "other": {"keys": {"k1": "ok.pem"}}},
            "scanners.other.keys.k1: is a key of github too",
        ),
    ],
)
def test_refuses_keys_that_could_not_verify(tmp_path: Path, scanners: dict[str, object], line: str) -> None:
    """A report must not fail because of a mistake that a look at the file would have shown."""
    (tmp_path / "no.pem").write_text("nothing")
    (tmp_path / "ok.pem").write_bytes(PEM)
    expected = f"portreeve.toml: {line.format(dir=tmp_path)}"
    assert any(found.startswith(expected) for found in refusal(tmp_path, put("scanners", value=scanners)))
