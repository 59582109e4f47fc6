"""An HSM behind PKCS #11: an AES-256 key that it never lets out wraps the data keys with AES-GCM.

A wrapped key is `version marker ‖ nonce ‖ AES-256-GCM ciphertext and tag`, with the context authenticated. The HSM
and its key are named by their labels.

Invariant: the library is called from one thread, so its sessions are never shared. A PIN that was refused is not
tried again by this process: HSMs lock themselves after a few wrong ones. Refuses: a key that could leave the HSM,
one that is not AES-256, two keys of one label, an HSM without AES-GCM, altered bytes, another key's or context's.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from keys import envelope, kms
from keys.kms import binding
from keys.kms.lane import Lane
from keys.secret import Secret, SecretBytes

MARKER: Final = b"\x01"
_NONCE_SIZE: Final = 12
_TAG_SIZE: Final = 16
_WRAPPED_SIZE: Final = len(MARKER) + _NONCE_SIZE + envelope.DATA_KEY_SIZE + _TAG_SIZE
_KEY_BITS: Final = 256
_LABEL: Final = b"portreeve/kms/pkcs11/wrap/1"
_PROBE: Final = b"portreeve/kms/pkcs11/probe/1"

Answer = TypeVar("Answer")
# A process has one log-in to an HSM, which all its sessions share: two backends must not race for it.
_LOGGING_IN: Final = threading.Lock()


class HsmKeyExists(Exception):
    pass


class Pkcs11Kms:
    """Implements `KmsBackend`. The module is loaded, and the session opened, at the first call."""

    name: Final = "pkcs11"

    def __init__(  # noqa: PLR0913  where the module, the HSM and the key are, and what opens them
        self,
        module: Path,
        hsm_label: str,
        key_label: str,
        pin: Secret,
        *,
        timeout_ms: int = 5_000,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._module = module
        self._hsm_label = hsm_label
        self._key_label = key_label
        self._pin = pin
        self._entropy = entropy
        self._lane = Lane("the HSM", threads=1, timeout_ms=timeout_ms)
        self._session: Any = None
        self._key: Any = None
        self._pin_refused = False

    @property
    def key_id(self) -> str:
        return f"{self._hsm_label}/{self._key_label}"

    async def generate_data_key(self, context: Mapping[str, str]) -> kms.DataKey:
        plaintext = SecretBytes(self._entropy(envelope.DATA_KEY_SIZE))
        return kms.DataKey(plaintext, await self.wrap(plaintext, context))

    async def wrap(self, plaintext: SecretBytes, context: Mapping[str, str]) -> bytes:
        bound = _bound(context)
        return await self._lane.run(lambda: self._with_key(lambda: self._encrypt(plaintext.reveal(), bound)))

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> SecretBytes:
        if wrapped[:1] != MARKER or len(wrapped) != _WRAPPED_SIZE:
            raise kms.KmsRefused("not a key that an HSM wrapped for us")
        bound = _bound(context)
        return SecretBytes(
            await self._lane.run(lambda: self._with_key(lambda: self._decrypt(wrapped, bound)))
        )

    async def has_key(self) -> bool:
        return await self._lane.run(lambda: self._translated(lambda: self._find_key() is not None))

    async def create_key(self) -> None:
        """An AES-256 key that never leaves the HSM, under the configured label."""
        await self._lane.run(lambda: self._translated(self._generate))

    async def aclose(self) -> None:
        session, self._session, self._key = self._session, None, None
        if session is not None:
            await self._lane.run(lambda: _close(session))
        self._lane.close()

    def _encrypt(self, plaintext: bytes, bound: bytes) -> bytes:
        nonce = self._entropy(_NONCE_SIZE)
        sealed: bytes = self._key.encrypt(plaintext, **_gcm(nonce, bound))
        return MARKER + nonce + sealed

    def _decrypt(self, wrapped: bytes, bound: bytes) -> bytes:
        from pkcs11 import exceptions as failures  # noqa: PLC0415  there only where this backend is configured

        nonce, body = wrapped[1 : 1 + _NONCE_SIZE], wrapped[1 + _NONCE_SIZE :]
        try:
            opened: bytes = self._key.decrypt(body, **_gcm(nonce, bound))
        except (failures.EncryptedDataInvalid, failures.EncryptedDataLenRange):
            raise kms.KmsRefused(_NOT_OURS) from None
        except (failures.GeneralError, failures.FunctionFailed):
            # Some HSMs say only that it failed. One that works otherwise has refused these bytes.
            self._probe()
            raise kms.KmsRefused(_NOT_OURS) from None
        return opened

    def _probe(self) -> None:
        sealed = self._encrypt(_PROBE, _PROBE)
        self._key.decrypt(sealed[1 + _NONCE_SIZE :], **_gcm(sealed[1 : 1 + _NONCE_SIZE], _PROBE))

    def _with_key(self, call: Callable[[], Answer]) -> Answer:
        """On the lane's thread. A session that the HSM has forgotten is opened again, once."""
        kept = self._key is not None
        try:
            return self._translated(lambda: self._on_key(call))
        except kms.KmsUnavailable:
            if not kept:
                raise
        return self._translated(lambda: self._on_key(call))

    def _on_key(self, call: Callable[[], Answer]) -> Answer:
        if self._key is None:
            key = self._find_key()
            if key is None:
                raise kms.KmsRefused(f"the HSM {self._hsm_label} has no AES key {self._key_label}")
            _require_kept_inside(key)
            self._key = key
        return call()

    def _find_key(self) -> Any:  # noqa: ANN401  the library's object
        import pkcs11  # noqa: PLC0415  as above

        found = list(
            self._open().get_objects(
                {
                    pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY,
                    pkcs11.Attribute.LABEL: self._key_label,
                }
            )
        )
        if len(found) > 1:
            raise kms.KmsRefused(f"the HSM {self._hsm_label} has {len(found)} keys {self._key_label}")
        return found[0] if found else None

    def _generate(self) -> None:
        import pkcs11  # noqa: PLC0415  as above

        if self._find_key() is not None:
            raise HsmKeyExists(f"the HSM {self._hsm_label} has a key {self._key_label} already")
        # Writing takes a session of its own; the one that wraps can only read.
        session = self._log_in(rw=True)
        session.generate_key(
            pkcs11.KeyType.AES,
            _KEY_BITS,
            label=self._key_label,
            store=True,
            capabilities=pkcs11.MechanismFlag.ENCRYPT | pkcs11.MechanismFlag.DECRYPT,
            template={
                pkcs11.Attribute.PRIVATE: True,
                pkcs11.Attribute.SENSITIVE: True,
                pkcs11.Attribute.EXTRACTABLE: False,
            },
        )
        _close(session)

    def _open(self) -> Any:  # noqa: ANN401  the library's object
        if self._session is None:
            self._session = self._log_in()
        return self._session

    def _log_in(self, *, rw: bool = False) -> Any:  # noqa: ANN401  the library's object
        import pkcs11  # noqa: PLC0415  as above

        if self._pin_refused:
            raise kms.KmsRefused(_WRONG_PIN)
        hsm = pkcs11.lib(str(self._module)).get_token(token_label=self._hsm_label)
        if pkcs11.Mechanism.AES_GCM not in hsm.slot.get_mechanisms():
            raise kms.KmsRefused(f"the HSM {self._hsm_label} has no AES-GCM")
        with _LOGGING_IN:
            try:
                return hsm.open(rw=rw, user_pin=self._pin.reveal())
            except pkcs11.UserAlreadyLoggedIn:
                return hsm.open(rw=rw)

    def _translated(self, call: Callable[[], Answer]) -> Answer:
        with self._translating():
            return call()

    @contextmanager
    def _translating(self) -> Iterator[None]:
        import pkcs11  # noqa: PLC0415  as above

        try:
            yield
        except (
            pkcs11.PinIncorrect,
            pkcs11.PinLocked,
            pkcs11.PinInvalid,
            pkcs11.PinLenRange,
            pkcs11.PinExpired,
        ):
            self._pin_refused = True
            raise kms.KmsRefused(_WRONG_PIN) from None
        except (pkcs11.MechanismInvalid, pkcs11.MultipleTokensReturned) as refusal:
            raise kms.KmsRefused(f"the HSM refuses ({type(refusal).__name__})") from None
        except (pkcs11.PKCS11Error, RuntimeError, OSError) as failure:
            # The session may be what is wrong: the next call opens another one.
            _close(self._session)
            self._session = self._key = None
            raise kms.KmsUnavailable(f"the HSM cannot be asked ({type(failure).__name__})") from None


