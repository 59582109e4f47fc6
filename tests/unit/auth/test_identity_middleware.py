"""The door in front of an upstream, with the gateway's own assertions knocking at it."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from litestar import Litestar, Request, WebSocket, get, post, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.middleware import DefineMiddleware
from litestar.params import JSONBody
from litestar.testing import AsyncTestClient, TestClient

from auth import assertion, identity, identity_keys
from auth.identity_middleware import IdentityMiddleware

NOW = 1_763_596_800_000
ISSUER = "https://portreeve.example"


class Signer(NamedTuple):
    kid: str
    private_key: Ed25519PrivateKey


class Caller(NamedTuple):
    partner: str = "acme"
    credential: str = "prk_paper_x"
    environment: str = "paper"
    roles: tuple[str, ...] = ("trader",)


SIGNER = Signer("kid-1", Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
ROTATED = Signer("kid-2", Ed25519PrivateKey.from_private_bytes(b"\x02" * 32))


def issue(
    signer: Signer = SIGNER, bind: assertion.RequestBinding | None = None, upstream: str = "paper-trading"
) -> bytes:
    assertions = assertion.Assertions(lambda: signer, ISSUER, entropy=bytes)
    return assertions.issue(assertion.state(Caller(), upstream, "orders:write"), NOW, bind).encode()


def bind(
    body: bytes = b"", method: str = "POST", path: bytes = b"/orders", query: bytes = b""
) -> assertion.RequestBinding:
    return assertion.RequestBinding("req-1", method, path, query, hashlib.sha256(body).hexdigest())


class Gateway:
    """Publishes the signers' public keys, or fails to."""

    def __init__(self, *signers: Signer) -> None:
        self.signers = list(signers)
        self.reachable = True
        self.now_ms = 0

    async def fetch(self) -> object:
        if not self.reachable:
            raise OSError("connection refused")
        return {"keys": [self._jwk(signer) for signer in self.signers]}

    @staticmethod
    def _jwk(signer: Signer) -> dict[str, Any]:
        algorithm = jwt.get_algorithm_by_name("EdDSA")
        return algorithm.to_jwk(signer.private_key.public_key(), as_dict=True) | {"kid": signer.kid}


class Application:
    """The upstream: remembers what reached it."""

    def __init__(self) -> None:
        self.scopes: list[MutableMapping[str, Any]] = []
        self.body = b""
        self.after_body: MutableMapping[str, Any] | None = None

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        self.scopes.append(scope)
        more = scope["type"] == "http"
        while more:
            message = await receive()
            self.body += message["body"]
            more = message["more_body"]
        self.after_body = await receive()
        await send({"type": "http.response.start", "status": 204, "headers": []})


@pytest.fixture
def gateway() -> Gateway:
    return Gateway(SIGNER)


@pytest.fixture
def application() -> Application:
    return Application()


def protect(application: Any, gateway: Gateway, **options: Any) -> IdentityMiddleware:  # noqa: ANN401  any ASGI application, any option
    keys = identity_keys.IdentityKeys(gateway.fetch, clock_ms=lambda: gateway.now_ms)
    return IdentityMiddleware(application, **settings(keys), **options)


def settings(keys: identity_keys.IdentityKeys) -> dict[str, Any]:
    return {
        "keys": keys,
        "issuer": ISSUER,
        "audience": "paper-trading",
        "environment": "paper",
        "now_ms": lambda: NOW,
    }


