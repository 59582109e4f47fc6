"""From a failure of the rooms below to the problem that tells it: the control surface's own table.

What does not stand here is looked up in `gateway.refusals`, and else is a defect of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from auth.people.mail import MailNotSent
from gateway import operations
from gateway.problems import Refusal
from keys import conditions, data_keys, evidence, kms, refusals
from policies import control, document
from storage import engine


@contextmanager
def translated(body: type[msgspec.Struct] | None) -> Iterator[None]:
    try:
        yield
    except Refusal:
        raise
    except Exception as failure:
        describe = next((_TABLE[kind] for kind in type(failure).__mro__ if kind in _TABLE), None)
        if describe is None:
            raise
        raise describe(failure, body) from failure


Describe = Callable[[Any, type[msgspec.Struct] | None], Refusal]


def _says(code: str, detail: str, hint: str | None = None) -> Describe:
    return lambda _failure, _body: Refusal(code, detail, hint=hint)


def _tells(code: str) -> Describe:
    return lambda failure, _body: Refusal(code, _sentence(failure))


def _invalid(failure: refusals.InvalidRequest, body: type[msgspec.Struct] | None) -> Refusal:
    return _pointing(failure, failure.field, body)


def _unknown_name(failure: document.UnknownName, body: type[msgspec.Struct] | None) -> Refusal:
    fields = {"role": "roles", "permission": "permissions"}
    return _pointing(failure, fields.get(failure.kind, failure.kind), body)


def _not_granted(failure: document.NotGranted, body: type[msgspec.Struct] | None) -> Refusal:
    return _pointing(failure, "permissions", body)


def _pointing(failure: Exception, field: str, body: type[msgspec.Struct] | None) -> Refusal:
    is_there = body is not None and field in body.__struct_fields__
    return Refusal(
        "invalid_request", _sentence(failure), members={"pointer": f"#/{field}"} if is_there else None
    )


def _permission_missing(failure: operations.PermissionMissing, _body: type[msgspec.Struct] | None) -> Refusal:
    return Refusal(
        "permission_denied",
        f"The key lacks the permission {failure.permission}.",
        members={"permission": failure.permission},
    )


def _role_missing(failure: operations.RoleMissing, _body: type[msgspec.Struct] | None) -> Refusal:
    return Refusal("permission_denied", _sentence(failure), members={"permission": control.APPROVE})


def _approval_needed(failure: operations.ApprovalNeeded, _body: type[msgspec.Struct] | None) -> Refusal:
    waiting = failure.approval
    return Refusal(
        "approval_needed",
        f"This needs a second person: {waiting.id} is {waiting.state}.",
        hint="Once it is approved, send the same request again with Portreeve-Approval.",
        members={"approval_id": waiting.id, "expires_at": waiting.expires_at},
    )


def _still_used(failure: evidence.StillUsed, _body: type[msgspec.Struct] | None) -> Refusal:
    return Refusal(
        "conflict",
        _sentence(failure),
        hint="With even_if_used it is ended all the same.",
        members={
            "version": failure.version,
            "last_used_at": failure.last_used_at,
            "last_used_source": failure.last_used_source,
            "use_count": failure.use_count,
        },
    )


def _sentence(failure: Exception) -> str:
    text = str(failure)
    # An id at the beginning stays as it is.
    first = text.partition(" ")[0]
    return (text[:1].upper() + text[1:] if first.isalpha() else text) + "."


_KMS_AWAY: Final = _says("kms_unavailable", "The key management service cannot be asked now.")

_TABLE: Final[dict[type, Describe]] = {
    refusals.InvalidRequest: _invalid,
    document.UnknownName: _unknown_name,
    document.NotGranted: _not_granted,
    refusals.NotFound: _tells("not_found"),
    refusals.Conflict: _tells("conflict"),
    evidence.StillUsed: _still_used,
    conditions.ChangedMeanwhile: _says(
        "precondition_failed",
        "It has been changed since it was read.",
        "Read it again, look at what has changed, and send the new ETag.",
    ),
    conditions.RequestDiffers: _says(
        "idempotency_mismatch", "Another request was made under this idempotency key."
    ),
    operations.PermissionMissing: _permission_missing,
    operations.RoleMissing: _role_missing,
    operations.ApprovalNeeded: _approval_needed,
    operations.EnvironmentForeign: _tells("environment_mismatch"),
    MailNotSent: _says(
        "conflict",
        "The account is there, but no mail could be handed over.",
        "Ask for another link once mail leaves again.",
    ),
    engine.StorageUnavailable: _says("store_unavailable", "The store cannot be asked now."),
    kms.KmsUnavailable: _KMS_AWAY,
    kms.KmsRefused: _KMS_AWAY,
    data_keys.UnknownDataKey: _KMS_AWAY,
}