_NOT_OURS: Final = "another key of an HSM wrapped it, or for another context, or it was altered"
_WRONG_PIN: Final = "the HSM refused the PIN; it is not tried again before the next start"


def _gcm(nonce: bytes, bound: bytes) -> dict[str, Any]:
    import pkcs11  # noqa: PLC0415  as above
    from pkcs11.mechanisms import GCMParams  # noqa: PLC0415  as above

    return {
        "mechanism": pkcs11.Mechanism.AES_GCM,
        "mechanism_param": GCMParams(nonce, bound, _TAG_SIZE * 8),
    }


def _require_kept_inside(key: Any) -> None:  # noqa: ANN401  the library's object
    import pkcs11  # noqa: PLC0415  as above

    if key.key_type != pkcs11.KeyType.AES or key.key_length != _KEY_BITS:
        raise kms.KmsRefused(f"the HSM's key {key.label} is not an AES-256 key")
    if key[pkcs11.Attribute.EXTRACTABLE] or not key[pkcs11.Attribute.SENSITIVE]:
        raise kms.KmsRefused(f"the HSM's key {key.label} may leave it: make one that is not extractable")


def _close(session: Any) -> None:  # noqa: ANN401  the library's object
    import pkcs11  # noqa: PLC0415  as above

    if session is None:
        return
    try:
        session.close()
    except pkcs11.PKCS11Error:  # it is gone, which is what was wanted
        return


def _bound(context: Mapping[str, str]) -> bytes:
    return MARKER + binding.frame_context(_LABEL, context)
