"""Where a webhook may lead: one strict reading of its URL, and the check of every address that its name has. Pure.

Invariant: what is connected to is what was checked: the host is looked up once, each address of the answer must pass,
and only those are dialled. A host is a name in ASCII or one canonical address; whatever another reader could take for
something else is refused: names and passwords in it, backslashes, spaces, fragments, numbers in odd notations, names
outside ASCII (they have their `xn--` form), addresses with a zone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import Final, Literal

from msgspec import Struct

from gateway.webhooks import addresses
from keys.webhook_records import InvalidUrl

LONGEST_URL: Final = 2_048

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<target>/[!$&'()*+,;=:@/?A-Za-z0-9._~%-]*)?",
    re.ASCII,
)
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
# By the rule of the URL standard, a host whose last label is a number is an address, however it is written.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_LONGEST_NAME: Final = 253
_LAST_PORT: Final = 65_535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK_V4: Final = IPv4Network("127.0.0.0/8")
_LOOPBACK_V6: Final = IPv6Address("::1")
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class AddressRefused(Exception):
    """A name that leads where nobody may make us go."""


class Rules(Struct, frozen=True):
    """`networks`: exceptions for targets of the company's own. `ports`: none named means any.

    `http_loopback`: plain HTTP to this machine alone, for demos and tests.
    """

    networks: tuple[addresses.Network, ...] = ()
    ports: tuple[int, ...] = ()
    http_loopback: bool = False


class Target(Struct, frozen=True):
    """`host` without brackets; `path` is path and query as they are sent."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    path: str

    def __repr__(self) -> str:
        return f"Target({self.origin})"

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.authority}"

    @property
    def address(self) -> addresses.Address | None:
        """The host, where it is one."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None


def parse(url: str, rules: Rules) -> Target:
    if len(url) > LONGEST_URL:
        raise InvalidUrl(f"a URL has at most {LONGEST_URL} characters")
    found = _URL.fullmatch(url)
    if found is None:
        raise InvalidUrl(
            "a URL is https://HOST[:PORT]/PATH in visible ASCII, without name, password or fragment;"
            " a name outside ASCII is written in its xn-- form"
        )
    scheme: Literal["http", "https"] = "https" if found["scheme"] == "https" else "http"
    port = int(found["port"] or _DEFAULT_PORTS[scheme])
    target = Target(scheme, _parse_host(found["host"]), port, found["target"] or "/")
    _check(target, rules)
    return target


def check_addresses(target: Target, found: Sequence[str], rules: Rules) -> tuple[str, ...]:
    """Those that may be dialled: all of them, or none. A name that also leads inside is nobody's mistake."""
    for text in found:
        address = _read_address(text)
        if address is None or not _is_allowed(target, address, rules):
            raise AddressRefused("the name leads to an address that is not public")
    return tuple(dict.fromkeys(found))


def _check(target: Target, rules: Rules) -> None:
    if target.scheme == "http" and not (rules.http_loopback and target.host in _LOOPBACK_NAMES):
        raise InvalidUrl("a webhook's URL begins with https://")
    if target.port > _LAST_PORT or (rules.ports and target.port not in rules.ports):
        raise InvalidUrl("a port that webhooks may not use")
    address = target.address
    if address is not None and not _is_allowed(target, address, rules):
        raise InvalidUrl("an address that is not public")


def _is_allowed(target: Target, address: addresses.Address, rules: Rules) -> bool:
    if target.scheme == "http":
        return address in _LOOPBACK_V4 if isinstance(address, IPv4Address) else address == _LOOPBACK_V6
    return addresses.is_allowed(address, rules.networks)


def _parse_host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(IPv6Address(text[1:-1]))
        except AddressValueError:
            raise InvalidUrl("brackets hold an IPv6 address") from None
    name = text.lower()
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _parse_ipv4(name)
    if len(name) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise InvalidUrl("the host is neither a name nor an address")
    return name


def _parse_ipv4(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except AddressValueError:
        raise InvalidUrl(
            "an IPv4 address is written as four decimal numbers, without leading zeros"
        ) from None


def _read_address(text: str) -> addresses.Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
