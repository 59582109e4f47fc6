"""Who would break: what is known of a version's use, and the refusal to end one that is used. Pure.

Invariant: a version that verified and no longer would is looked at before anything is written, whatever step ends it.
What counts is what the store knows; nodes write a version's first use in a while at once (see `usage`), so it is never
behind by more than the guard's slack.
Refuses: to end, without being told to all the same, a version that was used within the guard.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from keys import refusals, rotation
from keys.held import HeldSecret
from keys.records import SecretVersion
from keys.rotation import Versions

# By so much may the last use in the store lie behind the last one: the guard reaches back further by it.
SLACK_MS: Final = 120_000


class StillUsed(refusals.Conflict):
    """Names who would break: whose it is, when and from where it was last used, and how often."""

    def __init__(self, secret: HeldSecret, version: SecretVersion) -> None:
        whose = "" if secret.partner is None else f" of partner {secret.partner}"
        times = "once" if version.use_count == 1 else f"{version.use_count} times"
        super().__init__(
            f"version {version.version} of {secret.kind} {secret.id}{whose} is still used: {times}, "
            f"last at {show(version.last_used_at)} from {version.last_used_source or 'an unknown source'}. "
            "Whoever uses it there would be refused from now on; end it even if used, or wait until they have moved"
        )
        self.version = version.version
        self.last_used_at = version.last_used_at
        self.last_used_source = version.last_used_source
        self.use_count = version.use_count


def require_unused(secret: HeldSecret, after: Versions, now_ms: int, guard_ms: int) -> None:
    since = now_ms - guard_ms - SLACK_MS
    for version in ended(secret.versions, after):
        if version.last_used_at is not None and version.last_used_at >= since:
            raise StillUsed(secret, version)


def ended(before: Versions, after: Versions) -> Iterator[SecretVersion]:
    """What verified before and does not after."""
    verifying = {each.version for each in after if each.state in rotation.VERIFYING}
    for each in before:
        if each.state in rotation.VERIFYING and each.version not in verifying:
            yield each


def show_length(length_ms: int) -> str:
    """In days where that says it exactly, as overlaps are set; otherwise in seconds."""
    days, rest = divmod(length_ms, 86_400_000)
    return f"{days}d" if days and not rest else f"{length_ms // 1_000}s"


def show(moment_ms: int | None) -> str:
    if moment_ms is None:
        return "never"
    moment = datetime.fromtimestamp(moment_ms / 1000, UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
