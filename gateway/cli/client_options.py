"""The options that say what an OAuth client is, the same where it is made and where it is changed.

Invariant: an option that was not given says nothing, so that it changes nothing.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar, get_args

import click
import msgspec
from msgspec import UNSET, UnsetType

from gateway.cli import moments
from keys.client_records import About, Certificate, ClientException, GrantType

Command = TypeVar("Command", bound=Callable[..., Any])

# The device grant by its short name: nobody types a URN.
GRANTS: Final[Mapping[str, GrantType]] = MappingProxyType(
    {each.rpartition(":")[2]: each for each in get_args(GrantType)}
)
_CERTIFICATE: Final = MappingProxyType(
    {
        "certificate_dn": "subject_dn",
        "certificate_dns": "san_dns",
        "certificate_uri": "san_uri",
        "certificate_ip": "san_ip",
        "certificate_email": "san_email",
        "certificate_thumbprints": "thumbprints",
    }
)
_ABOUT: Final = (
    "client_uri",
    "logo_uri",
    "policy_uri",
    "tos_uri",
    "contacts",
    "software_id",
    "software_version",
)


def _parse_end(ctx: click.Context, option: click.Parameter, value: str | None) -> int | UnsetType | None:
    if value is None:
        return UNSET
    return None if value == "never" else moments.parse_option(ctx, option, value)


_OPTIONS: Final = (
    click.option("--name", metavar="N", help="What people are shown."),
    click.option("--role", "roles", multiple=True, metavar="R", help="May be given repeatedly."),
    click.option(
        "--permission",
        "permissions",
        multiple=True,
        metavar="P",
        help="Narrows what the roles grant to these; repeatable. `all`: not narrowed.",
    ),
    click.option(
        "--grant",
        "grants",
        multiple=True,
        type=click.Choice(tuple(GRANTS)),
        help="How it comes by tokens; repeatable.  [default: client_credentials]",
    ),
    click.option(
        "--redirect-uri",
        "redirect_uris",
        multiple=True,
        metavar="URI",
        help="Where codes are sent: exactly there; repeatable. `none`: nowhere.",
    ),
    click.option(
        "--binding",
        type=click.Choice(("dpop", "mtls", "none")),
        help="What its tokens are bound to.  [default: dpop; mtls with certificates]",
    ),
    click.option(
        "--exception",
        "exceptions",
        multiple=True,
        type=click.Choice((*get_args(ClientException), "none")),
        help="Where it is weaker than FAPI 2.0; repeatable.",
    ),
    click.option("--jwks-url", "keys_url", metavar="URL", help="Where its public keys lie."),
    click.option(
        "--certificate-dn", metavar="DN", help="Of `tls_client_auth`: the subject, as RFC 4514 writes it."
    ),
    click.option("--certificate-dns", metavar="NAME", help="Of `tls_client_auth`: a DNS name of it."),
    click.option("--certificate-uri", metavar="URI", help="Of `tls_client_auth`: a URI of it."),
    click.option("--certificate-ip", metavar="IP", help="Of `tls_client_auth`: an address of it."),
    click.option("--certificate-email", metavar="MAIL", help="Of `tls_client_auth`: a mail address of it."),
    click.option(
        "--certificate-thumbprint",
        "certificate_thumbprints",
        multiple=True,
        metavar="X5T",
        help="Of `self_signed_tls_client_auth`: its SHA-256 as base64url; repeatable.",
    ),
    click.option(
        "--cidr",
        "cidrs",
        multiple=True,
        metavar="C",
        help="Where from it may ask for tokens and use them; repeatable. `any`: anywhere.",
    ),
    click.option(
        "--expires",
        "expires_at",
        metavar="T",
        callback=_parse_end,
        help="RFC 3339, or from now: 12h, 90d, 4w. `never`: it stays.",
    ),
    click.option("--client-uri", metavar="URL", help="Shown to people: its home page."),
    click.option("--logo-uri", metavar="URL", help="Shown to people: its logo."),
    click.option("--policy-uri", metavar="URL", help="Shown to people: what it does with what it sees."),
    click.option("--tos-uri", metavar="URL", help="Shown to people: its terms of service."),
    click.option("--contact", "contacts", multiple=True, metavar="MAIL", help="Who to write to; repeatable."),
    click.option("--software-id", metavar="ID", help="Which software it is."),
    click.option("--software-version", metavar="V", help="Of which version."),
)


def described(command: Command) -> Command:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given of a client, but for what people are shown of it, by the names of its fields."""
    terms: dict[str, Any] = {
        "name": _or_unset(given["name"]),
        "keys_url": _or_unset(given["keys_url"]),
        "expires_at": given["expires_at"],
        "roles": given["roles"] or UNSET,
        "grants": tuple(GRANTS[each] for each in given["grants"]) or UNSET,
        "permissions": None if given["permissions"] == ("all",) else given["permissions"] or UNSET,
        "cidrs": _list(given["cidrs"], "any"),
        "redirect_uris": _list(given["redirect_uris"], "none"),
        "exceptions": _list(given["exceptions"], "none"),
        "binding": None if given["binding"] == "none" else _or_unset(given["binding"]),
    }
    certificate = {field: given[name] for name, field in _CERTIFICATE.items() if given[name]}
    if certificate:
        terms["certificate"] = Certificate(**certificate)
    return {name: value for name, value in terms.items() if value is not UNSET}


def read_about(given: Mapping[str, Any], before: About | None = None) -> About:
    """What is given takes the place of what there was before."""
    return msgspec.structs.replace(before or About(), **{name: given[name] for name in _ABOUT if given[name]})


def _or_unset(value: object) -> object:
    return UNSET if value is None else value


def _list(values: tuple[str, ...], empty: str) -> object:
    return () if values == (empty,) else values or UNSET
