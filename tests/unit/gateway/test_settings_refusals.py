"""The configuration: everything that does not hold is refused at its place, and no refusal shows a secret."""

import copy
import re
from pathlib import Path

import pytest

from gateway import settings
from gateway.settings import SettingsError
from tests.support.settings_files import (
    MINIMAL,
    ROUTE,
    Document,
    Edit,
    and_route,
    on_route,
    put,
    refusal,
    write,
)

ARN = "arn:aws:kms:eu-central-1:123456789012:key/0a1b"
HSM: Document = {"backend": "pkcs11", "module": "/m.so", "hsm": "h", "key": "k", "pin": "env:P"}


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (put("sevrer", value={}), "unknown section sevrer"),
        (put("server", "prot", value=1), "server: unknown key prot"),
        (put("server", "port", value="8080"), "server.port: expected `int`, got `str`"),
        (put("server", "port", value=True), "server.port: expected `int`, got `bool`"),
        (put("server", "port", value=65_536), "server.port: expected `int` <= 65535"),
        (put("server", "workers", value=0), "server.workers: expected `int` >= 1"),
        (put("server", value=[]), "server: has to be a table"),
        (put("limits", value=1), "limits: has to hold tables, each with a name"),
        (put("limits", "writes", value=1), "limits.writes: has to be a table"),
        (put("routes", value={}), "routes: has to be a list of tables: [[routes]]"),
        (put("routes", value=[1]), "routes[0]: has to be a table"),
        (put("routes", value=[{}]), "routes[0]: name is missing"),
        (put("kms", value={}), "kms: master_key is missing"),
        (put("kms", "backend", value="none"), "kms.backend: invalid enum value 'none'"),
        (
            put("upstreams", "trading", "tls", value={"verify": False}),
            "upstreams.trading.tls: object contains",
        ),
        (on_route(cost=1.5), 'routes[0] "orders".cost: expected `int`, got `float`'),
        (on_route(methods=["GET", 1]), 'routes[0] "orders".methods[1]: expected `str`, got `int`'),
        (on_route(timeouts={"total_ms": 0}), 'routes[0] "orders".timeouts.total_ms: expected `int` >= 1'),
        (on_route(colour="red"), 'routes[0] "orders": unknown key colour'),
    ],
)
def test_refuses_unknown_keys_and_wrong_types(tmp_path: Path, edit: Edit, line: str) -> None:
    """Nothing is coerced and nothing passed over: a misspelt limit is not a missing one."""
    assert any(found.startswith(f"portreeve.toml: {line}") for found in refusal(tmp_path, edit))


