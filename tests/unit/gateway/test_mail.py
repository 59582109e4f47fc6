"""How mails leave: into the outbox, and by servers that speak TLS, or not at all."""

from __future__ import annotations

import asyncio
import email
import email.policy
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trustme

from auth.people.mail import Mail, MailNotSent
from gateway.mail.outbox import Outbox
from gateway.mail.smtp import InvalidServer, Smtp, parse_server
from keys.secret import Secret

LINK = "https://gate.example/oauth/reset?ticket=the-secret"
MAIL = Mail(recipient="ada@acme.example", subject="A new password", text=Secret(f"Follow:\n\n{LINK}\n"))
NOW_MS = 1_763_596_800_000


async def test_the_outbox_holds_files_that_nobody_else_reads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One a mail, 0600 in 0700; the log says that it is there and nothing of what it says."""
    caplog.set_level(logging.DEBUG)
    directory = tmp_path / "outbox"
    box = Outbox(directory, "portreeve@localhost", lambda: NOW_MS, os.urandom)
    await box.send(MAIL)
    await box.send(MAIL)
    files = sorted(directory.iterdir())
    assert [file.suffix for file in files] == [".eml", ".eml"]
    assert [file.stat().st_mode & 0o777 for file in (directory, *files)] == [0o700, 0o600, 0o600]
    message = email.message_from_bytes(files[0].read_bytes(), policy=email.policy.default)
    assert (message["To"], message["From"]) == ("ada@acme.example", "portreeve@localhost")
    assert message["Date"] == "Thu, 20 Nov 2025 00:00:00 +0000"
    assert LINK in message.get_content()
    assert str(files[0]) in caplog.text
    assert "ticket" not in caplog.text
    assert "ada@" not in caplog.text


async def test_an_outbox_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """By its name; what was to be written is not in it."""
    (tmp_path / "outbox").write_text("in the way")
    box = Outbox(tmp_path / "outbox", "portreeve@localhost", lambda: NOW_MS, os.urandom)
    with pytest.raises(MailNotSent) as failure:
        await box.send(MAIL)
    assert "ticket" not in str(failure.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("smtps://portreeve@mail.internal:465", ("smtps", "mail.internal", 465, "portreeve")),
        ("smtp://mail.internal", ("smtp", "mail.internal", 587, None)),
        ("smtps://a%40b@mail.internal/", ("smtps", "mail.internal", 465, "a@b")),
    ],
)
def test_servers_as_the_configuration_writes_them(url: str, told: tuple[object, ...]) -> None:
    """The scheme says how it is encrypted; the port is the usual one where none is named."""
    assert msgspec.structs.astuple(parse_server(url)) == told


@pytest.mark.parametrize(
    "url",
    [
        "mail.internal",
        "http://mail",
        "smtp://a:b@mail",
        "smtp://",
        "smtp://m/x",
        "smtp://m:x",
        "smtp://m?x=1",
    ],
)
def test_servers_that_are_none(url: str) -> None:
    """A password stands nowhere in the file."""
    with pytest.raises(InvalidServer):
        parse_server(url)


class Told(msgspec.Struct):
    """What a mail server was told, and over which kind of connection."""

    lines: list[str] = []
    encrypted_lines: list[str] = []


Answer = Callable[[str], str | None]


def _usual(line: str) -> str | None:
    match line.split(" ", maxsplit=1)[0].upper():
        case "EHLO":
            return "250-here\r\n250-AUTH PLAIN\r\n250 8BITMIME"
        case "AUTH":
            return "235 welcome"
        case "DATA":
            return "354 go on"
        case "QUIT":
            return "221 bye"
        case _:
            return "250 so be it"


@asynccontextmanager
async def mail_server(
    trust: ssl.SSLContext | None, answer: Answer = _usual
) -> AsyncIterator[tuple[int, Told]]:
    """A server of few words. With `trust` it is TLS from the first byte."""
    told = Told()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        in_text = False
        while line := (await reader.readline()).decode():
            (told.lines if trust is None else told.encrypted_lines).append(line.rstrip())
            if in_text:
                in_text = line != ".\r\n"
                if not in_text:
                    writer.write(b"250 taken\r\n")
                continue
            said = answer(line.rstrip()) or "500 what?"
            in_text = said.startswith("354")
            writer.write(f"{said}\r\n".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=trust)
    try:
        yield server.sockets[0].getsockname()[1], told
    finally:
        server.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def _context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def _client(authority: trustme.CA | None, url: str, password: str | None = None) -> Smtp:
    trust = ssl.create_default_context()
    if authority is not None:
        authority.configure_trust(trust)
    secret = None if password is None else Secret(password)
    return Smtp(parse_server(url), secret, "gate@acme.example", lambda: NOW_MS, os.urandom, trust=trust)


async def test_a_server_takes_it_over_tls(authority: trustme.CA) -> None:
    """As whom the configuration says, with the text whole."""
    async with mail_server(_context(authority, "localhost")) as (port, told):
        await _client(authority, f"smtps://portreeve@localhost:{port}", "the-password").send(MAIL)
    said = "\n".join(told.encrypted_lines)
    assert "AUTH PLAIN" in said
    assert "rcpt TO:<ada@acme.example>" in said
    assert "Auto-Submitted: auto-generated" in said


async def test_a_server_without_encryption_is_told_nothing(authority: trustme.CA) -> None:
    """`smtp://` asks for STARTTLS; where there is none no mail leaves, and no password."""
    async with mail_server(None) as (port, told):
        with pytest.raises(MailNotSent):
            await _client(authority, f"smtp://portreeve@localhost:{port}", "the-password").send(MAIL)
    assert not any("AUTH" in line or "MAIL" in line.upper() for line in told.lines)


@pytest.mark.parametrize(("name", "is_trusted"), [("other.example", True), ("localhost", False)])
async def test_a_server_that_is_another_is_told_nothing(
    authority: trustme.CA, name: str, *, is_trusted: bool
) -> None:
    """A certificate of another name, or of nobody whom we trust."""
    async with mail_server(_context(authority, name)) as (port, told):
        client = _client(authority if is_trusted else None, f"smtps://portreeve@localhost:{port}", "x")
        with pytest.raises(MailNotSent):
            await client.send(MAIL)
    assert told.encrypted_lines == []


async def test_what_a_server_answers_is_told_by_its_number(authority: trustme.CA) -> None:
    """Its sentence may quote the password, or the mail."""

    def refuse(line: str) -> str | None:
        return f"535 no: {line}" if line.startswith("AUTH") else _usual(line)

    async with mail_server(_context(authority, "localhost"), refuse) as (port, _):
        with pytest.raises(MailNotSent) as failure:
            await _client(authority, f"smtps://portreeve@localhost:{port}", "the-password").send(MAIL)
    assert str(failure.value) == "localhost answered 535"
    assert failure.value.__cause__ is None


async def test_a_server_that_is_away(authority: trustme.CA) -> None:
    """One line with a name, and no traceback."""
    with pytest.raises(MailNotSent, match=r"127\.0\.0\.1 did not take it: ConnectionRefusedError"):
        await _client(authority, "smtps://127.0.0.1:1").send(MAIL)


async def test_a_password_that_the_protocol_has_no_letters_for(authority: trustme.CA) -> None:
    """And an answer that is no answer: neither goes past those who know that mails get lost."""

    def garble(line: str) -> str | None:
        if line.startswith("EHLO"):
            return "250-here\r\n250 AUTH CRAM-MD5"
        return "334 a" if line.startswith("AUTH") else _usual(line)

    for password, answer in (("p\u00e4ssword", _usual), ("the-password", garble)):
        async with mail_server(_context(authority, "localhost"), answer) as (port, _):
            with pytest.raises(MailNotSent) as failure:
                await _client(authority, f"smtps://portreeve@localhost:{port}", password).send(MAIL)
        assert password not in str(failure.value)
        assert failure.value.__cause__ is None
