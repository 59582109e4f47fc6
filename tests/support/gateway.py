"""Real gateways in processes of their own, driven by what the contract fixes: files, commands and sockets.

Invariant: nothing of the product is imported. A `Deployment` is one directory with one configuration and one
store; each of its `Node`s is one `serve` process on a free loopback port, ended by its own process id.
"""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import string
import subprocess
import sys
import time
import urllib.parse
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support import gateway_config, rawhttp, signing
from tests.support.processes import free_port
from tests.support.recording_upstream import RecordingUpstream

ROOT = Path(__file__).resolve().parents[2]
PASSWORD_VARIABLE = "PORTREEVE_TEST_DB_PASSWORD"
READY_WITHIN = 90.0
_ONLY_LETTERS = str.maketrans("-_", "ab")
_PAGE = os.sysconf("SC_PAGE_SIZE")

# A node whose clock is off: the interpreter runs this before anything of the product.
_SHIFTED_CLOCK = """\
import time
_seconds = {seconds}
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _seconds
time.time_ns = lambda: _time_ns() + _seconds * 1_000_000_000
"""


class CommandFailed(AssertionError):
    """The command line answered an error."""

    def __init__(self, arguments: tuple[str, ...], code: int, output: str, errors: str) -> None:
        super().__init__(f"portreeve {' '.join(arguments)} → {code}\n{output}\n{errors}")
        self.code = code
        self.output = output
        self.errors = errors


class NeverReady(AssertionError):
    """A node did not come up, or went away while it should serve."""


def wait_until(condition: Any, within: float, what: str) -> float:  # noqa: ANN401  any callable without arguments
    """Poll until it holds; how long that took, in seconds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > within:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(0.01)
    return time.monotonic() - began


class Node:
    """One `serve` process."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path, clock_seconds: int) -> None:
        self.process = process
        self.port = port
        self.log = log
        # What it is asked with where it speaks TLS.
        self.tls: ssl.SSLContext | None = None
        self._clock_ms = clock_seconds * 1000

    def now_ms(self) -> int:
        """By this node's own clock."""
        return signing.now_ms() + self._clock_ms

    @property
    def address(self) -> rawhttp.Address:
        return ("127.0.0.1", self.port)

    def ask(self, wire: bytes, *, method: str = "GET", timeout: float = 30.0) -> rawhttp.Answer:
        return rawhttp.ask(self.address, wire, method=method, timeout=timeout, tls=self.tls)

    def connect(self, *, timeout: float = 30.0) -> rawhttp.Connection:
        return rawhttp.Connection(self.address, timeout=timeout, tls=self.tls)

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def health(self, which: str) -> int:
        """The status of a health endpoint; 0 when nobody answers."""
        try:
            return self.ask(signing.plain_request("GET", f"/health/{which}".encode()), timeout=5).status
        except (OSError, AssertionError):
            return 0

    def wait_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while self.health("ready") != 200:
            if not self.is_alive() or time.monotonic() > deadline:
                self.stop()
                raise NeverReady(self.log_text()[-4000:])
            time.sleep(0.05)

    def resident_bytes(self) -> int:
        """Of the serving process and its children."""
        return sum(_resident(pid) for pid in [self.process.pid, *_children(self.process.pid)])

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def log_lines(self) -> list[dict[str, Any]]:
        """The structured lines; anything else on stdout or stderr is left out."""
        found = []
        for line in self.log_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                parsed = json.loads(line)
                found += [parsed] if isinstance(parsed, dict) else []
        return found

    def terminate(self) -> None:
        self.process.terminate()

    def stop(self) -> int:
        """Ask it to end, and make it end if it does not."""
        if self.is_alive():
            self.process.terminate()
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(5)


