"""The permissions of the control surface: what may be done with the gateway itself, each by its name.

They are there without being defined: a policies file names them in its roles, and cannot define them anew.
`control:all-partners` is reach, not a deed: whoever lacks it sees one partner, their own, and nothing else's existence.
"""

from types import MappingProxyType
from typing import Final

SCOPE: Final = "control:"

ALL_PARTNERS: Final = "control:all-partners"
PARTNERS_READ: Final = "control:partners-read"
PARTNERS_WRITE: Final = "control:partners-write"
KEYS_READ: Final = "control:keys-read"
KEYS_WRITE: Final = "control:keys-write"
KEYS_REVOKE: Final = "control:keys-revoke"
CLIENTS_READ: Final = "control:clients-read"
CLIENTS_WRITE: Final = "control:clients-write"
SECRETS_READ: Final = "control:secrets-read"
SECRETS_ROTATE: Final = "control:secrets-rotate"
FREEZE: Final = "control:freeze"
UNFREEZE: Final = "control:unfreeze"
FREEZES_READ: Final = "control:freezes-read"
APPROVALS_READ: Final = "control:approvals-read"
APPROVE: Final = "control:approve"
BREAK_GLASS: Final = "control:break-glass"
NODES_READ: Final = "control:nodes-read"
AUDIT_READ: Final = "control:audit-read"
LEAKS_REPORT: Final = "control:leaks-report"
WEBHOOKS_READ: Final = "control:webhooks-read"
WEBHOOKS_WRITE: Final = "control:webhooks-write"
PEOPLE_READ: Final = "control:people-read"
PEOPLE_WRITE: Final = "control:people-write"
KMS_READ: Final = "control:kms-read"
KMS_WRITE: Final = "control:kms-write"

DESCRIPTIONS: Final = MappingProxyType(
    {
        ALL_PARTNERS: "Reach every partner, and what belongs to none",
        PARTNERS_READ: "See partners",
        PARTNERS_WRITE: "Take on partners and change them",
        KEYS_READ: "See API keys",
        KEYS_WRITE: "Make API keys and change them",
        KEYS_REVOKE: "Revoke API keys",
        CLIENTS_READ: "See OAuth clients",
        CLIENTS_WRITE: "Make OAuth clients, change and revoke them",
        SECRETS_READ: "See secrets' versions, schedules and receipts, never what is secret",
        SECRETS_ROTATE: "Rotate, retire and revoke versions of secrets",
        FREEZE: "Freeze keys, clients, partners, routes and environments",
        UNFREEZE: "Take a freeze back",
        FREEZES_READ: "See what is frozen",
        APPROVALS_READ: "See what waits for a second person",
        APPROVE: "Approve or refuse what somebody else asked for",
        BREAK_GLASS: "Act without a second person for a short while, loudly",
        NODES_READ: "See nodes and what each serves",
        AUDIT_READ: "Read the audit ledger",
        LEAKS_REPORT: "Report credentials that were found",
        WEBHOOKS_READ: "See webhooks and their deliveries",
        WEBHOOKS_WRITE: "Make webhooks and change them",
        PEOPLE_READ: "See people's accounts",
        PEOPLE_WRITE: "Invite people, change their roles and shut them out",
        KMS_READ: "See data keys and what wraps them",
        KMS_WRITE: "Rotate and rewrap data keys",
    }
)
ALL: Final = frozenset(DESCRIPTIONS)
