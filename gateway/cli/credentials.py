"""Which key `request` and `sign` use, and where its secret comes from.

Invariant: a secret is never an argument on the command line, where every process could read it. It
comes from a file, from the environment, or from a credentials file such as the demo's; the first
that is given wins, and a source that is given but unusable is an error, not a reason to try the next.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from gateway.cli import client
from keys.secret import Secret

SECRET_VARIABLE: Final = "PORTREEVE_SECRET"  # noqa: S105  the name of a variable, not what is in it
CREDENTIALS_VARIABLE: Final = "PORTREEVE_CREDENTIALS"
DEMO_FILE: Final = Path(".portreeve/demo.json")


class NoCredentials(Exception):
    """Nothing says which key to sign with, or the secret that belongs to it."""


class DemoKey(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    algorithm: str
    environment: str
    roles: tuple[str, ...]
    partner: str
    secret: str | None = None
    private_key_hex: str | None = None


class Credentials(msgspec.Struct, frozen=True):
    """What signing takes of a file such as `demo.json`; whatever else stands there is left alone."""

    base_url: str
    keys: tuple[DemoKey, ...] = ()


class Sources(msgspec.Struct, frozen=True):
    key_id: str | None
    secret_file: Path | None
    credentials_file: Path | None
    environ: Mapping[str, str]


def find_signing_key(sources: Sources, target: str) -> client.SigningKey:
    shown = _given_secret(sources)
    if shown is not None:
        if sources.key_id is None:
            raise NoCredentials("a secret was given, but not whose it is: add --key")
        return client.SigningKey(sources.key_id, Secret(shown))
    stored = find_credentials(sources)
    if stored is None:
        raise NoCredentials(
            f"no secret: give --secret-file or {SECRET_VARIABLE}, or a file of credentials like {DEMO_FILE}"
        )
    return _from_stored(stored, sources.key_id, target)


def find_credentials(sources: Sources) -> Credentials | None:
    named = sources.credentials_file or sources.environ.get(CREDENTIALS_VARIABLE)
    path = Path(named) if named else DEMO_FILE
    if not named and not path.exists():
        return None
    return read_credentials(path)


def read_credentials(path: Path) -> Credentials:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    except OSError as error:
        raise NoCredentials(f"{path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NoCredentials(f"{path}: {error}") from None


def _given_secret(sources: Sources) -> str | None:
    if sources.secret_file is None:
        return sources.environ.get(SECRET_VARIABLE) or None
    try:
        return sources.secret_file.read_text("ascii").strip()
    except OSError as error:
        raise NoCredentials(f"{sources.secret_file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NoCredentials(f"{sources.secret_file}: not a secret") from None


def _from_stored(stored: Credentials, key_id: str | None, target: str) -> client.SigningKey:
    for key in stored.keys:
        shown = key.secret or key.private_key_hex
        wanted = key.id == key_id if key_id else target.startswith(f"/{key.environment}/")
        if shown and wanted:
            return client.SigningKey(key.id, Secret(shown))
    if key_id is None and stored.keys:
        return _from_stored(stored, stored.keys[0].id, target)  # any known key: the gateway's own paths
    raise NoCredentials(f"the credentials file holds no secret for {key_id or 'any key'}")
