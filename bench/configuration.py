"""The files of a deployment to measure, and the targets that its routes serve.

One configuration serves every measurement: signed routes that answer little and much, a public one that takes large
bodies, as many more as are asked for, and two tiers, of which one lets next to nothing through.
"""

from __future__ import annotations

_CONFIG = """\
[service]
issuer = "https://bench.example"
docs_base = "https://bench.example/docs"

[server]
port = {port}
workers = {workers}{proxies}

[storage]
{storage}

[kms]
master_key = "file:master.key"

[signing]
window_ms = 60000

[source_limit]
rate = 1000000
burst = 1000000

[oauth]
source_limit = {{ rate = 1000000, burst = 1000000 }}
client_limit = {{ rate = 1000000, burst = 1000000 }}
{redis}{rhythm}
[upstreams.fast]
url = "http://127.0.0.1:{upstream}"
environment = "paper"
"""

_SQLITE = 'url = "sqlite:portreeve.db"'
# The variable in which a deployment finds the password of its database.
PASSWORD_VARIABLE = "PORTREEVE_BENCH_DB_PASSWORD"  # noqa: S105  a name, no password
ISSUER = "https://bench.example"

# What a node does by itself, as seldom as it may: where one request is counted, it would be counted as its part.
_AT_REST = """
[keys]
poll_ms = 1000
heartbeat_ms = 60000

[rotation]
scheduler = false

[webhooks]
deliver = false
"""

_ROUTE = """
[[routes]]
name = "{name}"
methods = {methods}
path = "{path}"
environment = "paper"
upstream = "fast"
{access}
strip_prefix = "{prefix}"
"""

_SIGNED = 'permission = "orders:read"'
# As large as the bodies that a node holds by default: a public body is streamed, so memory must not follow it.
_PUBLIC = "public = true\nmax_body_bytes = 268435456"

POLICIES = """\
[permissions."orders:read"]
description = "Read orders."

[roles.reader]
permissions = ["orders:read"]

[tiers.standard]
key = { rate = 1000000, per = "1s", burst = 1000000 }
partner = { rate = 1000000, per = "1s", burst = 1000000 }

[tiers.tiny]
key = { rate = 1, per = "1h", burst = 1 }
partner = { rate = 1000000, per = "1s", burst = 1000000 }
"""

TARGET = "/paper/v1/orders?symbol=BTC-EUR"
STREAM_TARGET = "/paper/v1/stream"
FILE_TARGET = "/paper/v1/file"
UPLOAD_TARGET = "/public/v1/upload"


def extra_target(index: int) -> str:
    """Every other one is matched by a pattern, the rest literally."""
    path = f"/paper/v1/resource-{index}/items"
    return f"{path}/{index * 31}" if index % 2 else path


def configuration(  # noqa: PLR0913  what a deployment may differ in, each by its name
    *,
    port: int,
    upstream_port: int,
    redis_url: str | None = None,
    workers: int = 1,
    extra_routes: int = 0,
    at_rest: bool = False,
    database: str | None = None,
    behind_proxy: bool = False,
) -> str:
    redis = "" if redis_url is None else f'\n[redis]\nurl = "{redis_url}"\n'
    head = _CONFIG.format(
        port=port,
        workers=workers,
        upstream=upstream_port,
        redis=redis,
        rhythm=_AT_REST if at_rest else "",
        proxies='\ntrusted_proxies = ["127.0.0.0/8"]' if behind_proxy else "",
        storage=_SQLITE if database is None else _database(database),
    )
    return head + "".join(
        [
            _route("orders", TARGET.partition("?")[0], '["GET", "POST"]'),
            _route("stream", STREAM_TARGET),
            _route("file", FILE_TARGET),
            _ROUTE.format(
                name="upload", methods='["POST"]', path=UPLOAD_TARGET, access=_PUBLIC, prefix="/public/v1"
            ),
            *(_route(f"resource-{index}", _extra_pattern(index)) for index in range(extra_routes)),
        ]
    )


def _database(url: str) -> str:
    return f'url = "{url}"\npassword = "env:{PASSWORD_VARIABLE}"'


def _extra_pattern(index: int) -> str:
    return f"/paper/v1/resource-{index}/items" + ("/{id}" if index % 2 else "")


def _route(name: str, path: str, methods: str = '["GET"]') -> str:
    return _ROUTE.format(name=name, methods=methods, path=path, access=_SIGNED, prefix="/paper/v1")
