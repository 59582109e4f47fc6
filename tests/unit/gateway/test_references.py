"""References to secrets: where they lead, what is refused, and that no error shows a value."""

import os
from pathlib import Path

import pytest

from gateway import references
from gateway.references import MalformedReference, UnresolvedReference

VALUE = "correct horse battery staple"


def write(path: Path, content: bytes, mode: int = 0o600) -> str:
    path.write_bytes(content)
    path.chmod(mode)
    return f"file:{path}"


def test_env_leads_to_the_variable() -> None:
    """The value is wrapped, so that it cannot be printed by accident."""
    secret = references.resolve("env:DB_PASSWORD", {"DB_PASSWORD": VALUE})
    assert secret.reveal() == VALUE
    assert VALUE not in repr(secret)


@pytest.mark.parametrize(
    ("content", "value"), [(b"a b", "a b"), (b"a\n", "a"), (b"a\r\n", "a"), (b"a\n\n", "a\n")]
)
def test_file_leads_to_the_content_without_one_line_end(tmp_path: Path, content: bytes, value: str) -> None:
    """The line end that editors add is no part of the secret; anything more is."""
    assert references.resolve(write(tmp_path / "secret", content), {}).reveal() == value


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o601, 0o644, 0o777])
def test_refuses_a_file_that_others_can_reach(tmp_path: Path, mode: int) -> None:
    """A secret that its group or the world can read is none; one they can write is somebody else's."""
    text = write(tmp_path / "secret", VALUE.encode(), mode)
    with pytest.raises(UnresolvedReference, match=f"mode {mode:04o}") as caught:
        references.resolve(text, {})
    assert VALUE not in str(caught.value)


def test_looks_at_the_file_behind_a_link(tmp_path: Path) -> None:
    """A link's own mode says nothing, so what it leads to is what must be private."""
    write(tmp_path / "secret", VALUE.encode(), 0o644)
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(UnresolvedReference, match="mode 0644"):
        references.resolve(f"file:{tmp_path}/link", {})


@pytest.mark.parametrize(
    ("text", "environ", "complaint"),
    [
        ("env:MISSING", {}, "env:MISSING: the environment variable is not set"),
        ("env:EMPTY", {"EMPTY": ""}, "env:EMPTY: is empty"),
        ("file:/nonexistent/secret", {}, "file:/nonexistent/secret: cannot be opened"),
        ("file:secret", {}, "file:secret: the path is not absolute"),
        ("kms:alias/db", {}, "kms:alias/db: kms: is not available with this KMS backend"),
    ],
)
def test_names_the_reference_that_leads_nowhere(text: str, environ: dict[str, str], complaint: str) -> None:
    """Whoever reads the error knows which line to look at."""
    with pytest.raises(UnresolvedReference) as caught:
        references.resolve(text, environ)
    assert str(caught.value).startswith(complaint)


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"", "is empty"), (b"\n", "is empty"), (b"x" * 65_537, "is longer than")]
)
def test_refuses_a_file_that_holds_no_secret(tmp_path: Path, content: bytes, complaint: str) -> None:
    """An empty secret would verify what nobody signed, and a large file is the wrong file."""
    with pytest.raises(UnresolvedReference, match=complaint):
        references.resolve(write(tmp_path / "secret", content), {})


def test_does_not_show_bytes_that_are_no_text(tmp_path: Path) -> None:
    """The decoder's own error would carry the content, so it goes no further."""
    with pytest.raises(UnresolvedReference, match="is not UTF-8 text") as caught:
        references.resolve(write(tmp_path / "secret", b"\xff" + VALUE.encode()), {})
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_does_not_wait_for_a_pipe(tmp_path: Path) -> None:
    """A pipe without a writer would hold the start for ever."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(UnresolvedReference, match="is not a regular file"):
        references.resolve(f"file:{tmp_path}/pipe", {})


def test_refuses_a_directory(tmp_path: Path) -> None:
    """Opening one succeeds, reading one does not."""
    (tmp_path / "folder").mkdir(mode=0o700)
    with pytest.raises(UnresolvedReference, match="is not a regular file"):
        references.resolve(f"file:{tmp_path}/folder", {})


@pytest.mark.parametrize(
    "text",
    [
        "",
        VALUE,
        "env:",
        "env:a b",
        "env:1A",
        "env:hunter2!",
        "ENV:A",
        "file:",
        "kms:",
        "file:a\nb",
        "vault:x",
        "env:Ä",
    ],
)
def test_a_text_that_is_no_reference_is_not_repeated(text: str) -> None:
    """It may be the secret itself, pasted where its reference belongs."""
    with pytest.raises(MalformedReference) as caught:
        references.parse(text)
    assert str(caught.value) == 'a secret stands here as a reference: "env:NAME", "file:PATH" or "kms:…"'


def test_anchors_relative_files_only(tmp_path: Path) -> None:
    """Paths start from the configuration's directory; what is malformed is left for a check to refuse."""
    assert references.anchor("file:a.key", tmp_path) == f"file:{tmp_path}/a.key"
    assert references.anchor("file:/a.key", tmp_path) == "file:/a.key"
    assert references.anchor("env:A", tmp_path) == "env:A"
    assert references.anchor(VALUE, tmp_path) == VALUE


def test_only_a_file_has_a_path() -> None:
    """A key that has to be created needs a place, which a variable is not."""
    assert references.get_path("file:/a/b") == Path("/a/b")
    with pytest.raises(UnresolvedReference, match="a file: reference is needed"):
        references.get_path("env:A")
