"""`portreeve demo`, as `make run` starts it: one command, the whole product, and an orderly end."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # ships no types
import pytest

from tests.support import optional, signing
from tests.support.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 60
ORDER = b'{"symbol":"ACME","side":"buy","quantity":"2","type":"market"}'


class Demo:
    """One run of the demo, in a directory of its own."""

    def __init__(self, place: Path, port: int) -> None:
        self.place = place
        self.port = port
        self.said = ""
        self.environ = {**os.environ, "PORT": str(port), "PYTHONPATH": str(ROOT)}
        for name in ("PORTREEVE_CONFIG", "PORTREEVE_SECRET", "PORTREEVE_CREDENTIALS", "PORTREEVE_URL"):
            self.environ.pop(name, None)
        self.errors = (place / "stderr").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "demo"],
            cwd=place,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def wait_ready(self) -> None:
        """It ends what it says with how to stop it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if line.startswith("Ctrl-C"):
                return
        raise AssertionError(f"the demo ended before it was ready: {self.stderr()}")

    def children(self) -> dict[str, int]:
        """Its processes by what they are."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            line = shlex.join(child.cmdline())
            module = re.search(r"gateway\.demo\.(\w+)", line)
            environment = re.search(r"--environment (\w+)", line)
            if module:
                found[environment[1] if environment else module[1]] = child.pid
        return found

    def run(self, *command: str, script: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.place,
            env=self.environ,
            input=script,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def portreeve(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "gateway", *arguments)

    def command(self, *arguments: str) -> Any:  # noqa: ANN401  its JSON
        done = self.portreeve(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def request(self, *arguments: str) -> tuple[int, Any]:
        """The status and the JSON body of one signed request by the command line."""
        done = self.portreeve("request", *arguments, "--json")
        assert done.stdout, done.stderr
        answer = json.loads(done.stdout)
        return answer["status"], json.loads(answer["body"])

    def credentials(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.place / ".portreeve/demo.json").read_text("utf-8"))
        return document

    def stderr(self) -> str:
        return (self.place / "stderr").read_text("utf-8")

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)

    def close(self) -> None:
        # Whatever a test left running; each by the id that this demo itself reports.
        left = list(self.children().values()) if self.process.poll() is None else []
        self.stop()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.errors.close()


@contextlib.contextmanager
def running(place: Path, port: int | None = None) -> Iterator[Demo]:
    demo = Demo(place, port or free_port())
    try:
        demo.wait_ready()
        yield demo
    finally:
        demo.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running(tmp_path_factory.mktemp("demo")) as started:
        yield started


def require(*names: str) -> None:
    missing = [name for name in names if shutil.which(name) is None]
    if missing and os.environ.get(optional.REQUIRE_VARIABLE) == "all":
        pytest.fail(f"not on PATH: {', '.join(missing)}")
    if missing:
        pytest.skip(f"pasting needs {', '.join(missing)} on PATH")


def key_of(demo: Demo, **wanted: object) -> dict[str, Any]:
    keys: list[dict[str, Any]] = demo.credentials()["keys"]
    return next(key for key in keys if wanted.items() <= key.items())


def eventually(condition: Any, what: str) -> None:  # noqa: ANN401  any callable without arguments
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_printed_snippet_works_when_pasted_and_pasted_again(demo: Demo) -> None:
    """Nothing but a shell, openssl and curl: signed at the moment it runs, so never stale and never replayed."""
    require("openssl", "curl")
    snippet = demo.said[demo.said.index("(\n  url=") : demo.said.index("\n)\n") + 3]
    for shell in ("sh", "sh"):
        pasted = demo.run(shell, script=snippet)
        assert pasted.stderr == ""
        assert json.loads(pasted.stdout)["environment"] == "paper"


def test_the_printed_token_request_works_when_pasted(demo: Demo) -> None:
    """A token by curl, and a request with it."""
    require("curl")
    snippet = demo.said[demo.said.index("(\n  url=", demo.said.index("An access token")) :]
    pasted = demo.run("sh", script=snippet[: snippet.index("\n)\n") + 3])
    assert pasted.stderr == ""
    assert json.loads(pasted.stdout)["environment"] == "paper"


def test_the_printed_command_works_as_printed(demo: Demo) -> None:
    """Copied from the terminal, run in the same directory."""
    [line] = [line.strip() for line in demo.said.splitlines() if " request GET " in line]
    done = demo.run("sh", script=line)
    assert (done.returncode, json.loads(done.stdout)["environment"]) == (0, "paper"), done.stderr


def test_the_printed_places_exist(demo: Demo) -> None:
    """What it says it has written, it has written, and for its owner alone."""
    state = demo.place / ".portreeve"
    for name in ("portreeve.toml", "policies.toml", "demo.json", "requests.log"):
        assert str(Path(".portreeve") / name) in demo.said
    modes = {file.name: file.stat().st_mode & 0o777 for file in state.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert state.stat().st_mode & 0o777 == 0o700
    assert demo.credentials()["base_url"] == f"http://127.0.0.1:{demo.port}"


def test_every_key_of_the_file_signs_for_its_own_environment(demo: Demo) -> None:
    """Both algorithms, both environments, both roles."""
    for key in demo.credentials()["keys"]:
        if not {"trader", "viewer"} & set(key["roles"]):
            continue
        status, body = demo.request("GET", f"/{key['environment']}/v1/orders", "--key", key["id"])
        assert (status, body["environment"]) == (200, key["environment"])


def test_a_trader_trades_and_a_viewer_looks_on(demo: Demo) -> None:
    """The order is placed under the partner that the assertion names; the other partner sees none of it."""
    trader, viewer = (key_of(demo, algorithm="ed25519")["id"], key_of(demo, roles=["viewer"])["id"])
    order = ("POST", "/paper/v1/orders", "--data", ORDER.decode())
    status, placed = demo.request(*order, "--key", trader)
    assert (status, placed["state"]) == (201, "filled")
    assert demo.request("GET", f"/paper/v1/orders/{placed['id']}", "--key", viewer) == (200, placed)
    status, refused = demo.request(*order, "--key", viewer)
    assert (status, refused["code"]) == (403, "permission_denied")
    stranger = key_of(demo, partner="borealis")["id"]
    assert demo.request("GET", f"/paper/v1/orders/{placed['id']}", "--key", stranger)[0] == 404


def test_the_control_surface_answers_the_operators_keys(demo: Demo) -> None:
    """The officer sees every partner, the partner's admin its own, and a trader none."""
    target = ("GET", "/control/v1/partners")
    seen = {
        role: demo.request(*target, "--key", key_of(demo, roles=[role])["id"])
        for role in ("security-officer", "partner-admin", "trader")
    }
    assert {one["id"] for one in seen["security-officer"][1]["items"]} >= {"acme", "borealis", "operations"}
    assert [one["id"] for one in seen["partner-admin"][1]["items"]] == ["acme"]
    assert (seen["trader"][0], seen["trader"][1]["code"]) == (403, "permission_denied")