@pytest.mark.parametrize("section", ["service", "storage", "kms"])
def test_asks_for_the_sections_that_have_no_default(tmp_path: Path, section: str) -> None:
    """Who it is, where it keeps its state and which key protects it have to be said."""
    assert f"portreeve.toml: section [{section}] is missing" in refusal(tmp_path, lambda d: d.pop(section))


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (put("service", "issuer", value="gate.example"), "service.issuer: names no host"),
        (put("service", "issuer", value="http://gate.example"), "service.issuer: has to be an https"),
        (put("service", "issuer", value="https://gate.example/"), "service.issuer: has a query"),
        (put("service", "issuer", value="https://gate.example?a"), "service.issuer: has a query"),
        (put("service", "docs_base", value="https://a:b@gate.example"), "service.docs_base: carries a name"),
        (put("server", "host", value="http://0.0.0.0"), "server.host: is neither"),
        (put("server", "workers", value=2), "server.workers: more than one needs [redis]"),
        (put("server", "trusted_proxies", value=["10.0.0.1"]), "server.trusted_proxies[0]: "),
        (put("server", "trusted_proxies", value=["10.0.0.0/8", "10.0.0.1/8"]), "server.trusted_proxies[1]: "),
        (put("server", "trusted_proxies", value=["lan"]), "server.trusted_proxies[0]: "),
        (put("server", "trusted_proxies", value=["0.0.0.0/0"]), "server.trusted_proxies[0]: "),
        (put("server", "trusted_proxies", value=["::/0"]), "server.trusted_proxies[0]: "),
        (put("storage", "url", value="mysql://a@b/c"), "storage.url: a storage URL is"),
        (put("storage", "url", value="sqlite::memory:"), "storage.url: an SQLite file"),
        (put("storage", "url", value="sqlite:///a"), "storage.url: an SQLite file"),
        (put("storage", "url", value="sqlite:"), "storage.url: an SQLite file"),
        (put("storage", "url", value="postgresql://u@h:1:2/d"), "storage.url: is no well-formed url"),
        (put("storage", "password", value="env:A"), "storage.password: is set, but a SQLite file has none"),
        (put("redis", value={"url": "http://h"}), "redis.url: begins with neither"),
        (put("redis", value={"url": "redis://h/x"}), "redis.url: has something else"),
        (put("redis", value={"url": "redis://"}), "redis.url: names no host"),
        (put("redis", value={"url": "redis://h/1", "cluster": True}), "redis.url: names a database"),
        (put("redis", value={"url": "unix:///run/redis.sock"}), "redis.url: begins with neither"),
        (put("redis", value={"url": "redis://h?a=b"}), "redis.url: has a query"),
        (put("redis", value={"url": "redis://h", "tls": {}}), "redis.tls: is set, but url is not rediss://"),
        (put("redis", value={"url": "rediss://h", "tls": {"client_key": "env:A"}}), "redis.tls: client_cert"),
        (put("redis", value={"url": "rediss://h", "tls": {"client_cert_file": "a", "client_key": "env:A"}}),
         "redis.tls.client_key: env:A: a file: reference"),
        (put("kms", "master_key", value="env:KEY"), "kms.master_key: env:KEY: a file: reference"),
        (put("kms", value={"backend": "aws"}), "kms: key is missing"),
        (put("kms", "key", value="k"), 'kms.key: is set, but backend is "local"'),
        (put("kms", value={"backend": "aws", "key": ARN, "master_key": "file:a"}),
         'kms.master_key: is set, but backend is "aws"'),
        (put("kms", value={"backend": "aws", "key": "alias/portreeve"}), "kms.key: is no key ARN"),
        (put("kms", value={"backend": "aws", "key": ARN + "/"}), "kms.key: is no key ARN"),
        (put("kms", value={"backend": "aws", "key": ARN, "endpoint": "http://kms.lan"}), "kms.endpoint: has to be"),
        (put("kms", value={"backend": "aws", "key": ARN, "endpoint": "https://a:b@h"}), "kms.endpoint: carries a"),
        (put("kms", value={"backend": "pkcs11", "hsm": "h", "key": "k", "pin": "env:P"}), "kms: module is missing"),
        (put("kms", value=HSM | {"pin": "1234"}), "kms.pin: a secret stands here as a reference"),
        (put("kms", value=HSM | {"module": "softhsm.so"}), "kms.module: is not an absolute path"),
        (put("kms", value=HSM | {"hsm": "a/b"}), "kms.hsm: is no label"),
        (put("kms", value=HSM | {"key": ""}), "kms.key: is no label"),
        (put("kms", value=HSM | {"key": "x" * 33}), "kms.key: is no label"),
        (put("kms", value=HSM | {"endpoint": "https://h"}), 'kms.endpoint: is set, but backend is "pkcs11"'),
        (put("kms", "timeout_ms", value=0), "kms.timeout_ms: expected `int` >= 100"),
        (put("kms", "second", value={"backend": "aws"}), "kms.second: key is missing"),
        (put("kms", "second", value={"master_key": "file:master.key"}), "kms.second: is the same key as [kms]"),
        (put("kms", "second", value={"soft_lifetime_ms": 1}), "kms.second: object contains unknown field"),
        (put("kms", "previous", value=[{"backend": "aws", "key": "k"}]), "kms.previous[0].key: is no key ARN"),
        (put("kms", "previous", value=[{"master_key": "env:A"}]), "kms.previous[0].master_key: env:A: a file"),
        (put("kms", "previous", value={}), "kms.previous: expected `array`, got `object`"),
        (put("kms", "soft_lifetime_ms", value=0), "kms.hard_lifetime_ms: has to be more than soft_lifetime_ms (0)"),
        (put("kms", "hard_lifetime_ms", value=300_000), "kms.hard_lifetime_ms: has to be more"),
        (put("signing", "window_ms", value=0), "signing.window_ms: expected `int` >= 1"),
        (put("signing", "window_ms", value=-1), "signing.window_ms: expected `int` >= 1"),
        (put("signing", "window_ms", value=60_001), "signing.window_ms: is more than max_window_ms (60000)"),
        (put("signing", "window_ms", value=999), "signing.window_ms: is less than future_skew_ms (1000)"),
        (put("signing", "max_window_ms", value=60_001), "signing.max_window_ms: expected `int` <= 60000"),
        (put("signing", "max_window_ms", value=20_000), "signing.window_ms: is more than max_window_ms"),
        (put("signing", "future_skew_ms", value=1_001), "signing.future_skew_ms: expected `int` <= 1000"),
        (put("signing", "signature_check", value=["test"]), 'signing.signature_check[0]: environment "test"'),
        (put("keys", "poll_ms", value=1_001), "keys.poll_ms: expected `int` <= 1000"),
        (put("keys", "staleness_bound_ms", value=250), "keys.staleness_bound_ms: has to be more"),
        (put("identity", "lifetime_ms", value=30_001), "identity.lifetime_ms: expected `int` <= 30000"),
        (put("identity", "reuse_ms", value=10_001), "identity.reuse_ms: expected `int` <= 10000"),
        (put("identity", "lifetime_ms", value=10_000), "identity.reuse_ms: has to be less than lifetime_ms"),
        (put("source_limit", "per", value="1 s"), "source_limit: "),
        (put("source_limit", "rate", value=0), "source_limit: "),
        (put("limits", "writes", "per", value="1d"), "limits.writes: "),
        (put("limits", "writes", "burst", value=0), "limits.writes: "),
        (put("limits", "Big Limit", value={"rate": 1, "per": "1s", "burst": 1}), 'limits."Big Limit": '),
        (put("limits", "writes", "outage", value="allow"), "limits.writes.outage: invalid enum value"),
        (put("upstreams", "trading", "url", value="ftp://h"), "upstreams.trading.url: begins with neither"),
        (put("upstreams", "trading", "url", value="http://h/v1"), "upstreams.trading.url: has more than"),
        (put("upstreams", "trading", "url", value="http://h/"), "upstreams.trading.url: has more than"),
        (put("upstreams", "trading", "url", value="http://h?"), "upstreams.trading.url: has more than"),
        (put("upstreams", "trading", "url", value="http://h#"), "upstreams.trading.url: has more than"),
        (put("upstreams", "trading", "url", value="http://a:b@h"), "upstreams.trading.url: carries a name"),
        (put("upstreams", "trading", "url", value="http://a@h"), "upstreams.trading.url: carries a name"),
        (put("upstreams", "trading", "url", value="http://"), "upstreams.trading.url: names no host"),
        (put("upstreams", "trading", "url", value="http://h:0"), "upstreams.trading.url: names no usable"),
        (put("upstreams", "trading", "url", value="http://h:99999"), "upstreams.trading.url: is no well"),
        (put("upstreams", "trading", "url", value="http://h\n"), "upstreams.trading.url: holds a space"),
        (put("upstreams", "trading", "url", value="unix:/a.sock"), "upstreams.trading.url: begins with neither"),
        (put("upstreams", "trading", "environment", value="test"), "upstreams.trading.environment: "),
        (put("upstreams", "trading", "tls", value={}), "upstreams.trading.tls: is set, but url is not https://"),
        (put("upstreams", "trading", "tls", value={"ca_file": "a", "client_cert_file": "b"}),
         "upstreams.trading.tls: client_cert_file and client_key go together"),
        (put("upstreams", "trading", "tls", value={"server_name": "-"}), "upstreams.trading.tls.server_name"),
    ],
)  # fmt: skip
def test_refuses_what_does_not_hold_together(tmp_path: Path, edit: Edit, line: str) -> None:
    """Every dangling name, unsafe value and contradiction is an error that names its place."""
    found = refusal(tmp_path, edit)
    assert any(text.startswith(f"portreeve.toml: {line}") for text in found), found


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (on_route(name="Orders"), "a name is lowercase"),
        (on_route(methods=[]), "methods is empty"),
        (on_route(methods=["GET", "GET"]), 'method "GET" stands there twice'),
        (on_route(methods=["get"]), 'method "get" is not one of'),
        (on_route(methods=["TRACE"]), 'method "TRACE" is not one of'),
        (on_route(methods=["CONNECT"]), 'method "CONNECT" is not one of'),
        (on_route(upstream="nope"), 'upstream "nope" is not defined'),
        (on_route(environment="live"), 'environment is "live", but upstream "trading"'),
        (on_route(environment="test"), 'environment "test" is not one of paper, live'),
        (on_route(permission=None), "has no permission"),
        (on_route(public=True), "public = true and a permission exclude each other"),
        (on_route(public=True, permission=None, bind_request=True), "public = true and bind"),
        (on_route(permission="orders:cancel"), 'permission "orders:cancel" is not defined'),
        (on_route(limits=["reads"]), 'limit "reads" is not defined'),
        (on_route(limits=["writes", "writes"]), 'limit "writes" stands there twice'),
        (on_route(limits=["writes"], cost=6), 'cost 6 is more than the burst of limit "writes"'),
        (on_route(cost=41), 'cost 41 is more than the burst of tier limit "standard.partner"'),
        (on_route(strip_prefix="/paper/"), 'strip_prefix "/paper/"'),
        (on_route(strip_prefix="/pap"), 'strip_prefix "/pap"'),
        (on_route(max_body_bytes=268_435_457), "max_body_bytes (268435457) is more than"),
        (on_route(timeouts={"idle_ms": 30_001}), "timeouts.idle_ms is more than"),
        (on_route(host="paper.example:80"), 'host "paper.example:80" is no host name'),
        (on_route(host="::1"), 'host "::1" is no host name'),
        (on_route(path="/edge/v1/whoami"), 'path "/edge/v1/whoami": "/edge" is kept'),
        (on_route(path="/a/%2e%2e/b"), 'path "/a/%2e%2e/b": no path can match'),
    ],
)  # fmt: skip
def test_refuses_a_route_that_could_not_be_served_safely(tmp_path: Path, edit: Edit, problem: str) -> None:
    """Each problem stands at the route, which is named by its number and its name."""
    found = refusal(tmp_path, edit)
    assert any(
        re.match(r'portreeve.toml: routes\[0\] "[Oo]rders": ' + re.escape(problem), line) for line in found
    ), found


