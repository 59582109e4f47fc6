"""The KMS keys that a deployment wraps its data keys with: a primary, perhaps a second, and those it is leaving.

Invariant: a new data key is wrapped by the primary and by the second or is not made at all, so that the loss of
either loses nothing. To open one, the wrapping of each configured key is tried, the primary's first; a wrapping is
given only to the key that made it. Refuses: a data key that none of the configured keys wrapped, or none opens.
"""

import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from keys import kms
from keys.secret import SecretBytes

Context = Mapping[str, str]


class Wrapping(NamedTuple):
    kms_backend: str
    kms_key: str
    wrapped: bytes


class Opened(NamedTuple):
    """`failures`: what each key that was tried and did not open it had to say; empty when all is well."""

    key: SecretBytes
    failures: tuple[str, ...]


class Made(NamedTuple):
    key: SecretBytes
    wrappings: tuple[Wrapping, ...]


class Wrappers:
    def __init__(
        self,
        primary: kms.KmsBackend,
        second: kms.KmsBackend | None = None,
        previous: Sequence[kms.KmsBackend] = (),
    ) -> None:
        self._primary = primary
        # What every data key is to be wrapped by.
        self.targets = (primary,) if second is None else (primary, second)
        self._all = (*self.targets, *previous)

    async def make(self, context: Context) -> Made:
        made = await self._primary.generate_data_key(context)
        wrappings = [Wrapping(self._primary.name, self._primary.key_id, made.wrapped)]
        wrappings += [await wrap(made.plaintext, context, each) for each in self.targets[1:]]
        return Made(made.plaintext, tuple(wrappings))

    async def open(self, wrappings: Iterable[Wrapping], context: Context, subject: str) -> Opened:
        """By the first configured key that can."""
        failures: list[Exception] = []
        for backend, wrapping in self._matched(wrappings):
            try:
                key = await backend.unwrap(wrapping.wrapped, context)
            except (kms.KmsUnavailable, kms.KmsRefused) as failure:
                failures.append(_named(subject, backend, failure))
            else:
                return Opened(key, tuple(str(failure) for failure in failures))
        raise _worst(failures) or self._stranger(wrappings, subject)

    async def check(
        self, wrappings: Iterable[Wrapping], context: Context, subject: str, key: SecretBytes
    ) -> Opened:
        """By every configured key that wrapped it, against the key that is held."""
        failures: list[Exception] = []
        opened: SecretBytes | None = None
        for backend, wrapping in self._matched(wrappings):
            try:
                found = await backend.unwrap(wrapping.wrapped, context)
            except (kms.KmsUnavailable, kms.KmsRefused) as failure:
                failures.append(_named(subject, backend, failure))
                continue
            if hmac.compare_digest(found.reveal(), key.reveal()):
                opened = found
            else:
                failures.append(
                    kms.KmsRefused(f"{subject}: {describe(backend)} opens it to another key than is served")
                )
        if opened is None:
            raise _worst(failures) or self._stranger(wrappings, subject)
        return Opened(opened, tuple(str(failure) for failure in failures))

    def find_missing(self, wrappings: Iterable[Wrapping], subject: str) -> Iterator[str]:
        """What is to wrap it and does not."""
        held = {(each.kms_backend, each.kms_key) for each in wrappings}
        for backend in self.targets:
            if (backend.name, backend.key_id) not in held:
                yield f"{subject} is not wrapped by {describe(backend)}: run `portreeve kms rewrap`"

    async def aclose(self) -> None:
        for backend in self._all:
            await backend.aclose()

    def _matched(self, wrappings: Iterable[Wrapping]) -> Iterator[tuple[kms.KmsBackend, Wrapping]]:
        found = {(each.kms_backend, each.kms_key): each for each in wrappings}
        for backend in self._all:
            wrapping = found.get((backend.name, backend.key_id))
            if wrapping is not None:
                yield backend, wrapping

    def _stranger(self, wrappings: Iterable[Wrapping], subject: str) -> kms.KmsRefused:
        wrapped = " and ".join(f"{each.kms_backend} key {each.kms_key}" for each in wrappings) or "no key"
        configured = " and ".join(describe(backend) for backend in self._all)
        return kms.KmsRefused(f"{subject} was wrapped by {wrapped}; configured is {configured}")


async def wrap(key: SecretBytes, context: Context, backend: kms.KmsBackend) -> Wrapping:
    """A further wrapping, opened again before anybody relies on it."""
    wrapped = await backend.wrap(key, context)
    await verify(key, wrapped, context, backend)
    return Wrapping(backend.name, backend.key_id, wrapped)


async def verify(key: SecretBytes, wrapped: bytes, context: Context, backend: kms.KmsBackend) -> None:
    opened = await backend.unwrap(wrapped, context)
    if not hmac.compare_digest(opened.reveal(), key.reveal()):
        raise kms.KmsRefused(f"{describe(backend)} opens to another key than it was given")


def describe(backend: kms.KmsBackend) -> str:
    return f"{backend.name} key {backend.key_id}"


def _named(subject: str, backend: kms.KmsBackend, failure: Exception) -> Exception:
    verdict = "does not open it" if isinstance(failure, kms.KmsRefused) else "cannot be asked"
    return type(failure)(f"{subject}: {describe(backend)} {verdict}: {failure}")


def _worst(failures: Sequence[Exception]) -> Exception | None:
    """One key that could not be asked leaves it open whether the data key opens."""
    undecided = [failure for failure in failures if isinstance(failure, kms.KmsUnavailable)]
    return next(iter([*undecided, *failures]), None)
