"""What the HSM backend refuses, and how it outlives an HSM that forgets."""

from pathlib import Path

import pkcs11
import pytest

from keys import kms
from keys.kms.pkcs11 import HsmKeyExists, Pkcs11Kms
from keys.secret import Secret, SecretBytes
from tests.support.kms_sites import HSM_LABEL, PIN, Hsm

CONTEXT = {"purpose": "data-key"}
KEY = SecretBytes(bytes(32))


async def test_a_key_that_may_leave_the_hsm_is_refused(hsm: Hsm) -> None:
    """The point of an HSM is that nobody has its key: an extractable one is no better than a file."""
    label = hsm.new_label()
    backend = hsm.open(label)
    assert not await backend.has_key()
    session = await backend._lane.run(backend._open)
    template = {pkcs11.Attribute.EXTRACTABLE: True, pkcs11.Attribute.SENSITIVE: False}
    session.generate_key(pkcs11.KeyType.AES, 256, label=label, store=False, template=template)
    with pytest.raises(kms.KmsRefused, match="may leave it"):
        await backend.wrap(KEY, CONTEXT)
    await backend.aclose()


async def test_a_shorter_key_is_refused(hsm: Hsm) -> None:
    """AES-256 and nothing less wraps a 256-bit key."""
    label = hsm.new_label()
    backend = hsm.open(label)
    session = await backend._lane.run(backend._open)
    session.generate_key(pkcs11.KeyType.AES, 128, label=label, store=False)
    with pytest.raises(kms.KmsRefused, match="AES-256"):
        await backend.wrap(KEY, CONTEXT)
    await backend.aclose()


async def test_two_keys_of_one_label_are_refused(hsm: Hsm) -> None:
    """Which of them wrapped could not be told."""
    label = hsm.new_label()
    backend = await hsm.with_key(label)
    with pytest.raises(HsmKeyExists):
        await backend.create_key()
    session = await backend._lane.run(backend._open)
    session.generate_key(pkcs11.KeyType.AES, 256, label=label, store=False)
    with pytest.raises(kms.KmsRefused, match="2 keys"):
        await backend.wrap(KEY, CONTEXT)
    await backend.aclose()


async def test_a_missing_key_is_refused(hsm: Hsm) -> None:
    """It is named; no key is made on the way."""
    backend = hsm.open(hsm.new_label())
    with pytest.raises(kms.KmsRefused, match=f"{HSM_LABEL} has no AES key key-"):
        await backend.wrap(KEY, CONTEXT)
    assert not await backend.has_key()
    await backend.aclose()


async def test_a_wrong_pin_is_tried_once(hsm: Hsm, monkeypatch: pytest.MonkeyPatch) -> None:
    """An HSM locks itself after a few: neither a retry nor the next caller may use one up."""
    await (await hsm.with_key(label := hsm.new_label())).aclose()
    backend = hsm.open(label, pin="wrong-pin")
    tried = []
    load = pkcs11.lib

    def count(module: str) -> object:
        tried.append(module)
        return load(module)

    monkeypatch.setattr(pkcs11, "lib", count)
    for _ in range(3):
        with pytest.raises(kms.KmsRefused, match="refused the PIN") as told:
            await backend.wrap(KEY, CONTEXT)
        assert "wrong-pin" not in str(told.value)
    assert len(tried) == 1
    await backend.aclose()


async def test_a_session_that_the_hsm_forgot_is_opened_again(hsm: Hsm) -> None:
    """An HSM that restarted is noticed by nobody but it."""
    backend = await hsm.with_key(hsm.new_label())
    wrapped = await backend.wrap(KEY, CONTEXT)
    backend._session.close()
    assert (await backend.unwrap(wrapped, CONTEXT)).reveal() == KEY.reveal()
    await backend.aclose()


async def test_an_hsm_that_is_not_there_is_unavailable(hsm: Hsm, tmp_path: Path) -> None:
    """It may be plugged in again; so may its module be installed."""
    for backend in (
        Pkcs11Kms(hsm.module, "nowhere", "key", Secret(PIN)),
        Pkcs11Kms(tmp_path / "none.so", HSM_LABEL, "key", Secret(PIN)),
    ):
        with pytest.raises(kms.KmsUnavailable):
            await backend.wrap(KEY, CONTEXT)
        await backend.aclose()
