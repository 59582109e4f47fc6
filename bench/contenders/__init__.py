"""Who is compared: every contender behind one Protocol, so that one measurement treats them all alike.

Invariant: a contender that can't run here says what it lacks; none leaves the list for being absent.
"""

from __future__ import annotations

from typing import Protocol

from bench.contenders.envoy import EnvoyJwt
from bench.contenders.nginx import NginxPlain
from bench.contenders.nginx_lua import NginxLua
from bench.contenders.portreeve import Portreeve
from bench.deployment import TARGET
from bench.ground import Ground


class Running(Protocol):
    """A contender that answers. `pid` is the root of its process tree."""

    @property
    def port(self) -> int: ...

    @property
    def pid(self) -> int: ...

    def requests(self, count: int, *, target: str = TARGET, body: bytes = b"") -> list[bytes]:
        """Ready to send, each with a nonce or a JWT of its own."""

    def tampered(self, count: int) -> list[bytes]:
        """One byte changed of what is signed."""

    def expired(self, count: int) -> list[bytes]:
        """Rightly signed, too long ago."""

    def stop(self) -> None: ...


class Contender(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def checks(self) -> frozenset[str]:
        """Of `signature` and `replay`: what it must refuse with 401."""

    def missing(self, ground: Ground) -> str | None:
        """What is not installed, or None."""

    def start(self, ground: Ground) -> Running:
        """Returns when it answers; raises with its log otherwise."""


def all_of(quick: bool) -> list[Contender]:
    """Two workers are left out of a quick run: what one request costs shows with one."""
    contenders: list[Contender] = [
        NginxPlain(),
        NginxLua(),
        EnvoyJwt(),
        Portreeve("portreeve-hmac"),
        Portreeve("portreeve-hmac-redis", redis=True),
        Portreeve("portreeve-ed25519", algorithm="ed25519"),
        Portreeve("portreeve-ed25519-redis", algorithm="ed25519", redis=True),
        Portreeve("portreeve-bearer", algorithm="bearer", redis=True),
        Portreeve("portreeve-dpop", algorithm="dpop", redis=True),
    ]
    return contenders if quick else [*contenders, Portreeve("portreeve-hmac-redis-2", redis=True, workers=2)]