@pytest.mark.parametrize("name", ["whoami", "gateway"])
def test_no_route_takes_the_name_of_the_gateways_own_pages(tmp_path: Path, name: str) -> None:
    """In logs and metrics nobody could tell them apart."""
    found = refusal(tmp_path, on_route(name=name))
    assert found == [f'portreeve.toml: routes[0] "{name}": name "{name}" is kept for the gateway itself']


def test_two_routes_cannot_have_one_name(tmp_path: Path) -> None:
    """Limits are counted and log lines written under it."""
    found = refusal(tmp_path, and_route(name="orders", methods=["PUT"]))
    assert found == [
        f'portreeve.toml: routes[{index}] "orders": another route has the same name' for index in (0, 1)
    ]


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        ({"path": "/a/{id}"}, {"path": "/a/{name}"}, True),
        ({"path": "/a/**"}, {"path": "/a/**"}, True),
        ({"host": "A.example"}, {"host": "a.example"}, True),
        ({"methods": ["GET", "PUT"]}, {"methods": ["PUT", "POST"]}, True),
        ({"path": "/a/{id}"}, {"path": "/a/**"}, False),
        ({"path": "/a/{id}"}, {"path": "/a/b"}, False),
        ({"path": "/a"}, {"path": "/a/"}, False),
        ({"host": "a.example"}, {"host": "b.example"}, False),
        ({"host": "a.example"}, {}, False),
        ({"methods": ["GET"]}, {"methods": ["HEAD"]}, False),
    ],
)
def test_no_two_routes_claim_the_same_request(
    tmp_path: Path, first: Document, second: Document, clash: bool
) -> None:
    """Same host, method and shape is an error; where one is more specific, it wins, whatever the order."""
    document = copy.deepcopy(MINIMAL)
    document["routes"] = [{**ROUTE, **first}, {**ROUTE, "name": "second", **second}]
    file = write(tmp_path, document)
    if clash:
        with pytest.raises(SettingsError, match="is already taken by"):
            settings.load(file)
    else:
        assert len(settings.load(file).routes) == 2


