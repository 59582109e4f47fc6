"""Public keys as partners send them: a file with one JSON Web Key, or with a JWKS that holds one.

Refuses a file with several: each key is a version of its own, and comes by a rotation.
"""

from pathlib import Path

import click
import msgspec

from gateway.cli import context
from keys import public_jwks


def read(file: Path) -> bytes:
    with context.reported():
        content = file.read_bytes()
        if len(content) > public_jwks.LARGEST:
            raise public_jwks.InvalidJwk("the file is too large")
        try:
            found = public_jwks.parse_set(msgspec.json.decode(content))
        except msgspec.DecodeError:
            raise public_jwks.InvalidJwk("the file is not JSON") from None
    if len(found) != 1:
        raise click.ClickException(
            f"the file holds {len(found)} keys for signatures: give one, and the next by `portreeve secrets rotate`"
        )
    return found[0].serialise()
