"""The acts that a rule about second persons can name, and what is fixed about some of them.

Only acts that do pass the gate stand here: a rule about any other would promise what nobody keeps.

Invariant: an emergency act never waits for a second person, whatever the rules say; taking one back always does,
unless the policies say that there is no second person at all.
"""

from typing import Final

EMERGENCY: Final = frozenset(
    {
        "account.disable",
        "account.sign-out",
        "client.freeze",
        "client.revoke",
        "environment.freeze",
        "key.freeze",
        "key.revoke",
        "leak.report",
        "partner.freeze",
        "ring.revoke",
        "route.freeze",
        "secret.revoke",
        "upstream.revoke",
    }
)
TAKING_BACK: Final = frozenset(
    {
        "account.enable",
        "client.unfreeze",
        "environment.unfreeze",
        "key.unfreeze",
        "partner.unfreeze",
        "route.unfreeze",
    }
)
# A rule about the second of a pair is about the first, too: to widen a key is to change it.
INCLUDED_IN: Final = {"client.widen": "client.change", "key.widen": "key.change"}
ALL: Final = (
    EMERGENCY
    | TAKING_BACK
    | {
        "account.invite",
        "account.remove-factors",
        "account.reset",
        "account.roles",
        "break-glass",
        "client.change",
        "client.create",
        "client.widen",
        "key.change",
        "key.create",
        "key.widen",
        "kms.reseal",
        "kms.rewrap",
        "kms.rotate",
        "partner.change",
        "partner.create",
        "ring.rotate",
        "secret.destroy",
        "secret.retire",
        "secret.rotate",
        "upstream.create",
        "upstream.remove",
        "upstream.rotate",
        "webhook.change",
        "webhook.create",
        "webhook.remove",
    }
)
# By which somebody could be made who lets their own requests pass.
GUARDED_PERMISSIONS: Final = frozenset({"control:approve", "control:break-glass"})
HANDING_OUT: Final = frozenset(
    {"account.invite", "account.remove-factors", "account.roles", "key.create", "key.widen", "secret.rotate"}
)


class UnknownAction(LookupError):
    """An operation that asks about an act which no rule could name: a mistake in this program."""


def is_known(action: str) -> bool:
    return action in ALL
