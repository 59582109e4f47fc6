"""What a change makes of a key, a client or a partner, what it differs in, and whether it lets in more than before.

Pure. Invariant: a change that is not a widening lets nothing pass that was refused before it: no permission, no source,
no later moment, no other place and no weaker proof. In doubt it is a widening: another role is one whatever it grants
today, since roles grow in a file.
Refuses a change that changes nothing.
"""

import ipaddress
from collections.abc import Iterable
from typing import TypeVar

import msgspec
from msgspec import UNSET

from keys import refusals
from keys.client_records import ClientChange, OAuthClient
from keys.records import ApiKey, KeyChange, Partner, PartnerChange

_KEY_FIELDS = KeyChange.__struct_fields__
_PARTNER_FIELDS = PartnerChange.__struct_fields__
_CLIENT_FIELDS = ClientChange.__struct_fields__

_Record = TypeVar("_Record", ApiKey, Partner, OAuthClient)
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class NothingToChange(refusals.Conflict):
    def __init__(self, subject: str) -> None:
        super().__init__(f"{subject!r:.80} is just that: there is nothing to change")


def change_key(key: ApiKey, asked: KeyChange) -> ApiKey:
    return _apply(key, {name: getattr(asked, name) for name in _KEY_FIELDS})


def change_partner(partner: Partner, asked: PartnerChange) -> Partner:
    return _apply(partner, {name: getattr(asked, name) for name in _PARTNER_FIELDS})


def change_client(client: OAuthClient, asked: ClientChange) -> OAuthClient:
    return _apply(client, {name: getattr(asked, name) for name in _CLIENT_FIELDS})


def describe(before: _Record, after: _Record) -> dict[str, dict[str, object]]:
    """What differs, as it was and as it is to be: for the ledger, and for whoever is to approve it."""
    names = [name for name in _changeable(before) if getattr(before, name) != getattr(after, name)]
    return {
        "before": {name: _plain(getattr(before, name)) for name in names},
        "after": {name: _plain(getattr(after, name)) for name in names},
    }


def find_widenings(before: ApiKey, after: ApiKey) -> tuple[str, ...]:
    """In which of its fields the key gets more than it had; none when it stays or gets narrower."""
    return _named(_find_more(before, after))


def find_client_widenings(before: OAuthClient, after: OAuthClient) -> tuple[str, ...]:
    """The same of a client. Other keys, certificates and places to send codes to let in somebody else."""
    wider = _find_more(before, after) | {
        "grants": bool(set(after.grants) - set(before.grants)),
        "redirect_uris": bool(set(after.redirect_uris) - set(before.redirect_uris)),
        "exceptions": bool(set(after.exceptions) - set(before.exceptions)),
        # Bound to something else is bound by something else: whether that is less is not ours to weigh.
        "binding": after.binding != before.binding,
        "keys_url": after.keys_url != before.keys_url,
        "certificate": after.certificate != before.certificate,
    }
    return _named(wider)


def _find_more(before: ApiKey | OAuthClient, after: ApiKey | OAuthClient) -> dict[str, bool]:
    return {
        "roles": bool(set(after.roles) - set(before.roles)),
        "permissions": _lists_more(before.permissions, after.permissions),
        "cidrs": _reaches_further(before.cidrs, after.cidrs),
        "expires_at": _lasts_longer(before.expires_at, after.expires_at),
    }


def _named(wider: dict[str, bool]) -> tuple[str, ...]:
    return tuple(name for name, is_wider in wider.items() if is_wider)


def _apply(record: _Record, asked: dict[str, object]) -> _Record:
    after = msgspec.structs.replace(
        record, **{name: value for name, value in asked.items() if value is not UNSET}
    )
    if after == record:
        raise NothingToChange(record.id)
    return after


def _plain(value: object) -> object:
    """As JSON will give it back."""
    given: object = msgspec.json.decode(msgspec.json.encode(value))
    return given


def _changeable(record: ApiKey | Partner | OAuthClient) -> tuple[str, ...]:
    if isinstance(record, OAuthClient):
        return _CLIENT_FIELDS
    return _KEY_FIELDS if isinstance(record, ApiKey) else _PARTNER_FIELDS


def _lists_more(before: tuple[str, ...] | None, after: tuple[str, ...] | None) -> bool:
    """No list is whatever the roles grant: the widest there is."""
    if before is None:
        return False
    return after is None or bool(set(after) - set(before))


def _reaches_further(before: tuple[str, ...], after: tuple[str, ...]) -> bool:
    """No ranges are all addresses."""
    if not before:
        return False
    if not after:
        return True
    known = _parse(before)
    return not all(_lies_within(network, known) for network in _parse(after))


def _parse(cidrs: Iterable[str]) -> list[_Network]:
    """Joined where they touch: two halves of a range are the range."""
    networks = [ipaddress.ip_network(cidr) for cidr in cidrs]
    fours = [network for network in networks if isinstance(network, ipaddress.IPv4Network)]
    sixes = [network for network in networks if isinstance(network, ipaddress.IPv6Network)]
    return [*ipaddress.collapse_addresses(fours), *ipaddress.collapse_addresses(sixes)]


def _lies_within(network: _Network, known: Iterable[_Network]) -> bool:
    return any(
        network.version == one.version
        and one.network_address <= network.network_address  # type: ignore[operator]  # of one version
        and network.broadcast_address <= one.broadcast_address  # type: ignore[operator]  # the same
        for one in known
    )


def _lasts_longer(before: int | None, after: int | None) -> bool:
    if before is None:
        return False
    return after is None or after > before
