"""Whether what `[oauth]` says of other issuers, and of where routes are reached, holds together.

Refuses an issuer that is this gateway's own or stands there twice, keys that come from two places or from none, roles
that the policies do not have, and whatever cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from auth import jose
from gateway.settings import addresses
from gateway.settings.faults import Fault, quote_key
from gateway.settings.values import IssuerSettings, Settings
from gateway.webhooks import targets
from keys.webhook_records import InvalidUrl


class InvalidKeyFile(ValueError):
    pass


def find_issuer_faults(settings: Settings) -> Iterator[Fault]:
    oauth = settings.oauth
    for index, origin in enumerate(oauth.origins):
        yield from _address(f"oauth.origins[{index}]", partial(_check_origin, origin))
    for index, network in enumerate(oauth.key_networks):
        place = f"oauth.key_networks[{index}]"
        yield from _address(place, partial(addresses.parse_target_network, network))
    seen = {settings.service.issuer}
    for index, issuer in enumerate(oauth.issuers):
        place = f"oauth.issuers[{index}]"
        if issuer.issuer in seen:
            yield Fault(f"{place}.issuer", "is this gateway's own, or stands there twice")
        seen.add(issuer.issuer)
        yield from _check_issuer(place, issuer, settings)


def read_key_file(issuer: IssuerSettings) -> tuple[jose.VerificationKey, ...]:
    try:
        raw = Path(issuer.jwks_file or "").read_bytes()
        keys = jose.parse_key_set(jose.parse_json(raw), algorithms=issuer.algorithms)
    except OSError as failure:
        raise InvalidKeyFile(f"cannot be read: {failure.strerror}") from None
    except (jose.MalformedJws, jose.InvalidJwk) as failure:
        raise InvalidKeyFile(f"is no key set: {failure.why}") from None
    if not keys:
        raise InvalidKeyFile("holds no key of the algorithms that are taken")
    return keys


def _check_issuer(place: str, issuer: IssuerSettings, settings: Settings) -> Iterator[Fault]:
    yield from _address(f"{place}.issuer", partial(_check_https, issuer.issuer))
    if not issuer.audience:
        yield Fault(f"{place}.audience", "is empty: any token of this issuer would be one for us")
    if not issuer.algorithms:
        yield Fault(f"{place}.algorithms", "is empty: no token could be taken")
    if not issuer.types or not all(issuer.types):
        yield Fault(f"{place}.types", "names no type, or an empty one")
    yield from _check_roles(place, issuer, settings)
    if (issuer.jwks_url is None) == (issuer.jwks_file is None):
        yield Fault(place, "needs exactly one of jwks_url and jwks_file")
    elif issuer.jwks_url is not None:
        yield from _check_url(f"{place}.jwks_url", issuer.jwks_url, settings)
    else:
        try:
            read_key_file(issuer)
        except InvalidKeyFile as failure:
            yield Fault(f"{place}.jwks_file", str(failure))


def _check_roles(place: str, issuer: IssuerSettings, settings: Settings) -> Iterator[Fault]:
    if not issuer.roles:
        yield Fault(f"{place}.roles", "is empty: nobody could be let in")
    for theirs, ours in issuer.roles.items():
        unknown = [role for role in ours if role not in settings.policies.roles]
        if unknown or not ours:
            named = f'role "{unknown[0]}" is not in the policies' if unknown else "names no role"
            yield Fault(f"{place}.roles.{quote_key(theirs)}", named)


def _check_url(place: str, url: str, settings: Settings) -> Iterator[Fault]:
    try:
        networks = tuple(addresses.parse_target_network(each) for each in settings.oauth.key_networks)
    except addresses.InvalidAddress:
        # Told of at its own place.
        return
    try:
        targets.parse(url, targets.Rules(networks=networks))
    except InvalidUrl as failure:
        yield Fault(place, str(failure).replace("a webhook's URL", "it"))


def _check_https(text: str) -> None:
    if not text.startswith("https://"):
        raise addresses.InvalidAddress("does not begin with https://")


def _check_origin(text: str) -> None:
    addresses.check_public(text)
    addresses.parse_upstream(text)


def _address(place: str, parse: Callable[[], object]) -> Iterator[Fault]:
    try:
        parse()
    except addresses.InvalidAddress as failure:
        yield Fault(place, str(failure))
