"""Whether the tables agree with one another and with the world outside: one check a section, all of them run.

What is checked of one key alone, its type and range, stands in `values`.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from gateway import references, scanners
from gateway.settings import addresses
from gateway.settings.faults import Fault, quote_key
from gateway.settings.issuer_checks import find_issuer_faults
from gateway.settings.kms_checks import find_kms_faults
from gateway.settings.people_checks import find_people_faults
from gateway.settings.rotation import find_rotation_faults
from gateway.settings.route_checks import find_route_faults
from gateway.settings.sink_checks import find_sink_faults
from gateway.settings.tls_checks import find_tls_faults
from gateway.settings.values import Settings, UpstreamSettings, UpstreamTlsSettings
from keys.environment import ENVIRONMENTS
from policies import gcra
from policies import limits as limit_specs

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)
_NAME_RULE = "a name is lowercase letters, digits and '-', a letter first"


def find_faults(settings: Settings) -> Iterator[Fault]:
    for check in _CHECKS:
        yield from check(settings)


def _check_service(settings: Settings) -> Iterator[Fault]:
    yield from _address("service.issuer", partial(addresses.check_public, settings.service.issuer))
    yield from _address("service.docs_base", partial(addresses.check_public, settings.service.docs_base))


def _check_server(settings: Settings) -> Iterator[Fault]:
    server = settings.server
    if not addresses.is_host(server.host):
        yield Fault("server.host", "is neither an address nor a host name")
    if server.workers > 1 and settings.redis is None:
        yield Fault("server.workers", "more than one needs [redis]: each would count and remember alone")
    for index, network in enumerate(server.trusted_proxies):
        place = f"server.trusted_proxies[{index}]"
        yield from _address(place, partial(addresses.parse_network, network))


def _check_control(settings: Settings) -> Iterator[Fault]:
    control = settings.control
    if control is None:
        return
    if not addresses.is_host(control.host):
        yield Fault("control.host", "is neither an address nor a host name")
    if control.port == settings.server.port:
        yield Fault("control.port", "is the partners' port too: what keeps them apart is the port")


def _check_storage(settings: Settings) -> Iterator[Fault]:
    yield from _address("storage.url", partial(addresses.check_storage, settings.storage.url))
    yield from _reference("storage.password", settings.storage.password)
    if settings.storage.password is not None and settings.storage.url.startswith("sqlite:"):
        yield Fault("storage.password", "is set, but a SQLite file has none")


def _check_redis(settings: Settings) -> Iterator[Fault]:
    redis = settings.redis
    if redis is None:
        return
    yield from _address("redis.url", partial(addresses.check_redis, redis.url, cluster=redis.cluster))
    yield from _reference("redis.password", redis.password)
    if redis.tls is not None:
        if not redis.url.startswith("rediss://"):
            yield Fault("redis.tls", "is set, but url is not rediss://")
        yield from _client_certificate("redis.tls", redis.tls.client_cert_file, redis.tls.client_key)
        if redis.tls.client_key is not None:
            # The Redis client opens the file itself.
            yield from _file_reference("redis.tls.client_key", redis.tls.client_key)


def _check_signing(settings: Settings) -> Iterator[Fault]:
    signing = settings.signing
    if signing.window_ms > signing.max_window_ms:
        yield Fault("signing.window_ms", f"is more than max_window_ms ({signing.max_window_ms})")
    if signing.window_ms < signing.future_skew_ms:
        yield Fault("signing.window_ms", f"is less than future_skew_ms ({signing.future_skew_ms})")
    for index, environment in enumerate(signing.signature_check):
        if environment not in ENVIRONMENTS:
            yield Fault(f"signing.signature_check[{index}]", _unknown_environment(environment))


def _check_keys(settings: Settings) -> Iterator[Fault]:
    keys = settings.keys
    if keys.staleness_bound_ms <= keys.poll_ms:
        yield Fault("keys.staleness_bound_ms", f"has to be more than poll_ms ({keys.poll_ms})")


def _check_identity(settings: Settings) -> Iterator[Fault]:
    identity = settings.identity
    if identity.reuse_ms >= identity.lifetime_ms:
        yield Fault("identity.reuse_ms", f"has to be less than lifetime_ms ({identity.lifetime_ms})")


def _check_secrets_manager(settings: Settings) -> Iterator[Fault]:
    endpoint = settings.secrets_manager.endpoint_url
    if endpoint is not None:
        yield from _address("secrets_manager.endpoint_url", partial(addresses.check_public, endpoint))


def _check_limits(settings: Settings) -> Iterator[Fault]:
    own: dict[str, Callable[[], object]] = {
        "source_limit": settings.source_limit.as_limit,
        "oauth.source_limit": partial(settings.oauth.source_limit.as_limit, "oauth-source"),
        "oauth.client_limit": partial(settings.oauth.client_limit.as_limit, "oauth-client"),
    }
    for place, as_limit in own.items():
        try:
            as_limit()
        except gcra.InvalidLimit as failure:
            yield Fault(place, str(failure))
    for name, spec in settings.limits.items():
        place = f"limits.{quote_key(name)}"
        yield from _name(place, name)
        try:
            limit_specs.build(name, spec)
        except gcra.InvalidLimit as failure:
            yield Fault(place, str(failure))


def _check_upstreams(settings: Settings) -> Iterator[Fault]:
    for name, upstream in settings.upstreams.items():
        place = f"upstreams.{quote_key(name)}"
        yield from _name(place, name)
        yield from _address(f"{place}.url", partial(addresses.parse_upstream, upstream.url))
        if upstream.environment not in ENVIRONMENTS:
            yield Fault(f"{place}.environment", _unknown_environment(upstream.environment))
        if upstream.tls is not None:
            yield from _check_upstream_tls(f"{place}.tls", upstream, upstream.tls)


def _check_webhooks(settings: Settings) -> Iterator[Fault]:
    webhooks = settings.webhooks
    for index, network in enumerate(webhooks.allowed_networks):
        place = f"webhooks.allowed_networks[{index}]"
        yield from _address(place, partial(addresses.parse_target_network, network))
    if webhooks.connect_ms > webhooks.total_ms:
        yield Fault("webhooks.connect_ms", f"is more than total_ms ({webhooks.total_ms})")
    if webhooks.per_partner > webhooks.concurrency:
        yield Fault("webhooks.per_partner", f"is more than concurrency ({webhooks.concurrency})")


def _check_upstream_tls(place: str, upstream: UpstreamSettings, tls: UpstreamTlsSettings) -> Iterator[Fault]:
    if not upstream.url.startswith("https://"):
        yield Fault(place, "is set, but url is not https://")
    if tls.server_name is not None and not addresses.is_host(tls.server_name):
        yield Fault(f"{place}.server_name", "is neither an address nor a host name")
    yield from _client_certificate(place, tls.client_cert_file, tls.client_key)
    yield from _reference(f"{place}.client_key", tls.client_key)


def _client_certificate(place: str, certificate: str | None, key: str | None) -> Iterator[Fault]:
    if (certificate is None) != (key is None):
        yield Fault(place, "client_cert_file and client_key go together")


def _check_scanners(settings: Settings) -> Iterator[Fault]:
    owners: dict[str, str] = {}
    for name, scanner in settings.scanners.items():
        place = f"scanners.{quote_key(name)}"
        yield from _name(place, name)
        for key_id, file in scanner.keys.items():
            key_place = f"{place}.keys.{quote_key(key_id)}"
            if key_id in owners:
                yield Fault(key_place, f"is a key of {owners[key_id]} too: which of them has reported?")
            owners.setdefault(key_id, name)
            yield from _scanner_key(key_place, file)


def _scanner_key(place: str, file: str) -> Iterator[Fault]:
    try:
        scanners.parse_public_key(Path(file).read_bytes())
    except OSError as failure:
        yield Fault(place, f"{file} cannot be read: {failure.strerror}")
    except scanners.InvalidScannerKey as failure:
        yield Fault(place, f"{file} is {failure}")


def _name(place: str, name: str) -> Iterator[Fault]:
    if _NAME.fullmatch(name) is None:
        yield Fault(place, _NAME_RULE)


def _unknown_environment(name: str) -> str:
    return f'environment "{name}" is not one of {", ".join(ENVIRONMENTS)}'


def _address(place: str, parse: Callable[[], object]) -> Iterator[Fault]:
    try:
        parse()
    except addresses.InvalidAddress as failure:
        yield Fault(place, str(failure))


def _reference(place: str, text: str | None) -> Iterator[Fault]:
    try:
        if text is not None:
            references.parse(text)
    except references.MalformedReference as failure:
        yield Fault(place, str(failure))


def _file_reference(place: str, text: str) -> Iterator[Fault]:
    try:
        references.get_path(text)
    except (references.MalformedReference, references.UnresolvedReference) as failure:
        yield Fault(place, str(failure))


_CHECKS: tuple[Callable[[Settings], Iterator[Fault]], ...] = (
    _check_service,
    _check_server,
    find_tls_faults,
    _check_control,
    _check_storage,
    _check_redis,
    find_kms_faults,
    _check_signing,
    _check_keys,
    find_rotation_faults,
    _check_identity,
    _check_secrets_manager,
    _check_limits,
    _check_upstreams,
    _check_scanners,
    _check_webhooks,
    find_issuer_faults,
    find_people_faults,
    find_route_faults,
    find_sink_faults,
)