def test_nothing_crosses_between_paper_and_live(demo: Demo) -> None:
    """A paper key on a live route is told so."""
    status, body = demo.request("GET", "/live/v1/orders", "--key", key_of(demo, algorithm="ed25519")["id"])
    assert (status, body["code"]) == (403, "environment_mismatch")


def test_the_upstream_gets_an_identity_and_no_credentials(demo: Demo) -> None:
    """The echo shows what the gateway adds and what it keeps to itself."""
    status, seen = demo.request("POST", "/paper/v1/echo/a~b?x=%7e", "--data", "{}")
    names = [name for name, _ in seen["headers"]]
    assert (status, seen["target"], seen["body_hex"]) == (200, "/echo/a~b?x=%7e", b"{}".hex())
    assert names.count("portreeve-identity") == 1
    assert {"portreeve-key", "portreeve-timestamp", "portreeve-nonce", "portreeve-signature"}.isdisjoint(
        names
    )


def test_a_key_made_or_revoked_by_command_is_known_at_once(demo: Demo) -> None:
    """The command line acts on the store that the running node serves from."""
    asked = ("--partner", "acme", "--environment", "paper", "--algorithm", "hmac-sha256", "--role", "viewer")
    made = demo.command("keys", "create", *asked)
    signer = signing.Signer(made["id"], "hmac-sha256", made["secret"])

    def answer() -> bytes:
        wire = signer.request("GET", b"/paper/v1/orders")
        with socket.create_connection(("127.0.0.1", demo.port), timeout=10) as connection:
            connection.sendall(wire)
            return connection.recv(65_536)

    eventually(lambda: b" 200 " in answer(), "the new key is served")
    demo.command("keys", "revoke", made["id"], "--reason", "test")
    eventually(lambda: b"key_revoked" in answer(), "the revocation is served")
    # Whether there was a compiler is not the demo's.
    verdicts = {one["subject"]: one["verdict"] for one in demo.command("doctor")}
    del verdicts["compiled room"]
    assert set(verdicts.values()) == {"ok"}