def test_names_everything_that_does_not_hold_at_once(tmp_path: Path) -> None:
    """One run is enough to see what has to be mended."""

    def edit(document: Document) -> None:
        put("server", "workers", value=3)(document)
        put("signing", "window_ms", value=60_001)(document)
        on_route(upstream="nope", permission="no:pe", limits=["nope"])(document)
        and_route(path="/metrics", environment="live")(document)

    assert refusal(tmp_path, edit) == [
        "portreeve.toml: server.workers: more than one needs [redis]: each would count and remember alone",
        "portreeve.toml: signing.window_ms: is more than max_window_ms (60000)",
        'portreeve.toml: routes[0] "orders": upstream "nope" is not defined',
        'portreeve.toml: routes[0] "orders": permission "no:pe" is not defined',
        'portreeve.toml: routes[0] "orders": limit "nope" is not defined',
        'portreeve.toml: routes[1] "second": environment is "live", but upstream "trading" is "paper"',
        'portreeve.toml: routes[1] "second": path "/metrics": "/metrics" is kept for the gateway itself',
    ]


def test_names_every_wrong_type_at_once(tmp_path: Path) -> None:
    """The first wrong type hides neither those beside it nor those in other tables."""

    def edit(document: Document) -> None:
        put("server", value={"port": "a", "workers": "b", "x": 1})(document)
        on_route(cost="c", methods=None)(document)

    assert refusal(tmp_path, edit) == [
        'portreeve.toml: routes[0] "orders": methods is missing',
        'portreeve.toml: routes[0] "orders".cost: expected `int`, got `str`',
        "portreeve.toml: server: unknown key x",
        "portreeve.toml: server.port: expected `int`, got `str`",
        "portreeve.toml: server.workers: expected `int`, got `str`",
    ]


