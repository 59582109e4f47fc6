"""nginx with a gate written by hand in Lua: what one would build without a gateway.

It checks the same signed requests as Portreeve: signature, freshness, role, nonce and a counter in Redis.
"""

from __future__ import annotations

import hmac
import json
import secrets
import subprocess
from pathlib import Path

from bench.contenders import nginx
from bench.contenders.requests import Signed
from bench.contenders.server import Server, folder_of
from bench.deployment import free_port
from bench.ground import NO_REDIS, Ground

_MODULES = {
    "ndk_http_module.so": "libnginx-mod-http-ndk",
    "ngx_http_lua_module.so": "libnginx-mod-http-lua",
}
_LIBRARY = "resty.core, Lua's library for nginx"
_HERE = Path(__file__).parent


class NginxLua:
    checks = frozenset({"signature", "replay"})

    def __init__(self, name: str = "nginx-lua", workers: int = 1) -> None:
        self.name = name
        self._workers = workers

    def missing(self, ground: Ground) -> str | None:
        absent = _missing_from_nginx(ground.folder)
        if ground.redis_port is None:
            absent.append(NO_REDIS)
        return ", ".join(absent) or None

    def start(self, ground: Ground) -> Server:
        folder, port = folder_of(ground.folder, self.name), free_port()
        key_id, secret = "prk_paper_" + secrets.token_hex(14), secrets.token_urlsafe(32)
        (folder / "settings.lua").write_text(settings(key_id, secret, ground.redis_port or 0))
        configuration = nginx.configure(
            "nginx-lua.conf",
            folder,
            workers=self._workers,
            port=port,
            upstream=ground.upstream_port,
            modules=nginx.modules_folder(nginx.find_nginx() or "nginx"),
            lua=_HERE,
        )
        key = secret.encode()
        signed = Signed(key_id, lambda text: hmac.new(key, text, "sha256").hexdigest())
        return Server(nginx.command(configuration, folder), folder, port, signed)


def settings(key_id: str, secret: str, redis_port: int) -> str:
    """What the gate is told, as a Lua module. JSON's strings of plain ASCII are Lua's too."""
    key = f"secret = {json.dumps(secret)}, role = 'reader', partner = 'acme'"
    return f"return {{ redis_port = {redis_port}, keys = {{ [{json.dumps(key_id)}] = {{ {key} }} }} }}\n"


def _missing_from_nginx(parent: Path) -> list[str]:
    binary = nginx.find_nginx()
    if binary is None:
        return [nginx.NOT_FOUND, *_MODULES.values()]
    modules = nginx.modules_folder(binary)
    absent = [f"{file} (Debian: {name})" for file, name in _MODULES.items() if not (modules / file).exists()]
    return absent or _missing_from_lua(folder_of(parent, "nginx-lua-probe"), modules)


def _missing_from_lua(folder: Path, modules: Path) -> list[str]:
    """Only the server itself knows where its Lua looks, so it is asked whether the library is found."""
    configuration = nginx.configure("nginx-lua-probe.conf", folder, modules=modules)
    asked = subprocess.run(
        nginx.command(configuration, folder), check=False, stderr=subprocess.PIPE, text=True, timeout=20
    )
    if asked.returncode == 0:
        return []
    return [f"{_LIBRARY} (Debian: lua-resty-core); nginx says: {asked.stderr.strip()[-300:]}"]
