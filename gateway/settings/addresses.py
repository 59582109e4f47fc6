"""Addresses as configuration writes them. No message shows one: a password may stand in it by mistake."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, urlsplit

from msgspec import Struct

from gateway.webhooks.addresses import is_never_allowed
from storage import location

Network = IPv4Network | IPv6Network

_VISIBLE = re.compile(r"[!-~]+")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", re.ASCII)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SECRET_PARAMETERS = frozenset({"password", "passfile", "sslpassword"})
_PORTS = {"http": 80, "https": 443}


class InvalidAddress(ValueError):
    """The message completes a sentence that begins with the place of the address."""


class UpstreamAddress(Struct, frozen=True):
    scheme: Literal["http", "https"]
    host: str
    port: int


def parse_upstream(text: str) -> UpstreamAddress:
    parts = _split(text)
    scheme: Literal["http", "https"]
    match parts.scheme:
        case "http" | "https" as scheme:
            pass
        case _:
            raise InvalidAddress('begins with neither "http://" nor "https://"')
    _refuse_userinfo(parts)
    if parts.path or "?" in text or "#" in text:
        raise InvalidAddress("has more than scheme, host and port: no path, no query, no slash at the end")
    return UpstreamAddress(scheme, _get_host(parts), _PORTS[scheme] if parts.port is None else parts.port)


def check_storage(url: str) -> None:
    if not url.startswith("sqlite:"):
        _refuse_password(_split(url))
    try:
        location.parse(url)
    except location.InvalidStorageUrl as failure:
        raise InvalidAddress(str(failure)) from None


def check_redis(url: str, *, cluster: bool) -> None:
    parts = _split(url)
    if parts.scheme not in {"redis", "rediss"}:
        raise InvalidAddress('begins with neither "redis://" nor "rediss://"')
    _refuse_password(parts)
    if "?" in url or "#" in url:
        raise InvalidAddress("has a query: options stand in [redis]")
    _get_host(parts)
    if re.fullmatch(r"/?|/[0-9]{1,4}", parts.path) is None:
        raise InvalidAddress("has something else than the number of a database as its path")
    if cluster and parts.path not in {"", "/", "/0"}:
        raise InvalidAddress("names a database, but a cluster has only 0")


def check_public(url: str) -> None:
    """An address under which others know the gateway: part of what they compare, so one spelling only."""
    parts = _split(url)
    _refuse_userinfo(parts)
    host = _get_host(parts)
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise InvalidAddress("has to be an https:// address; http:// only for loopback")
    if "?" in url or "#" in url or url.endswith("/"):
        raise InvalidAddress("has a query, a fragment or a slash at its end")


def is_host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None


def parse_network(text: str) -> Network:
    network = _parse_network(text)
    if network.prefixlen == 0:
        raise InvalidAddress(f'"{text}" is everyone, and anyone can write those headers')
    return network


def parse_target_network(text: str) -> Network:
    """One that webhooks may lead into although it is not public."""
    network = _parse_network(text)
    if network.prefixlen == 0:
        raise InvalidAddress(f'"{text}" is everywhere, this machine and what is beside it included')
    if is_never_allowed(network):
        raise InvalidAddress(f'"{text}" is where no webhook may lead, whatever stands here')
    return network


def _parse_network(text: str) -> Network:
    try:
        network = ip_network(text)
    except ValueError:
        raise InvalidAddress(f'"{text}" is no network such as "10.0.0.0/8" or "2001:db8::/32"') from None
    if "/" not in text:
        raise InvalidAddress(f'"{text}" is an address: a network of one is "{network}"')
    return network


def _split(url: str) -> SplitResult:
    # urlsplit drops line breaks and tabs; what was checked has to be what is used.
    if _VISIBLE.fullmatch(url) is None:
        raise InvalidAddress("holds a space, a control character or a character outside ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidAddress("is no well-formed url") from None
    if port == 0 or parts.netloc.endswith(":"):
        raise InvalidAddress("names no usable port")
    return parts


def _get_host(parts: SplitResult) -> str:
    if not parts.hostname or not is_host(parts.hostname):
        raise InvalidAddress("names no host")
    return parts.hostname


def _refuse_userinfo(parts: SplitResult) -> None:
    if "@" in parts.netloc:
        raise InvalidAddress("carries a name or password, which have no place in it")


def _refuse_password(parts: SplitResult) -> None:
    secrets = [
        name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if name in _SECRET_PARAMETERS
    ]
    if parts.password is not None or secrets:
        raise InvalidAddress('carries a password: put a reference to it under "password"')
