"""From a table of the configuration to the KMS key that it names: the one place that builds KMS backends.

Invariant: each backend's library is imported only where a table names it. `create_key` makes what a deployment
keeps itself, a master key file or a key in an HSM; a key of AWS KMS is there already, or the configuration is wrong.
"""

import os
from pathlib import Path
from typing import assert_never

from gateway import references
from gateway.settings import KmsKeySettings
from keys import kms
from keys.kms.aws import AwsKms
from keys.kms.local import LocalKms
from keys.kms.pkcs11 import Pkcs11Kms
from keys.secret import Secret


def open_key(table: KmsKeySettings) -> kms.KmsBackend:
    match table.backend:
        case "local":
            return LocalKms(master_key_file(table), _find_secret(table.passphrase))
        case "aws":
            return AwsKms(_given(table.key), endpoint=table.endpoint, timeout_ms=table.timeout_ms)
        case "pkcs11":
            return _open_hsm(table)
        case _:
            assert_never(table.backend)


def describe(table: KmsKeySettings) -> str:
    match table.backend:
        case "local":
            return f"master key {master_key_file(table)}"
        case "aws":
            return f"AWS KMS key {table.key}"
        case "pkcs11":
            return f"key {table.key} in the HSM {table.hsm}"
        case _:
            assert_never(table.backend)


async def has_key(table: KmsKeySettings) -> bool:
    match table.backend:
        case "local":
            return master_key_file(table).exists()
        case "aws":
            return True
        case "pkcs11":
            hsm = _open_hsm(table)
            try:
                return await hsm.has_key()
            finally:
                await hsm.aclose()
        case _:
            assert_never(table.backend)


async def create_key(table: KmsKeySettings) -> None:
    if table.backend == "local":
        LocalKms.create(master_key_file(table), _find_secret(table.passphrase))
    elif table.backend == "pkcs11":
        hsm = _open_hsm(table)
        try:
            await hsm.create_key()
        finally:
            await hsm.aclose()


def master_key_file(table: KmsKeySettings) -> Path:
    return references.get_path(_given(table.master_key))


def _open_hsm(table: KmsKeySettings) -> Pkcs11Kms:
    return Pkcs11Kms(
        Path(_given(table.module)),
        _given(table.hsm),
        _given(table.key),
        references.resolve(_given(table.pin), os.environ),
        timeout_ms=table.timeout_ms,
    )


def _given(text: str | None) -> str:
    """The checks have seen to it that it is there."""
    if text is None:
        raise ValueError("these settings were not checked")
    return text


def _find_secret(reference: str | None) -> Secret | None:
    return None if reference is None else references.resolve(reference, os.environ)
