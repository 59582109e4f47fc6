"""`sign` and `request`, run as a partner would."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click.testing
import pytest

from gateway import cli

Run = Callable[..., click.testing.Result]
SECRET = "prs_paper_secret"
SEED = "208a1c32bc8e344c463b1193e715f0408760c62a7293c8d0fe86b3d5c0c800eb"


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """The demo upstream in a process of its own: it echoes what reaches it."""
    command = [sys.executable, "-m", "gateway.demo.upstream", "--leashed", "--environment", "paper"]
    command += ["--name", "paper-trading", "--issuer", "https://i.example", "--gateway", "http://127.0.0.1:1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split(" ")[-1].strip()
        assert process.stdin is not None
        process.stdin.close()  # the leash
        assert process.wait(10) == 0


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    for name in ("PORTREEVE_CREDENTIALS", "PORTREEVE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PORTREEVE_SECRET", SECRET)

    def invoke(*arguments: str, code: int = 0, stdin: bytes = b"") -> click.testing.Result:
        result = click.testing.CliRunner().invoke(cli.cli, arguments, prog_name="portreeve", input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        assert SECRET not in result.output
        return result

    return invoke


def echoed(result: click.testing.Result) -> Any:  # noqa: ANN401  the upstream's JSON
    return json.loads(result.stdout)


def test_sign_prints_the_four_headers_and_nothing_else(run: Run) -> None:
    """One header a line, ready for `curl -H @-`; a body adds none."""
    lines = run("sign", "POST", "/paper/v1/orders", "--key", "k", "--data", "{}").stdout.splitlines()
    names = ["Portreeve-Key", "Portreeve-Timestamp", "Portreeve-Nonce", "Portreeve-Signature"]
    assert [line.split(": ")[0] for line in lines] == names
    assert list(json.loads(run("sign", "GET", "/", "--key", "k", "--json").stdout)) == names


def test_every_signature_has_a_nonce_of_its_own(run: Run) -> None:
    """Two signatures of one request can both be sent."""
    first, second = (json.loads(run("sign", "GET", "/", "--key", "k", "--json").stdout) for _ in range(2))
    assert first["Portreeve-Nonce"] != second["Portreeve-Nonce"]


def test_a_narrower_window_is_part_of_what_is_signed(run: Run) -> None:
    """It stands behind the time, in the signed header."""
    signed = json.loads(run("sign", "GET", "/", "--key", "k", "--window", "5000", "--json").stdout)
    assert signed["Portreeve-Timestamp"].endswith("/5000")


def test_the_form_of_the_secret_chooses_the_algorithm(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seed signs with Ed25519, from a file as from the variable."""
    (tmp_path / "seed").write_text(SEED + "\n", "ascii")
    from_file = json.loads(run("sign", "GET", "/", "--key", "k", "--secret-file", "seed", "--json").stdout)
    assert len(from_file["Portreeve-Signature"]) == 128
    monkeypatch.setenv("PORTREEVE_SECRET", SEED)
    from_variable = json.loads(run("sign", "GET", "/", "--key", "k", "--json").stdout)
    assert len(from_variable["Portreeve-Signature"]) == 128


def test_no_option_takes_a_secret(run: Run) -> None:
    """Every process of the machine can read another's arguments."""
    run("sign", "GET", "/", "--key", "k", "--secret", "prs_x", code=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("GET",),
        ("GET", "orders"),
        ("get", "/"),
        ("GET", "/", "--window", "60001"),
        ("GET", "/", "--window", "0"),
        ("GET", "/", "--secret-file", "nowhere"),
    ],
)
def test_wrong_usage_exits_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    """What was typed wrong is told apart from what was refused."""
    for command in ("sign", "request"):
        run(command, *arguments, "--key", "k", code=2)