def test_no_secret_reaches_a_log(demo: Demo) -> None:
    """Neither the request log nor stderr, after everything above."""
    written = (demo.place / ".portreeve/requests.log").read_text("utf-8") + demo.stderr()
    assert '"route"' in written or "paper" in written
    for key in demo.credentials()["keys"]:
        assert (key.get("secret") or key["private_key_hex"]) not in written
    for client in demo.credentials()["oauth_clients"]:
        assert (client.get("client_secret") or client["private_jwk"]["d"]) not in written


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_and_the_next_run_goes_on(tmp_path: Path, number: int) -> None:
    """No process and no port is left; keys and orders' owners are the same after a restart on the same port."""
    port = free_port()
    with running(tmp_path, port) as first:
        pids, before = first.children(), first.credentials()
        assert pids.keys() == {"node", "paper", "live"}
        assert first.stop(number) == 0
        assert first.stderr() == ""
        assert not any(is_running(pid) for pid in pids.values())
        assert not is_listening(port)
    with running(tmp_path, port) as second:
        assert second.credentials() == before
        assert second.request("GET", "/paper/v1/orders")[0] == 200


@pytest.mark.parametrize(("victim", "name"), [("node", "gateway"), ("live", "live upstream")])
def test_a_child_that_dies_takes_the_demo_along(tmp_path: Path, victim: str, name: str) -> None:
    """Half a demo is not left running; the message says which process it was."""
    with running(tmp_path) as demo:
        pids = demo.children()
        os.kill(pids[victim], signal.SIGKILL)
        assert demo.process.wait(30) == 1
        assert f"Error: the {name} process ended by signal 9" in demo.stderr()
        assert not any(is_running(pid) for pid in pids.values())


def test_children_do_not_outlive_a_demo_that_is_killed(tmp_path: Path) -> None:
    """Even when it had no chance to stop them."""
    with running(tmp_path) as demo:
        pids = demo.children()
        assert demo.stop(signal.SIGKILL) == -signal.SIGKILL
        for name, pid in pids.items():
            eventually(lambda pid=pid: not is_running(pid), f"{name} has gone")


def test_a_second_demo_in_the_same_place_is_refused(demo: Demo) -> None:
    """And the first goes on."""
    refused = demo.portreeve("demo", "--port", str(free_port()))
    assert (refused.returncode, "already" in refused.stderr) == (1, True)
    assert demo.request("GET", "/paper/v1/orders")[0] == 200


def test_a_gateway_that_can_not_start_is_told(tmp_path: Path) -> None:
    """A configuration that somebody has broken ends the demo with the place of the error."""
    with running(tmp_path):
        pass
    config = tmp_path / ".portreeve/portreeve.toml"
    config.write_text(config.read_text("utf-8").replace("[keys]", "[kees]"), "utf-8")
    with pytest.raises(AssertionError, match="kees"), running(tmp_path):
        pass
