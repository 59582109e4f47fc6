"""Secrets as configuration names them: `env:NAME`, `file:PATH`, `kms:…`.

Invariant: no error here carries a value, nor a text that is not a well-formed reference, since that may be
the secret itself, pasted where its reference belongs. Refuses a file that its group or the world can reach,
an empty secret, and `kms:`, which no KMS backend here can resolve.
"""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from keys.secret import Secret

_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|(?:file|kms):[^\x00-\x1f\x7f]+", re.ASCII)
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MAX_BYTES = 65_536


class MalformedReference(ValueError):
    def __init__(self) -> None:
        super().__init__('a secret stands here as a reference: "env:NAME", "file:PATH" or "kms:…"')


class UnresolvedReference(Exception):
    """A well-formed reference that leads to no usable secret. Names the reference, never what was found."""

    def __init__(self, reference: "Reference", problem: str) -> None:
        super().__init__(f"{reference}: {problem}")
        self.reference = reference
        self.problem = problem


class Reference(Struct, frozen=True):
    kind: Literal["env", "file", "kms"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def parse(text: str) -> Reference:
    if _REFERENCE.fullmatch(text) is None:
        raise MalformedReference
    kind, _, name = text.partition(":")
    match kind:
        case "env" | "file" | "kms":
            return Reference(kind, name)
        case _:
            raise MalformedReference


def anchor(text: str, directory: Path) -> str:
    """Make a relative `file:` absolute. What is malformed comes back as it is; a check names its place."""
    try:
        reference = parse(text)
    except MalformedReference:
        return text
    return f"file:{directory / reference.name}" if reference.kind == "file" else text


def get_path(text: str) -> Path:
    """Where a `file:` reference leads, for those who create or open the file themselves."""
    reference = parse(text)
    if reference.kind != "file":
        raise UnresolvedReference(reference, "a file: reference is needed here")
    return Path(reference.name)


def resolve(text: str, environ: Mapping[str, str]) -> Secret:
    reference = parse(text)
    value = _read(reference, environ)
    if not value:
        raise UnresolvedReference(reference, "is empty")
    return Secret(value)


def _read(reference: Reference, environ: Mapping[str, str]) -> str:
    match reference.kind:
        case "env":
            return _read_variable(reference, environ)
        case "file":
            return _read_file(reference)
        case "kms":
            raise UnresolvedReference(reference, "kms: is not available with this KMS backend")


def _read_variable(reference: Reference, environ: Mapping[str, str]) -> str:
    value = environ.get(reference.name)
    if value is None:
        raise UnresolvedReference(reference, "the environment variable is not set")
    return value


def _read_file(reference: Reference) -> str:
    if not Path(reference.name).is_absolute():
        raise UnresolvedReference(reference, "the path is not absolute")
    try:
        # Not blocking: a pipe put there would otherwise hold the start for ever, and is then no regular file.
        descriptor = os.open(reference.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as failure:
        raise UnresolvedReference(reference, f"cannot be opened: {failure.strerror}") from None
    try:
        # Asked of what was opened, so that nobody can put another file there in between.
        _require_private(reference, os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            content = opened.read(_MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > _MAX_BYTES:
        raise UnresolvedReference(reference, f"is longer than {_MAX_BYTES} bytes")
    return _decode(reference, content)


def _require_private(reference: Reference, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnresolvedReference(reference, "is not a regular file")
    if status.st_mode & _OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        raise UnresolvedReference(
            reference, f"is open to its group or the world (mode {mode:04o}): chmod 600 it"
        )


def _decode(reference: Reference, content: bytes) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        # Not chained: that exception holds the content.
        raise UnresolvedReference(reference, "is not UTF-8 text") from None
    # One line end, which editors and `echo` add; a second one would be part of the secret.
    return text.removesuffix("\n").removesuffix("\r")