class Answer(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    problem: dict[str, Any]


async def call(
    door: IdentityMiddleware,
    *assertions: bytes,
    chunks: tuple[bytes, ...] = (b"",),
    gone: bool = False,
    **scope: Any,  # noqa: ANN401  parts of the scope the test changes
) -> Answer | None:
    """One raw ASGI request, without a server or a framework in between."""
    last = len(chunks) - 1
    waiting: list[dict[str, Any]] = [
        {"type": "http.request", "body": chunk, "more_body": gone or number < last}
        for number, chunk in enumerate(chunks)
    ]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    headers = [(b"Portreeve-Identity", value) for value in assertions]
    base = {"type": "http", "method": "POST", "raw_path": b"/orders", "query_string": b"", "headers": headers}
    await door(base | scope, receive, send)
    if not sent:
        return None
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(sent[0]["status"], dict(sent[0]["headers"]), json.loads(body) if body else {})


def refused_as(answer: Answer | None, status: int, detail: str) -> bool:
    return (
        answer is not None
        and answer.status == status
        and answer.headers[b"content-type"] == b"application/problem+json"
        and answer.problem["status"] == status
        and detail in answer.problem["detail"]
    )


async def test_a_valid_assertion_reaches_the_application(gateway: Gateway, application: Application) -> None:
    """The application finds the verified identity in its scope, and its body untouched."""
    answer = await call(protect(application, gateway), issue(), chunks=(b"one", b"two"))
    assert answer is not None
    assert answer.status == 204
    assert application.scopes[0]["state"]["identity"].partner == "acme"
    assert application.body == b"onetwo"


async def test_what_else_is_in_the_state_stays(gateway: Gateway, application: Application) -> None:
    """An identity planted earlier is replaced, and the rest is kept."""
    await call(protect(application, gateway), issue(), state={"pool": 1, "identity": "planted"})
    assert application.scopes[0]["state"]["pool"] == 1
    assert isinstance(application.scopes[0]["state"]["identity"], identity.Identity)


@pytest.mark.parametrize(
    ("assertions", "detail"),
    [
        ((), "missing"),
        ((b"",), "malformed"),
        ((b"\xff\xfe",), "malformed"),
        ((issue(), issue()), "malformed"),
        ((issue() + b"," + issue(),), "malformed"),
        ((issue(upstream="live-trading"),), "wrong_audience"),
        ((issue(Signer("kid-1", ROTATED.private_key)),), "bad_signature"),
        ((issue(ROTATED),), "unknown_key"),
    ],
)
async def test_nobody_unproved_reaches_the_application(
    gateway: Gateway, application: Application, assertions: tuple[bytes, ...], detail: str
) -> None:
    """Missing, doubled, joined, misaddressed or forged: 401, and the application is not called."""
    answer = await call(protect(application, gateway), *assertions)
    assert refused_as(answer, 401, detail)
    assert answer is not None
    assert answer.headers[b"www-authenticate"] == b"Portreeve-Identity"
    assert application.scopes == []


async def test_a_look_alike_header_proves_nothing(gateway: Gateway, application: Application) -> None:
    """Only the header itself counts: servers that fold `_` into `-` are not imitated."""
    headers = [(b"portreeve_identity", issue()), (b"x-portreeve-identity", issue())]
    assert refused_as(await call(protect(application, gateway), headers=headers), 401, "missing")
    assert application.scopes == []


async def test_a_rotated_key_is_learned_from_the_first_assertion_it_signed(
    gateway: Gateway, application: Application
) -> None:
    """An unknown kid fetches the keys again, as soon as that is allowed."""
    door = protect(application, gateway)
    await call(door, issue())
    gateway.signers.append(ROTATED)
    assert refused_as(await call(door, issue(ROTATED)), 401, "unknown_key")
    gateway.now_ms += 5_000
    answer = await call(door, issue(ROTATED))
    assert answer is not None
    assert answer.status == 204


async def test_without_keys_nobody_passes(gateway: Gateway, application: Application) -> None:
    """A gateway that cannot be reached is no reason to believe anybody."""
    gateway.reachable = False
    assert refused_as(await call(protect(application, gateway), issue()), 503, "could not be fetched")
    assert application.scopes == []


async def test_a_bound_assertion_passes_with_its_own_request(
    gateway: Gateway, application: Application
) -> None:
    """The body is read to be compared and still reaches the application, as does what comes after it."""
    written = issue(bind=bind(b'{"side":"buy"}', query=b"dry=1"))
    await call(protect(application, gateway), written, chunks=(b'{"side"', b':"buy"}'), query_string=b"dry=1")
    assert application.body == b'{"side":"buy"}'
    assert application.after_body == {"type": "http.disconnect"}
    assert application.scopes[0]["state"]["identity"].request_id == "req-1"


@pytest.mark.parametrize(
    "change",
    [
        {"chunks": (b'{"side":"sell"}',)},
        {"method": "PUT"},
        {"raw_path": b"/orders/1"},
        {"raw_path": b"/%6frders"},
        {"raw_path": None},
        {"query_string": b"dry=0"},
    ],
)
async def test_a_bound_assertion_passes_with_no_other_request(
    gateway: Gateway, application: Application, change: dict[str, Any]
) -> None:
    """The binding is compared even where the upstream did not ask for it: the assertion says so itself."""
    body = {"chunks": (b'{"side":"buy"}',)}
    written = issue(bind=bind(b'{"side":"buy"}'))
    answer = await call(protect(application, gateway), written, **(body | change))
    assert refused_as(answer, 401, "wrong_request")
    assert application.scopes == []


async def test_an_upstream_may_insist_on_a_binding(gateway: Gateway, application: Application) -> None:
    """Then a reusable assertion is not enough."""
    door = protect(application, gateway, require_binding=True)
    assert refused_as(await call(door, issue()), 401, "wrong_request")
    answer = await call(door, issue(bind=bind()))
    assert answer is not None
    assert answer.status == 204


@pytest.mark.parametrize(("size", "status"), [(8, 204), (9, 413)])
async def test_a_bound_body_is_read_up_to_a_limit(
    gateway: Gateway, application: Application, size: int, status: int
) -> None:
    """The last byte within the limit passes; one more is refused, not buffered."""
    body = b"x" * size
    door = protect(application, gateway, max_body_bytes=8)
    answer = await call(door, issue(bind=bind(body)), chunks=(body[:4], body[4:]))
    assert answer is not None
    assert answer.status == status


async def test_a_client_that_leaves_during_its_body_gets_no_answer(
    gateway: Gateway, application: Application
) -> None:
    """Half a body is compared with nothing and reaches nobody."""
    answer = await call(
        protect(application, gateway), issue(bind=bind(b"half")), chunks=(b"half",), gone=True
    )
    assert answer is None
    assert application.scopes == []


async def test_lifespan_passes_without_an_identity(gateway: Gateway) -> None:
    """Startup is the server's, and has no caller."""
    seen: list[str] = []

    async def application(scope: MutableMapping[str, Any], _receive: object, _send: object) -> None:
        seen.append(scope["type"])

    await call(protect(application, gateway), type="lifespan")
    assert seen == ["lifespan"]


async def test_an_unknown_kind_of_scope_does_not_pass(gateway: Gateway, application: Application) -> None:
    """What has no headers to prove anything with fails before the application."""
    door = protect(application, gateway)
    with pytest.raises(KeyError):
        await door({"type": "datagram"}, lambda: pytest.fail("read"), lambda _: pytest.fail("sent"))
    assert application.scopes == []


async def test_the_identity_reads_the_system_clock_unless_given_one(
    gateway: Gateway, application: Application
) -> None:
    """An assertion of long ago is expired by the clock that upstreams run with."""
    options = settings(identity_keys.IdentityKeys(gateway.fetch))
    del options["now_ms"]
    assert refused_as(await call(IdentityMiddleware(application, **options), issue()), 401, "expired")


@get("/orders")
async def read_orders(request: Request[Any, Any, Any]) -> dict[str, str]:
    return {"partner": request.state.identity.partner}


@post("/orders")
async def write_order(request: Request[Any, Any, Any], data: JSONBody[dict[str, str]]) -> dict[str, str]:
    return data | {"request": request.state.identity.request_id}


@websocket("/ticks")
async def stream_ticks(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    await socket.send_json({"partner": socket.state.identity.partner})
    await socket.close()


@pytest.fixture
def litestar_application(gateway: Gateway) -> Litestar:
    keys = identity_keys.IdentityKeys(gateway.fetch)
    return Litestar(
        [read_orders, write_order, stream_ticks],
        middleware=[DefineMiddleware(IdentityMiddleware, **settings(keys))],
    )


async def test_under_litestar_a_caller_is_known(litestar_application: Litestar) -> None:
    """As Litestar middleware: with an assertion the handler knows who calls, without one it never runs."""
    async with AsyncTestClient(litestar_application) as client:
        known = await client.get("/orders", headers={"Portreeve-Identity": issue().decode()})
        unknown = await client.get("/orders")
    assert known.json() == {"partner": "acme"}
    assert (unknown.status_code, unknown.json()["code"]) == (401, "invalid_identity")


async def test_under_litestar_a_bound_body_reaches_the_handler(litestar_application: Litestar) -> None:
    """The body that was compared is the body that the handler decodes."""
    body = b'{"side":"buy"}'
    written = {"Portreeve-Identity": issue(bind=bind(body)).decode()}
    async with AsyncTestClient(litestar_application) as client:
        bound = await client.post("/orders", content=body, headers=written)
        other = await client.post("/orders", content=b'{"side":"sell"}', headers=written)
    assert bound.json() == {"side": "buy", "request": "req-1"}
    assert other.status_code == 401


def test_under_litestar_a_websocket_needs_an_identity(litestar_application: Litestar) -> None:
    """A bound assertion opens the socket it was made for; without one the handshake is closed."""
    opening = {"Portreeve-Identity": issue(bind=bind(method="GET", path=b"/ticks")).decode()}
    with TestClient(litestar_application) as client:
        with client.websocket_connect("/ticks", headers=opening) as socket:
            assert socket.receive_json() == {"partner": "acme"}
        with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/ticks"):
            pytest.fail("the socket opened")
    assert closed.value.code == 1008


def test_the_upstream_side_needs_nothing_else_of_portreeve() -> None:
    """An upstream can take the three files: no other room, and no dependency but two, comes with them."""
    script = (
        "import sys; import auth.identity_middleware; "
        "rooms = {'gateway', 'keys', 'policies', 'storage', 'msgspec', 'litestar', 'sqlalchemy'}; "
        "print(*sorted(rooms & {name.partition('.')[0] for name in sys.modules})); "
        "print(*sorted(name for name in sys.modules if name.startswith('auth.')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["", "auth.identity auth.identity_keys auth.identity_middleware"]