class Deployment:
    """One configuration, one store, its upstreams and its nodes."""

    def __init__(
        self,
        directory: Path,
        *,
        storage: str = "sqlite:portreeve.db",
        redis: str | None = None,
        changes: gateway_config.Table | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.directory = directory
        self.tls = tls
        self.paper = RecordingUpstream()
        self.live = RecordingUpstream()
        self.nodes: list[Node] = []
        self._keys: dict[tuple[Any, ...], signing.Signer] = {}
        self._partners: set[str] = set()
        self._environment = dict(os.environ)
        document = gateway_config.settings(
            paper=self.paper.url,
            live=self.live.url,
            dead=f"http://127.0.0.1:{free_port()}",
            storage=self._without_password(storage),
            redis=redis,
        )
        if PASSWORD_VARIABLE in self._environment:
            document["storage"]["password"] = f"env:{PASSWORD_VARIABLE}"
        self.document = gateway_config.merged(document, changes or {})
        self.policies = gateway_config.policies()
        self.config = self.write("portreeve.toml", {})
        (directory / "policies.toml").write_text(gateway_config.to_toml(self.policies))

    def _without_password(self, url: str) -> str:
        """Passwords come by reference only."""
        parts = urllib.parse.urlsplit(url)
        if parts.password is None:
            return url
        self._environment[PASSWORD_VARIABLE] = urllib.parse.unquote(parts.password)
        return url.replace(f":{parts.password}@", "@", 1)

    @property
    def password(self) -> str | None:
        """The store's, where it has one."""
        return self._environment.get(PASSWORD_VARIABLE)

    def write(self, name: str, changes: gateway_config.Table) -> Path:
        """Write the configuration, changed for one node or one test, under a name of its own."""
        path = self.directory / name
        path.write_text(gateway_config.to_toml(gateway_config.merged(self.document, changes)))
        path.chmod(0o600)
        return path

    def run(self, *arguments: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateway", "--config", str(config or self.config), *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=60, check=False
        )

    def command(self, *arguments: str) -> str:
        """Its stdout; an error raises."""
        done = self.run(*arguments)
        if done.returncode != 0:
            raise CommandFailed(arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def init(self) -> Deployment:
        self.command("init")
        return self

    def partner(self, name: str, tier: str = "standard") -> str:
        if name not in self._partners:
            self.command("partners", "create", name, "--name", name.title(), "--tier", tier)
            self._partners.add(name)
        return name

    def key(self, *, partner: str = "acme", tier: str = "standard", **request: Any) -> signing.Signer:  # noqa: ANN401  see new_key
        """A key of this kind, made when it is first asked for."""
        wanted = (partner, *sorted(request.items()))
        if wanted not in self._keys:
            self.partner(partner, tier)
            self._keys[wanted] = self.new_key(partner=partner, **request)
        return self._keys[wanted]

    def new_key(
        self,
        *,
        partner: str,
        environment: str = "paper",
        algorithm: str = "hmac-sha256",
        role: str = "trader",
        cidrs: tuple[str, ...] = (),
        expires: str | None = None,
    ) -> signing.Signer:
        """Another key, through the command line; its node may need up to a second to see it."""
        seed, public = signing.new_ed25519() if algorithm == "ed25519" else ("", "")
        arguments = [
            "--partner",
            partner,
            "--environment",
            environment,
            "--algorithm",
            algorithm,
            "--role",
            role,
        ]
        arguments += ["--public-key", public] if public else []
        arguments += [part for cidr in cidrs for part in ("--cidr", cidr)]
        arguments += ["--expires", expires] if expires else []
        made = json.loads(self.command("keys", "create", *arguments, "--json"))
        signer = signing.Signer(made["id"], algorithm, seed or made["secret"])
        for node in self.nodes:
            if node.is_alive():
                wait_until(lambda node=node: not _is_unknown(node, signer), 30, "a new key is served")
        return signer

    def serve(
        self,
        *,
        changes: gateway_config.Table | None = None,
        clock_seconds: int = 0,
        port: int | None = None,
    ) -> Node:
        """One more node, ready; its own changes, and its clock that many seconds off."""
        name = f"node-{len(self.nodes) + 1}"
        port = port or free_port()
        place = {"server": {"host": "127.0.0.1", "port": port}}
        config = self.write(f"{name}.toml", gateway_config.merged(place, changes or {}))
        log = self.directory / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "--config", str(config), "serve"],
                cwd=ROOT,
                env=self._node_environment(clock_seconds),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        node = Node(process, port, log, clock_seconds)
        node.tls = self.tls
        self.nodes.append(node)
        node.wait_ready()
        return node

    def _node_environment(self, clock_seconds: int) -> Mapping[str, str]:
        if not clock_seconds:
            return self._environment
        place = self.directory / f"clock-{clock_seconds}"
        place.mkdir(exist_ok=True)
        (place / "sitecustomize.py").write_text(_SHIFTED_CLOCK.format(seconds=clock_seconds))
        return {**self._environment, "PYTHONPATH": str(place)}

    @property
    def node(self) -> Node:
        return self.nodes[0]

    @staticmethod
    def unknown_key(like: signing.Signer) -> signing.Signer:
        """A well-formed key id, checksum included, that nobody has."""
        body = like.key_id[:-28] + signing.fresh_nonce().translate(_ONLY_LETTERS)[:22]
        return signing.Signer(body + _base62(zlib.crc32(body.encode()), 6), like.algorithm, like.secret)

    def upstream_saw(self, text: bytes) -> bool:
        return text in self.paper.received or text in self.live.received

    def close(self) -> None:
        """Stop everything, then insist that no log ever held a secret."""
        for node in self.nodes:
            node.stop()
        self.paper.stop()
        self.live.stop()
        for node in self.nodes:
            for signer in self._keys.values():
                assert signer.secret not in node.log_text(), f"a secret stands in {node.log.name}"


@contextlib.contextmanager
def deployed(
    directory: Path,
    *,
    storage: str = "sqlite:portreeve.db",
    redis: str | None = None,
    nodes: int = 1,
    changes: gateway_config.Table | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Deployment]:
    """A deployment, initialised and with its nodes ready; closed at the end whatever happens."""
    deployment = Deployment(directory, storage=storage, redis=redis, changes=changes, tls=tls)
    try:
        deployment.init()
        for _ in range(nodes):
            deployment.serve()
        yield deployment
    finally:
        deployment.close()


def _base62(number: int, width: int) -> str:
    digits = string.digits + string.ascii_uppercase + string.ascii_lowercase
    shown = ""
    for _ in range(width):
        number, digit = divmod(number, 62)
        shown = digits[digit] + shown
    return shown


def _is_unknown(node: Node, signer: signing.Signer) -> bool:
    # A route that nobody may use: the key is proved there, and no limit is charged for the asking.
    answer = node.ask(signer.request("GET", b"/admin/probe", timestamp=str(node.now_ms())))
    return answer.code == "bad_signature"


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed]
