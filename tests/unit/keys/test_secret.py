import copy
import hmac
import io
import logging
import pickle
import traceback
from collections.abc import Callable

import msgspec
import pytest

from keys.secret import HmacKey, Secret, SecretBytes

HIDDEN = "prs_paper_hidden"
Hidden = Secret | SecretBytes | HmacKey
MAKERS: list[Callable[[], Hidden]] = [
    lambda: Secret(HIDDEN),
    lambda: SecretBytes(HIDDEN.encode()),
    lambda: HmacKey(HIDDEN.encode()),
]


@pytest.fixture(params=MAKERS, ids=["Secret", "SecretBytes", "HmacKey"])
def hidden(request: pytest.FixtureRequest) -> Hidden:
    made: Hidden = request.param()
    return made


def test_printing_shows_stars(hidden: Hidden) -> None:
    """However a secret is turned into text, the text is the type's name and stars."""
    name = f"{type(hidden).__name__}(***)"
    assert [repr(hidden), str(hidden), f"{hidden}", f"{hidden:>40}", f"{hidden!r}"] == [name] * 5
    assert [format(hidden), format(hidden, ">40"), ascii(hidden)] == [name] * 3


def test_a_container_prints_stars(hidden: Hidden) -> None:
    """A secret inside lists, dicts and structs stays hidden when those are printed."""

    class Holder(msgspec.Struct):
        inside: object

    assert HIDDEN not in repr([hidden]) + repr({"k": hidden}) + repr(Holder(hidden))


def test_a_log_line_shows_stars(hidden: Hidden) -> None:
    """A secret given to the logging machinery as an argument is not written."""
    stream = io.StringIO()
    record = logging.LogRecord("n", logging.ERROR, "p", 1, "%s %r", (hidden, hidden), None)
    stream.write(logging.Formatter().format(record))
    assert HIDDEN not in stream.getvalue()


def test_a_traceback_with_locals_shows_stars(hidden: Hidden) -> None:
    """A traceback that captures local variables does not carry the secret."""

    def fail(_held: Hidden) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError) as caught:
        fail(hidden)
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    inner = list(report.format())[-2]
    assert "(***)" in inner
    assert HIDDEN not in inner


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_is_refused(hidden: Hidden, protocol: int) -> None:
    """No pickle protocol writes a secret."""
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(hidden, protocol)


def test_copying_is_refused(hidden: Hidden) -> None:
    """A secret is handed on, never duplicated."""
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled or copied"):
            duplicate(hidden)


def test_json_is_refused(hidden: Hidden) -> None:
    """The encoder that writes answers and logs does not know how to write a secret."""
    with pytest.raises(TypeError):
        msgspec.json.encode(hidden)


def test_comparing_is_refused(hidden: Hidden) -> None:
    """An `==` on a secret, which would stop at the first different byte, is an error and not an answer."""
    with pytest.raises(TypeError, match="compare_digest"):
        assert hidden == HIDDEN
    with pytest.raises(TypeError, match="compare_digest"):
        assert hidden != HIDDEN


def test_hashing_is_refused(hidden: Hidden) -> None:
    """A secret cannot be a dictionary key."""
    with pytest.raises(TypeError, match="unhashable"):
        hash(hidden)


def test_there_is_no_dictionary_to_dump() -> None:
    """`vars` and `__getstate__` give nothing away."""
    secret = Secret(HIDDEN)
    assert not hasattr(secret, "__dict__")
    with pytest.raises(TypeError, match="not pickled"):
        secret.__getstate__()


def test_reveal_gives_the_value() -> None:
    """`reveal` is the one way out."""
    assert Secret(HIDDEN).reveal() == HIDDEN
    assert SecretBytes(b"k").reveal() == b"k"


def test_an_hmac_key_verifies_each_message_anew() -> None:
    """What was signed before leaves no trace in the key, whatever the length of the secret."""
    for secret in (b"k", b"k" * 59, b"k" * 200):
        key = HmacKey(secret)
        for message in (b"m", b"", b"m" * 1000):
            signature = hmac.digest(secret, message, "sha256")
            assert key.verifies(signature, message)
            assert not key.verifies(signature, message + b"\0")
            assert not key.verifies(signature[:-1], message)
            assert not key.verifies(b"", message)


def test_an_hmac_key_gives_nothing_back() -> None:
    """It verifies; neither the secret it was made of nor a signature by it is to be had."""
    key = HmacKey(HIDDEN.encode())
    assert not hasattr(key, "reveal")
    assert not hasattr(key, "__dict__")
