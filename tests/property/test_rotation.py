"""The state machine of secret versions, driven through every step in any order: nothing breaks its promises."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from keys import evidence, rotation
from keys.records import SecretVersion
from keys.rotation import Versions

ORDER = ("pending", "active", "retiring", "revoked", "destroyed")
TIMES = ("created_at", "activated_at", "retiring_at", "revoked_at", "destroyed_at")
numbers = st.integers(1, 12)


class Rotation(RuleBasedStateMachine):
    """A partner's secret, whose older versions end when a further one follows."""

    ends_older = True

    def __init__(self) -> None:
        super().__init__()
        first = SecretVersion(version=1, state="active", created_at=0, activated_at=0)
        self.versions: Versions = (first,)
        self.now_ms = 0
        self.revoked_whole = False

    def _step(self, after: Versions) -> None:
        before, self.versions = self.versions, after
        assert [each.version for each in after][: len(before)] == [each.version for each in before]
        for old, new in zip(before, after, strict=False):
            assert ORDER.index(new.state) >= ORDER.index(old.state), "a version went back"
            assert (old.state in {"revoked", "destroyed"}) <= (new.state in {"revoked", "destroyed"})

    @rule(passes=st.integers(0, 1_000))
    def wait(self, passes: int) -> None:
        self.now_ms += passes

    @rule(ahead=st.none() | st.integers(0, 500))
    def announce(self, ahead: int | None) -> None:
        added = SecretVersion(
            version=rotation.next_number(self.versions), state="pending", created_at=self.now_ms
        )
        at = None if ahead is None else self.now_ms + ahead
        self._attempt(lambda: rotation.announce(self.versions, added, at))

    @rule(version=numbers, overlap_ms=st.integers(0, 500), lost=st.booleans())
    def activate(self, version: int, overlap_ms: int, *, lost: bool) -> None:
        self._attempt(
            lambda: rotation.activate(
                self.versions,
                version,
                self.now_ms,
                overlap_ms,
                ends_older=self.ends_older,
                replaces_lost=lost,
            )
        )

    @precondition(lambda self: rotation.find_pending(self.versions) is not None)
    @rule(overlap_ms=st.integers(0, 500), lost=st.booleans())
    def activate_what_waits(self, overlap_ms: int, *, lost: bool) -> None:
        """Guessing the number would seldom get as far as a third version."""
        pending = rotation.find_pending(self.versions)
        assert pending is not None
        self.activate(pending.version, overlap_ms, lost=lost)

    @rule(version=numbers)
    def retire(self, version: int) -> None:
        self._attempt(lambda: rotation.retire(self.versions, version, self.now_ms))

    @rule(version=numbers)
    def revoke(self, version: int) -> None:
        self._attempt(lambda: rotation.revoke(self.versions, version, self.now_ms))

    @rule(version=numbers)
    def destroy(self, version: int) -> None:
        self._attempt(lambda: rotation.destroy(self.versions, version, self.now_ms))

    @precondition(lambda self: len(self.versions) > 4)
    @rule()
    def revoke_all(self) -> None:
        self.revoked_whole = True
        self._step(rotation.revoke_all(self.versions, self.now_ms))

    def _attempt(self, step: object) -> None:
        try:
            after = step()  # type: ignore[operator]  # one of the lambdas above
        except (rotation.StepRefused, rotation.UnknownVersion):
            return
        self._step(after)

    @invariant()
    def at_most_one_of_each(self) -> None:
        states = [each.state for each in self.versions]
        assert states.count("active") <= 1
        assert states.count("pending") <= 1

    @invariant()
    def a_verifier_checks_no_more_than_two(self) -> None:
        verifying = [each for each in self.versions if each.state in rotation.VERIFYING]
        assert not self.ends_older or len(verifying) <= 2

    @invariant()
    def a_living_secret_has_an_active_version(self) -> None:
        assert self.revoked_whole or rotation.find_active(self.versions) is not None

    @invariant()
    def times_follow_one_another(self) -> None:
        for each in self.versions:
            known = [getattr(each, name) for name in TIMES if getattr(each, name) is not None]
            assert known == sorted(known)

    @invariant()
    def a_state_has_its_times(self) -> None:
        for each in self.versions:
            assert each.state not in {"active", "retiring"} or each.activated_at is not None
            assert each.state != "retiring" or None not in {each.retiring_at, each.retires_at}
            assert (each.revoked_at is not None) == (each.state in {"revoked", "destroyed"})
            assert (each.destroyed_at is not None) == (each.state == "destroyed")

    @invariant()
    def nothing_ends_unseen(self) -> None:
        """Whatever verifies now is told as ended when all of it is revoked."""
        verifying = [each for each in self.versions if each.state in rotation.VERIFYING]
        assert list(evidence.ended(self.versions, rotation.revoke_all(self.versions, 0))) == verifying


class RingRotation(Rotation):
    """A signing key's, whose older versions stay known until what they signed has expired."""

    ends_older = False


TestRotation = Rotation.TestCase
TestRotation.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestRingRotation = RingRotation.TestCase
TestRingRotation.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
