"""The demo's configuration: the example that ships with the package, with this run's ports in it.

Invariant: a file that somebody has edited is never written over; only its ports are brought up to date, and the port in
an issuer on the loopback: there clients find the gateway by its issuer. A
file that nobody has edited follows the package. The first line carries the digest that tells the two apart.
"""

import hashlib
import re
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

from gateway.demo import private_file

CONFIG_NAME: Final = "portreeve.toml"
POLICIES_NAME: Final = "policies.toml"
_MARK: Final = (
    "# Written by `portreeve demo`, and kept once you change it. As written, what follows had sha256 "
)
_LOOPBACK_ISSUER: Final = re.compile(r'^(issuer *= *"http://127\.0\.0\.1:)[0-9]+(")', re.MULTILINE)


class UnusableExample(Exception):
    """The configuration lacks a line that the demo has to set."""


class Ports(msgspec.Struct, frozen=True):
    gateway: int
    paper: int
    live: int


def render(state_dir: Path, ports: Ports) -> Path:
    """Write both files and answer with the configuration's path."""
    _write(state_dir / POLICIES_NAME, None)
    config = state_dir / CONFIG_NAME
    _write(config, ports)
    return config


def _write(path: Path, ports: Ports | None) -> None:
    first_line, kept = _find_edited(path)
    body = (
        kept if kept is not None else resources.files("gateway.demo").joinpath(path.name).read_text("utf-8")
    )
    if ports is not None:
        body = _set_ports(body, ports)
    if kept is None:
        first_line = f"{_MARK}{_digest(body)}\n"
    private_file.write(path, (first_line + body).encode())


def _find_edited(path: Path) -> tuple[str, str | None]:
    """The mark and what follows it, when that is no longer what the demo wrote."""
    if not path.exists():
        return "", None
    text = path.read_text("utf-8")
    first_line, _, body = text.partition("\n")
    if not first_line.startswith(_MARK):
        return "", text
    return (first_line + "\n", None if first_line == _MARK + _digest(body) else body)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _set_ports(body: str, ports: Ports) -> str:
    body = _set(body, "server", "port", str(ports.gateway))
    body = _LOOPBACK_ISSUER.sub(rf"\g<1>{ports.gateway}\g<2>", body, count=1)
    body = _set(body, "upstreams.paper-trading", "url", f'"http://127.0.0.1:{ports.paper}"')
    return _set(body, "upstreams.live-trading", "url", f'"http://127.0.0.1:{ports.live}"')


def _set(body: str, table: str, key: str, value: str) -> str:
    """Put a value into the one line that sets the key; what else stands on it stays."""
    own_lines = r"[^\n]*(?:\n(?!\[)[^\n]*)*?\n"  # up to the next table
    line = re.compile(rf'(^\[{re.escape(table)}\]{own_lines}{key} *= *)(?:"[^"\n]*"|[^\s#"]+)', re.MULTILINE)
    changed, count = line.subn(lambda match: match[1] + value, body, count=1)
    if not count:
        raise UnusableExample(f"{CONFIG_NAME} sets no {key} in [{table}]: the demo needs that line")
    return changed
