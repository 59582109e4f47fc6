"""What the control surface takes and tells about secrets.

Invariant: none of these types has a place for what is secret but `MadeVersion`. Use changes no secret, so an answer
with an `ETag` tells nothing of it; lists, which have none, do.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.api.control import types
from gateway.api.control.jwk_types import Jwk
from gateway.api.control.rules import PREFIX
from keys import due, public_jwks, rotation
from keys.held import HeldSecret
from keys.records import SecretVersion, VersionState
from keys.register import Kind
from keys.schedules import ScheduledKind

# As `register.Domain` has it, in one piece: a schema tells a choice of choices less well.
Environment = Literal["paper", "live", "service"]
Overlap = Annotated[
    int, Meta(ge=0, le=9_007_199_254_740_991, description="Milliseconds; null is the schedule's")
]
Proof = Annotated[
    str, Meta(pattern="^[0-9a-f]{128}$", description="A signature by the new key, 64 bytes in hex")
]

# Requests ------------------------------------------------------------------------------------------------


class SecretQuery(types.Paging, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`state`: secrets with a version in it."""

    kind: Kind | UnsetType = UNSET
    environment: Environment | UnsetType = UNSET
    partner: types.PartnerId | UnsetType = UNSET
    state: VersionState | UnsetType = UNSET