SECRET = "hunter2-s3cret"


@pytest.mark.parametrize(
    "edit",
    [
        put("storage", "password", value=SECRET),
        put("storage", "url", value=f"postgresql://portreeve:{SECRET}@db/portreeve"),
        put("storage", "url", value=f"postgresql://portreeve@db/portreeve?password={SECRET}"),
        put("storage", "url", value=f"postgresql://portreeve@db/portreeve?passwor%64={SECRET}"),
        put("storage", "url", value=f"postgresql://portreeve@db/portreeve?sslpassword={SECRET}"),
        put("storage", "url", value=f"postgresql://portreeve:{SECRET}@db:{SECRET}/portreeve"),
        put("redis", value={"url": f"redis://:{SECRET}@cache:6379/0"}),
        put("redis", value={"url": f"rediss://portreeve:{SECRET}@cache"}),
        put("redis", value={"url": f"redis://cache?password={SECRET}"}),
        put("redis", value={"url": "redis://cache", "password": SECRET}),
        put("redis", value={"url": "redis://cache", "password": [SECRET]}),
        put("kms", "master_key", value=SECRET),
        put("kms", "passphrase", value=SECRET),
        put("kms", value=HSM | {"pin": SECRET}),
        put("kms", "second", value=HSM | {"pin": SECRET}),
        put("kms", value={"backend": "aws", "key": ARN, "endpoint": f"https://a:{SECRET}@h"}),
        put("upstreams", "trading", "url", value=f"http://portreeve:{SECRET}@trading"),
        put("upstreams", "trading", "tls", value={"client_cert_file": "a", "client_key": SECRET}),
        put("redis", value={"url": "rediss://h", "tls": {"client_cert_file": "a", "client_key": SECRET}}),
    ],
)
def test_refuses_a_secret_in_place_and_does_not_repeat_it(tmp_path: Path, edit: Edit) -> None:
    """Secrets stand here as references only, and an error message is no place for one either."""
    assert not any(SECRET in line for line in refusal(tmp_path, edit))
