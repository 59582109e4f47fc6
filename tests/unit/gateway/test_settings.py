"""The configuration: its defaults, where its paths lead, and that the demo's holds."""

import copy
import json
import tomllib
from pathlib import Path

import pytest

from gateway import settings
from gateway.settings import SettingsError
from policies.gcra import Limit
from tests.support.settings_files import MINIMAL, POLICIES, Document, Edit, on_route, put, write

DEMO = Path("gateway/demo")


def test_a_small_configuration_has_the_documented_defaults(tmp_path: Path) -> None:
    """What is not said is the default, and the defaults are those of the demo's comments."""
    configured = settings.load(write(tmp_path, MINIMAL))
    assert configured.redis is None
    assert (configured.server.host, configured.server.port, configured.server.workers) == (
        "127.0.0.1",
        8080,
        1,
    )
    assert (configured.signing.window_ms, configured.signing.max_window_ms) == (30_000, 60_000)
    assert (configured.identity.lifetime_ms, configured.identity.reuse_ms) == (30_000, 10_000)
    assert configured.source_limit.as_limit() == Limit("source", 500, 1_000_000, 1_000)
    assert configured.routes[0].cost == 1


def test_relative_paths_start_from_the_directory_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the process was started has no part in it."""
    document = copy.deepcopy(MINIMAL)
    document["service"]["state_dir"] = "state"
    document["storage"] = {"url": "sqlite:state/a.db"}
    document["upstreams"]["secure"] = {
        "url": "https://trading.internal:8443",
        "environment": "live",
        "tls": {"ca_file": "ca.pem", "client_cert_file": "/c.pem", "client_key": "file:c.key"},
    }
    write(tmp_path, document)
    monkeypatch.chdir(tmp_path)
    configured = settings.load(Path("portreeve.toml"))
    assert configured.file == tmp_path / "portreeve.toml"
    assert configured.service.state_dir == f"{tmp_path}/state"
    assert configured.storage.url == f"sqlite:{tmp_path}/state/a.db"
    assert configured.kms.master_key == f"file:{tmp_path}/master.key"
    tls = configured.upstreams["secure"].tls
    assert tls is not None
    assert (tls.ca_file, tls.client_cert_file, tls.client_key) == (
        f"{tmp_path}/ca.pem",
        "/c.pem",
        f"file:{tmp_path}/c.key",
    )


@pytest.mark.parametrize(
    "edit",
    [
        put("storage", value={"url": "postgresql://p@db:5432/p?sslmode=verify-full", "password": "env:PW"}),
        put("redis", value={"url": "redis://cache:6379/0", "password": "file:pw"}),
        put("redis", value={"url": "rediss://name@cache", "cluster": True, "tls": {"ca_file": "ca.pem"}}),
        put("upstreams", "trading", "url", value="http://[::1]:9"),
        put("upstreams", "trading", "url", value="https://trading.internal"),
        put("server", "host", value="::"),
        put("signing", "window_ms", value=1_000),
        put("server", "trusted_proxies", value=["10.0.0.0/8", "2001:db8::/32", "192.0.2.1/32"]),
        put("service", "issuer", value="http://127.0.0.1:8080"),
        on_route(public=True, permission=None),
        on_route(strip_prefix="/paper"),
        on_route(host="[::1]"),
        on_route(limits=["writes"], cost=5),
    ],
)
def test_takes_what_holds(tmp_path: Path, edit: Edit) -> None:
    """The refusals beside these are not stricter than they say."""
    document = copy.deepcopy(MINIMAL)
    edit(document)
    settings.load(write(tmp_path, document))


def test_more_workers_are_fine_with_a_shared_store(tmp_path: Path) -> None:
    """With Redis, what one worker has seen every worker has seen."""
    document = copy.deepcopy(MINIMAL)
    document |= {"server": {"workers": 4}, "redis": {"url": "redis://cache"}}
    assert settings.load(write(tmp_path, document)).server.workers == 4


def test_an_error_in_the_policies_names_that_file(tmp_path: Path) -> None:
    """It stands beside what is wrong in the configuration itself."""
    document = copy.deepcopy(MINIMAL)
    document["server"] = {"port": "a"}
    file = write(tmp_path, document, POLICIES.replace('"orders:write"]\n[tiers', '"orders:nope"]\n[tiers'))
    with pytest.raises(SettingsError) as caught:
        settings.load(file)
    assert str(caught.value).splitlines() == [
        "portreeve.toml: server.port: expected `int`, got `str`",
        "policies.toml: roles.trader.permissions[1]: unknown permission 'orders:nope'",
    ]


def test_missing_policies_are_an_error(tmp_path: Path) -> None:
    """Without policies nothing would be allowed, or checked."""
    file = write(tmp_path, {**MINIMAL, "service": {**MINIMAL["service"], "policies": "other.toml"}})
    with pytest.raises(SettingsError, match=r"service.policies: .*/other.toml cannot be read: No such file"):
        settings.load(file)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"[service", "portreeve.toml: is not TOML"),
        (b"\xff", "portreeve.toml: is not UTF-8 text"),
        (None, "/portreeve"),
    ],
)
def test_a_file_that_is_none_is_an_error(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    """Absent, in another encoding, or not TOML: each says so."""
    file = tmp_path / "portreeve.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        settings.load(file)
    assert complaint in str(caught.value)


def test_upstream_addresses_are_parsed_once_for_all() -> None:
    """Whoever connects reads the same host and port that were checked."""
    parse = settings.parse_upstream
    assert parse("https://trading.internal") == settings.UpstreamAddress("https", "trading.internal", 443)
    assert parse("http://[::1]:81") == settings.UpstreamAddress("http", "::1", 81)


def test_networks_are_parsed() -> None:
    """Mixed families keep their order."""
    assert [str(network) for network in settings.networks(("10.0.0.0/8", "::1/128"))] == [
        "10.0.0.0/8",
        "::1/128",
    ]


def test_every_kms_key_is_read(tmp_path: Path) -> None:
    """One that wraps, a second beside it, and those that are being left; their files lie beside the configuration."""
    document = MINIMAL | {
        "kms": {
            "backend": "pkcs11",
            "module": "/usr/lib/hsm.so",
            "hsm": "portreeve",
            "key": "portreeve-1",
            "pin": "file:pin",
            "second": {"master_key": "file:second.key", "passphrase": "env:PASSPHRASE"},
            "previous": [{"master_key": "file:old.key"}],
            "soft_lifetime_ms": 0,
            "hard_lifetime_ms": 0,
        }
    }
    kms = settings.load(write(tmp_path, document)).kms
    assert kms.pin == f"file:{tmp_path}/pin"
    assert kms.second is not None
    assert kms.second.master_key == f"file:{tmp_path}/second.key"
    assert [each.master_key for each in kms.previous] == [f"file:{tmp_path}/old.key"]


def test_the_demo_loads() -> None:
    """The commented example is a configuration that holds."""
    configured = settings.load(DEMO / "portreeve.toml")
    assert {upstream.environment for upstream in configured.upstreams.values()} == {"paper", "live"}
    trader, viewer = configured.policies.get_role("trader"), configured.policies.get_role("viewer")
    assert "orders:write" in trader.permissions
    assert not any(name.endswith(":write") for name in viewer.permissions)


def test_the_demo_shows_every_key() -> None:
    """The example is the reference: a key that it does not mention is one nobody finds."""
    text = (DEMO / "portreeve.toml").read_text()
    for kind in (
        settings.ServiceSettings, settings.ServerSettings, settings.StorageSettings, settings.RedisSettings,
        settings.KmsSettings, settings.SigningSettings, settings.KeysSettings, settings.IdentitySettings,
        settings.SourceLimitSettings, settings.UpstreamSettings, settings.UpstreamTlsSettings,
        settings.RedisTlsSettings, settings.RouteSettings, settings.TimeoutSettings,
    ):  # fmt: skip
        missing = [field for field in kind.__struct_fields__ if f"{field} = " not in text]
        assert not missing, (kind, missing)


def test_the_demo_says_the_same_of_paper_and_live() -> None:
    """What is tried on paper behaves so on live."""
    routes = tomllib.loads((DEMO / "portreeve.toml").read_text())["routes"]
    defaults = settings.RouteSettings(name="", methods=(), path="", environment="", upstream="")
    told = {route["name"]: {**_plain(defaults), **route} for route in routes}
    for name in [name for name in told if name.startswith("paper-")]:
        as_live = json.loads(json.dumps(told[name]).replace("paper", "live"))
        assert told[name.replace("paper", "live")] == as_live


def _plain(defaults: settings.RouteSettings) -> Document:
    plain = {name: getattr(defaults, name) for name in defaults.__struct_fields__}
    timeouts = {name: getattr(defaults.timeouts, name) for name in defaults.timeouts.__struct_fields__}
    return {**plain, "limits": [], "timeouts": timeouts, "host": None}
