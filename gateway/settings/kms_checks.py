"""Whether each KMS key is named wholly, with what its backend takes and nothing that another one would.

Invariant: a key has one spelling, because what it wrapped is found by it: an AWS key is its ARN, never an alias.
Refuses two tables for one key, a plain http:// way to a KMS on another machine (data keys travel on it in the clear),
and to drop data keys sooner than the KMS is asked again.
"""

from collections.abc import Callable, Iterator
from functools import partial
from types import MappingProxyType
from typing import Final

from gateway import references
from gateway.settings import addresses
from gateway.settings.faults import Fault
from gateway.settings.values import KmsKeySettings, Settings
from keys.kms import aws

_REQUIRED: Final = MappingProxyType(
    {"local": ("master_key",), "aws": ("key",), "pkcs11": ("module", "hsm", "key", "pin")}
)
_OPTIONAL: Final = MappingProxyType({"local": ("passphrase",), "aws": ("endpoint",), "pkcs11": ()})
_LONGEST_LABEL: Final = 32
_OWNED: Final = ("master_key", "passphrase", "key", "endpoint", "module", "hsm", "pin")


def find_kms_faults(settings: Settings) -> Iterator[Fault]:
    tables = _list_keys(settings)
    for place, table in tables:
        yield from _check_fields(place, table)
        yield from _check_values(place, table)
    named: dict[tuple[str | None, ...], str] = {}
    for place, table in tables:
        first = named.setdefault(_name(table), place)
        if first != place:
            yield Fault(place, f"is the same key as [{first}]")
    kms = settings.kms
    if kms.hard_lifetime_ms and not 0 < kms.soft_lifetime_ms < kms.hard_lifetime_ms:
        yield Fault(
            "kms.hard_lifetime_ms", f"has to be more than soft_lifetime_ms ({kms.soft_lifetime_ms}), or 0"
        )


def _list_keys(settings: Settings) -> list[tuple[str, KmsKeySettings]]:
    kms = settings.kms
    second = [] if kms.second is None else [("kms.second", kms.second)]
    previous = [(f"kms.previous[{index}]", table) for index, table in enumerate(kms.previous)]
    return [("kms", kms), *second, *previous]


def _name(table: KmsKeySettings) -> tuple[str | None, ...]:
    return table.backend, table.master_key, table.hsm, table.key


def _check_fields(place: str, table: KmsKeySettings) -> Iterator[Fault]:
    required = _REQUIRED[table.backend]
    for name in required:
        if getattr(table, name) is None:
            yield Fault(place, f"{name} is missing")
    for name in _OWNED:
        if name not in {*required, *_OPTIONAL[table.backend]} and getattr(table, name) is not None:
            yield Fault(f"{place}.{name}", f'is set, but backend is "{table.backend}"')


def _check_values(place: str, table: KmsKeySettings) -> Iterator[Fault]:
    if table.master_key is not None:
        yield from _told(f"{place}.master_key", partial(references.get_path, table.master_key))
    if table.passphrase is not None:
        yield from _told(f"{place}.passphrase", partial(references.parse, table.passphrase))
    if table.pin is not None:
        yield from _told(f"{place}.pin", partial(references.parse, table.pin))
    if table.endpoint is not None:
        yield from _told(f"{place}.endpoint", partial(addresses.check_public, table.endpoint))
    if table.backend == "aws" and table.key is not None and aws.ARN.fullmatch(table.key) is None:
        yield Fault(f"{place}.key", 'is no key ARN: "arn:aws:kms:REGION:ACCOUNT:key/ID"; an alias may move')
    if table.module is not None and not table.module.startswith("/"):
        yield Fault(f"{place}.module", "is not an absolute path")
    if table.backend == "pkcs11":
        for name in ("hsm", "key"):
            label = getattr(table, name)
            # A label is 32 bytes, and "/" parts the two in what is stored.
            if label is not None and (
                not label.isprintable() or "/" in label or not 0 < len(label.encode()) <= _LONGEST_LABEL
            ):
                yield Fault(f"{place}.{name}", 'is no label: at most 32 bytes, without "/"')


def _told(place: str, parse: Callable[[], object]) -> Iterator[Fault]:
    try:
        parse()
    except (
        addresses.InvalidAddress,
        references.MalformedReference,
        references.UnresolvedReference,
    ) as failure:
        yield Fault(place, str(failure))