class PlanQuery(SecretQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    days: Annotated[int, Meta(ge=1, le=366, description="How far ahead to look")] = 30


class Preparation(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`activates_at`: null waits for `activate`. `even_if_used`: at that moment no overlap begins, though somebody uses
    the version before. `public_key` and `proof`: for an Ed25519 key. `jwk`: for an OAuth client's keys.
    """

    activates_at: types.Moment | None = None
    overlap: Overlap | None = None
    even_if_used: bool = False
    public_key: types.PublicKey | None = None
    proof: Proof | None = None
    jwk: Jwk | None = None
    reason: types.Reason | None = None


class Rotation(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`expected`: the version that is active, as you know it. `replaces_lost`: the active version's secret never
    arrived, so that one ends, and the one before it goes on. `public_key` and `proof`: for an Ed25519 key. `jwk`: for
    an OAuth client's keys.
    """

    overlap: Overlap | None = None
    even_if_used: bool = False
    expected: Annotated[int, Meta(ge=1, le=999_999_999)] | None = None
    replaces_lost: bool = False
    public_key: types.PublicKey | None = None
    proof: Proof | None = None
    jwk: Jwk | None = None
    reason: types.Reason | None = None


class Activation(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`overlap`: null is what was said when it was prepared, and else the schedule's."""

    overlap: Overlap | None = None
    even_if_used: bool = False
    reason: types.Reason | None = None


class Retirement(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    even_if_used: bool = False
    reason: types.Reason | None = None


# Answers -------------------------------------------------------------------------------------------------


class ShownVersion(Struct, frozen=True, kw_only=True):
    """`public_id`: what verifiers know a signing key by. `public_key`: in hex, or an OAuth client's as JSON."""

    version: int
    state: VersionState
    public_key: str | None
    public_id: str | None
    created_at: types.Moment
    activates_at: types.Moment | None
    activated_at: types.Moment | None
    retiring_at: types.Moment | None
    retires_at: types.Moment | None
    revoked_at: types.Moment | None
    destroyed_at: types.Moment | None


class UsedVersion(ShownVersion, frozen=True, kw_only=True):
    last_used_at: types.Moment | None
    last_used_source: str | None
    use_count: int


class _About(Struct, frozen=True, kw_only=True):
    id: str
    kind: Kind
    environment: Environment
    partner: str | None
    label: str
    created_at: types.Moment
    expires_at: types.Moment | None


class ShownSecret(_About, frozen=True, kw_only=True):
    versions: tuple[ShownVersion, ...]


class ListedSecret(_About, frozen=True, kw_only=True):
    versions: tuple[UsedVersion, ...]


class SecretList(Struct, frozen=True, kw_only=True):
    items: tuple[ListedSecret, ...]
    next: str | None


class VersionList(Struct, frozen=True, kw_only=True):
    items: tuple[UsedVersion, ...]
    next: str | None


class MadeVersion(Struct, frozen=True, kw_only=True):
    """`overlap_ends`: until when the version before it goes on verifying. `secret` stands in the first answer alone;
    `secret_shown` says that an earlier one had it.
    """

    id: str
    version: int
    state: VersionState
    activates_at: types.Moment | None
    overlap_ends: types.Moment | None
    secret: str | None
    secret_shown: bool

    def __repr__(self) -> str:
        return f"MadeVersion({self.id}, {self.version})"


class PlannedStep(Struct, frozen=True, kw_only=True):
    """`ending` and `ends_at`: what a warning is about. The use is that of the version which would end."""

    at: types.Moment
    step: due.Step
    id: str
    kind: ScheduledKind
    environment: Environment
    partner: str | None
    label: str
    version: int
    ending: due.Ending | None
    ends_at: types.Moment | None
    last_used_at: types.Moment | None
    last_used_source: str | None
    use_count: int


class StepList(Struct, frozen=True, kw_only=True):
    items: tuple[PlannedStep, ...]
    next: str | None


Shown = TypeVar("Shown", bound=ShownVersion)


def show(secret: HeldSecret) -> ShownSecret:
    return ShownSecret(
        **_about(secret), versions=tuple(_fields(ShownVersion, each) for each in secret.versions)
    )


def list_(secret: HeldSecret) -> ListedSecret:
    return ListedSecret(**_about(secret), versions=list_versions(secret))


def list_versions(secret: HeldSecret) -> tuple[UsedVersion, ...]:
    return tuple(_fields(UsedVersion, each) for each in secret.versions)


def show_made(secret: HeldSecret, version: int, shown: str | None, *, earlier: bool) -> MadeVersion:
    made, retiring = rotation.get(secret.versions, version), rotation.find_retiring(secret.versions)
    return MadeVersion(
        id=secret.id,
        version=version,
        state=made.state,
        activates_at=made.activates_at,
        overlap_ends=None if retiring is None else retiring.retires_at,
        secret=shown,
        # A partner's public key was never ours to show.
        secret_shown=earlier and made.public_key is None,
    )


def show_step(action: due.Action) -> PlannedStep:
    told = {name: getattr(action, name) for name in PlannedStep.__struct_fields__ if name != "id"}
    return PlannedStep(id=action.secret_id, **told)


def _about(secret: HeldSecret) -> dict[str, Any]:
    return {name: getattr(secret, name) for name in _About.__struct_fields__}


def _fields(kind: type[Shown], version: SecretVersion) -> Shown:
    told = {name: getattr(version, name) for name in kind.__struct_fields__ if name != "public_key"}
    return kind(
        **told, public_key=None if version.public_key is None else public_jwks.write(version.public_key)
    )


# Examples ------------------------------------------------------------------------------------------------

_HELD: Final = HeldSecret(
    id="prk_paper_2Yk4Nq0cJ8mVtXwR5sLbZe1A7hKc",
    kind="api-key",
    environment="paper",
    partner="acme",
    label="order router",
    created_at=1_763_596_800_000,
    versions=(
        SecretVersion(
            version=1,
            state="retiring",
            created_at=1_763_596_800_000,
            activated_at=1_763_596_800_000,
            retiring_at=1_764_201_600_000,
            retires_at=1_764_460_800_000,
            last_used_at=1_764_201_650_000,
            last_used_source="203.0.113.7",
            use_count=4812,
        ),
        SecretVersion(
            version=2, state="active", created_at=1_764_201_600_000, activated_at=1_764_201_600_000
        ),
    ),
)
SAMPLE: Final = show(_HELD)
SAMPLE_LIST: Final = SecretList(
    items=(list_(_HELD),), next=f"{PREFIX}/secrets?limit=1&after=WyJsaXN0X3NlY3JldHMiLCJwcmsiXQ=="
)
SAMPLE_VERSIONS: Final = VersionList(items=list_versions(_HELD), next=None)
SAMPLE_MADE: Final = show_made(_HELD, 2, "prs_paper_…", earlier=False)
SAMPLE_PREPARATION: Final = Preparation(reason="to be taken over next week")
SAMPLE_ROTATION: Final = Rotation(overlap=259_200_000, reason="quarterly")
SAMPLE_ACTIVATION: Final = Activation(reason="they have it")
SAMPLE_RETIREMENT: Final = Retirement(reason="they have moved")
SAMPLE_STEPS: Final = StepList(
    items=(
        show_step(
            due.Action(
                at=1_764_460_800_000,
                step="retire",
                secret_id=_HELD.id,
                kind="api-key",
                environment="paper",
                partner="acme",
                label="order router",
                version=1,
                last_used_at=1_764_201_650_000,
                last_used_source="203.0.113.7",
                use_count=4812,
            )
        ),
    ),
    next=None,
)
