"""What operators can do: the one layer under the command line and the control surface.

An operation checks that its operator may do it and reaches what it is about, and passes the `gate`, which asks for a
second person where the policies want one; then the rooms below do it.
"""

from __future__ import annotations

from gateway.operations.approval_operations import ApprovalOperations
from gateway.operations.break_glass_operations import BreakGlassOperations
from gateway.operations.gate import ApprovalNeeded, Gate
from gateway.operations.key_operations import KeyOperations
from gateway.operations.leak_operations import LeakOperations
from gateway.operations.operator import (
    EnvironmentForeign,
    Operator,
    PermissionMissing,
    RoleMissing,
    of_shell,
)
from gateway.operations.partner_operations import PartnerOperations
from keys.approvals import Approvals
from keys.break_glass import BreakGlass
from keys.custody import Custody
from keys.leaks import Leaks
from policies.document import Policies

__all__ = [
    "ApprovalNeeded",
    "EnvironmentForeign",
    "Operations",
    "Operator",
    "PermissionMissing",
    "RoleMissing",
    "of_shell",
]


class Operations:
    def __init__(
        self,
        custody: Custody,
        leaks: Leaks,
        policies: Policies,
        approvals: Approvals,
        break_glass: BreakGlass,
    ) -> None:
        self.gate = Gate(approvals, break_glass, policies)
        self.partners = PartnerOperations(custody, policies, self.gate)
        self.keys = KeyOperations(custody, policies, self.gate)
        self.leaks = LeakOperations(leaks)
        self.approvals = ApprovalOperations(approvals)
        self.break_glass = BreakGlassOperations(break_glass, self.gate, policies)
