"""`request` and `sign`: a partner's first steps, and an operator's probe. They read no configuration."""

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from gateway import clocks
from gateway.cli import client, credentials, output

DEFAULT_URL: Final = "http://127.0.0.1:8080"
REFUSALS_FROM: Final = 400

Command = TypeVar("Command", bound=Callable[..., Any])


def signing_options(command: Command) -> Command:
    path = click.Path(path_type=Path, dir_okay=False, exists=True)
    for option in (
        click.option("--window", type=click.IntRange(1, 60_000), help="Narrow the window, in milliseconds."),
        click.option("--data", "given", help="The body; @FILE reads a file, @- standard input."),
        click.option("--credentials", "credentials_file", type=path, help="Keys, in the form of demo.json."),
        click.option("--secret-file", type=path, help="The secret alone; or set PORTREEVE_SECRET."),
        click.option("--key", "key_id", help="Which key signs.  [default: the first that fits the target]"),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("method")
@click.argument("target")
@signing_options
@click.option("--json", "as_json", is_flag=True, help="Print the headers as a JSON object.")
def sign(method: str, target: str, as_json: bool, **options: Any) -> None:  # noqa: ANN401  click hands them on
    """Print the headers that sign METHOD TARGET, for `curl -H @-` and the like. Works offline."""
    signed, _ = _sign(method, target, _read_body(options.pop("given")), **options)
    if as_json:
        output.print_json(dict(signed))
    else:
        for name, value in signed:
            output.say(f"{name}: {value}")


@click.command()
@click.argument("method")
@click.argument("target")
@signing_options
@click.option("--url", envvar="PORTREEVE_URL", help=f"The gateway.  [default: as stored, else {DEFAULT_URL}]")
@click.option("-H", "--header", "headers", multiple=True, help="Another header: 'Name: value'.")
@click.option("-i", "--include", is_flag=True, help="Print status and headers before the body.")
@click.option("--json", "as_json", is_flag=True, help="Print status, headers and body as a JSON object.")
def request(  # noqa: PLR0913, PLR0917  one parameter an option
    method: str,
    target: str,
    url: str | None,
    headers: tuple[str, ...],
    include: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401  click hands them on
) -> None:
    """Sign METHOD TARGET and send it, byte for byte. Exits with 1 unless the answer is a success."""
    given = options.pop("given")
    body = _read_body(given)
    signed, stored_url = _sign(method, target, body, **options)
    own = [_parse_header(header) for header in headers]
    if given is not None and not any(name.lower() == "content-type" for name, _ in own):
        own.append(("Content-Type", "application/json"))
    ready = client.SignedRequest(method, target, (*signed, *own), body)
    with _reported():
        answer = client.send(url or stored_url or DEFAULT_URL, ready)
    if as_json:
        output.print_json(_describe(answer))
    else:
        _print_answer(answer, include=include)
    if answer.status >= REFUSALS_FROM:
        sys.exit(1)


def _sign(  # noqa: PLR0913  what is signed, and the options that both commands take
    method: str,
    target: str,
    body: bytes,
    *,
    key_id: str | None,
    secret_file: Path | None,
    credentials_file: Path | None,
    window: int | None,
) -> tuple[client.Headers, str | None]:
    sources = credentials.Sources(key_id, secret_file, credentials_file, os.environ)
    now_ms = clocks.wall_ms()
    timestamp = f"{now_ms}/{window}" if window else str(now_ms)
    nonce = secrets.token_urlsafe(client.NONCE_BYTES)
    with _reported():
        key = credentials.find_signing_key(sources, target)
        signed = client.sign(key, method, target, body, timestamp=timestamp, nonce=nonce)
        stored = credentials.find_credentials(sources)
    return signed, stored.base_url if stored else None


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except client.UnusableRequest as error:
        raise click.UsageError(str(error)) from error
    except (client.UnusableSecret, client.Unreachable, credentials.NoCredentials) as error:
        raise click.ClickException(str(error)) from error


def _read_body(given: str | None) -> bytes:
    if given is None:
        return b""
    if given == "@-":
        return sys.stdin.buffer.read()
    if not given.startswith("@"):
        return given.encode()
    try:
        return Path(given[1:]).read_bytes()
    except OSError as error:
        raise click.ClickException(f"{given[1:]}: {error.strerror}") from error


def _parse_header(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not colon or not name.strip():
        raise click.UsageError(f"{header!r} is not 'Name: value'")
    return name.strip(), value.strip()


def _describe(answer: client.Answer) -> dict[str, object]:
    body = answer.body.decode("utf-8", "replace")
    return {"status": answer.status, "headers": answer.headers, "body": body}


def _print_answer(answer: client.Answer, *, include: bool) -> None:
    # The status of a refusal is news even to those who asked for the body only.
    if include or answer.status >= REFUSALS_FROM:
        click.echo(f"{answer.status} {answer.reason}", err=not include)
    if include:
        for name, value in answer.headers:
            output.say(f"{name}: {value}")
        output.say("")
    sys.stdout.buffer.write(answer.body)
    if sys.stdout.isatty() and not answer.body.endswith(b"\n"):
        output.say("")
    sys.stdout.flush()
