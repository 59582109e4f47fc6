"""What operators can do: the one layer under the command line and the control surface.

An operation checks that its operator may do it and reaches what it is about, and passes the `gate`, which asks for a
second person where the policies want one; then the rooms below do it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.operations.approval_operations import ApprovalOperations
from gateway.operations.audit_operations import AuditOperations
from gateway.operations.break_glass_operations import BreakGlassOperations
from gateway.operations.client_operations import ClientOperations
from gateway.operations.freeze_operations import FindEnvironment, FreezeOperations
from gateway.operations.gate import ApprovalNeeded, Gate
from gateway.operations.key_operations import KeyOperations
from gateway.operations.kms_operations import KmsOperations
from gateway.operations.leak_operations import LeakOperations
from gateway.operations.node_operations import NodeOperations
from gateway.operations.operator import (
    EnvironmentForeign,
    Operator,
    PermissionMissing,
    RoleMissing,
    of_key,
    of_scanner,
    of_shell,
)
from gateway.operations.partner_operations import PartnerOperations
from gateway.operations.people_operations import PeopleOperations
from gateway.operations.registration_operations import RegistrationOperations
from gateway.operations.ring_operations import RingOperations
from gateway.operations.secret_operations import Holders, SecretOperations
from gateway.operations.upstream_operations import UpstreamOperations
from gateway.operations.webhook_operations import WebhookOperations
from gateway.people import StoredPeople
from keys.approvals import Approvals
from keys.break_glass import BreakGlass
from keys.client_registration import ClientRegistration
from keys.conditions import OnlyOnce
from keys.custody import Custody
from keys.data_keys import DataKeys
from keys.freezes import Freezes
from keys.leaks import Leaks
from keys.oauth_clients import OAuthClients
from keys.resealing import Resealing
from keys.rewrapping import Rewrapping
from keys.ring_rotation import RingRotation
from keys.rotations import Rotations
from keys.scheduler import Upkeep
from keys.secret_pages import SecretPages
from keys.upstream_credentials import UpstreamCredentials
from keys.webhooks import Webhooks
from policies.document import Policies
from storage import engine

__all__ = [
    "ApprovalNeeded",
    "EnvironmentForeign",
    "Operations",
    "Operator",
    "PermissionMissing",
    "RoleMissing",
    "of_key",
    "of_scanner",
    "of_shell",
]


class Operations:
    def __init__(  # noqa: PLR0913, PLR0917  the services that it is the layer over
        self,
        engine_: AsyncEngine,
        custody: Custody,
        leaks: Leaks,
        policies: Policies,
        approvals: Approvals,
        break_glass: BreakGlass,
        freezes: Freezes,
        find_environment: FindEnvironment,
        *,
        rotations: Rotations,
        secret_pages: SecretPages,
        upkeep: Sequence[Upkeep],
        lost_after_ms: int,
        data_keys: DataKeys,
        rewrapping: Rewrapping,
        resealing: Resealing,
        rings: Mapping[str, RingRotation],
        upstream_credentials: UpstreamCredentials,
        webhooks: Webhooks,
        oauth_clients: OAuthClients,
        client_registration: ClientRegistration,
        people: StoredPeople,
    ) -> None:
        """`lost_after_ms`: a node that has said nothing for so long is lost."""
        self._engine = engine_
        self.gate = Gate(approvals, break_glass, policies)
        self.partners = PartnerOperations(custody, policies, self.gate)
        self.keys = KeyOperations(custody, policies, self.gate)
        self.clients = ClientOperations(oauth_clients, custody, policies, self.gate)
        self.secrets = SecretOperations(
            rotations, secret_pages, Holders(custody, oauth_clients, policies), self.gate, upkeep
        )
        self.registrations = RegistrationOperations(
            client_registration, self.secrets, self.clients, policies, self.gate
        )
        self.leaks = LeakOperations(leaks)
        self.audit = AuditOperations(engine_)
        self.approvals = ApprovalOperations(engine_, approvals, policies)
        self.freezes = FreezeOperations(freezes, self.gate, find_environment)
        self.nodes = NodeOperations(engine_, lost_after_ms)
        self.break_glass = BreakGlassOperations(break_glass, self.gate, policies)
        self.kms = KmsOperations(engine_, data_keys, rewrapping, resealing, self.gate)
        self.rings = RingOperations(rings, rotations, self.gate)
        self.upstreams = UpstreamOperations(upstream_credentials, self.gate)
        self.webhooks = WebhookOperations(webhooks, custody, self.gate)
        self.people = PeopleOperations(people, policies, self.gate)

    async def find_settled(self, once: OnlyOnce, at: int) -> str | None:
        """What an earlier copy of the same request made, by the same caller."""
        async with engine.reading(self._engine) as conn:
            return await once.find_settled(conn, at)