def test_what_can_not_be_signed_exits_with_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, no secret, a secret in no known form, a body that is not there."""
    assert "--key" in run("sign", "GET", "/", code=1).stderr
    assert "nowhere" in run("sign", "GET", "/", "--key", "k", "--data", "@nowhere", code=1).stderr
    monkeypatch.setenv("PORTREEVE_SECRET", "hunter2")
    assert "hunter2" not in run("sign", "GET", "/", "--key", "k", code=1).stderr
    monkeypatch.delenv("PORTREEVE_SECRET")
    assert "--secret-file" in run("sign", "GET", "/", "--key", "k", code=1).stderr


def test_request_sends_the_target_as_typed(run: Run, base_url: str) -> None:
    """Byte for byte, with the four headers."""
    seen = echoed(run("request", "GET", "/echo/%41?b=2&a=%7e&&", "--key", "k", "--url", base_url))
    assert (seen["method"], seen["target"]) == ("GET", "/echo/%41?b=2&a=%7e&&")
    names = [name for name, _ in seen["headers"]]
    assert names[1:] == ["Portreeve-Key", "Portreeve-Timestamp", "Portreeve-Nonce", "Portreeve-Signature"]


def test_a_body_is_text_a_file_or_standard_input(run: Run, base_url: str, tmp_path: Path) -> None:
    """Bytes stay bytes, and JSON is assumed unless a header says otherwise."""
    (tmp_path / "body").write_bytes(b"\x00\xff\r\n")
    send = ("request", "POST", "/echo", "--key", "k", "--url", base_url, "--data")
    assert echoed(run(*send, "{}"))["body_hex"] == b"{}".hex()
    assert echoed(run(*send, "@body"))["body_hex"] == "00ff0d0a"
    piped = echoed(run(*send, "@-", stdin=b"\xfe", code=0))
    assert piped["body_hex"] == "fe"
    assert ["Content-Type", "application/json"] in piped["headers"]
    typed = echoed(run(*send, "x", "-H", "content-type: text/plain"))["headers"]
    assert [value for name, value in typed if name.lower() == "content-type"] == ["text/plain"]


def test_more_headers_are_sent_in_order(run: Run, base_url: str) -> None:
    """Repeated ones stay repeated; one without a colon is wrong usage."""
    send = ("request", "GET", "/echo", "--key", "k", "--url", base_url)
    seen = echoed(run(*send, "-H", "X-A: 1", "-H", "X-A:2"))
    assert seen["headers"][-2:] == [["X-A", "1"], ["X-A", "2"]]
    run(*send, "-H", "nonsense", code=2)
    run(*send, "-H", "X: a\r\nY: b", code=2)


def test_a_refusal_exits_with_1_and_shows_its_body(run: Run, base_url: str) -> None:
    """The status goes to stderr and the problem to stdout, where a script expects the body."""
    result = run("request", "GET", "/orders", "--key", "k", "--url", base_url, code=1)
    assert "401 Unauthorized" in result.stderr
    assert json.loads(result.stdout)["error"]["code"] == "not_identified"


def test_the_whole_answer_can_be_had(run: Run, base_url: str) -> None:
    """As text with `-i`, as JSON with `--json`."""
    send = ("request", "GET", "/slow?ms=0", "--key", "k", "--url", base_url)
    assert run(*send, "-i").stdout.startswith("200 OK\ncontent-type: application/json\n")
    whole = json.loads(run(*send, "--json").stdout)
    assert (whole["status"], whole["body"]) == (200, '{"slept_ms":0}')


def test_the_gateway_is_the_stored_one_unless_told_otherwise(
    run: Run, base_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The credentials file brings its gateway along; the variable and the option outrank it."""
    monkeypatch.delenv("PORTREEVE_SECRET")
    (tmp_path / ".portreeve").mkdir()
    key = {"id": "k", "algorithm": "hmac-sha256", "environment": "paper", "roles": [], "partner": "p"}
    stored = {"base_url": base_url, "keys": [{**key, "secret": SECRET}]}
    (tmp_path / ".portreeve/demo.json").write_text(json.dumps(stored), "utf-8")
    assert ["Portreeve-Key", "k"] in echoed(run("request", "GET", "/echo"))["headers"]
    monkeypatch.setenv("PORTREEVE_URL", "http://127.0.0.1:1")
    assert "127.0.0.1:1" in run("request", "GET", "/echo", code=1).stderr
    assert echoed(run("request", "GET", "/echo", "--url", base_url))["method"] == "GET"
