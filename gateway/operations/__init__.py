"""What operators can do: the one layer under the command line and the control surface.

An operation checks that its operator may do it and reaches what it is about, and asks for a second person where the
policies want one; then the rooms below do it.
"""

from __future__ import annotations

from gateway.operations.key_operations import KeyOperations
from gateway.operations.leak_operations import LeakOperations
from gateway.operations.operator import EnvironmentForeign, Operator, PermissionMissing, of_shell
from gateway.operations.partner_operations import PartnerOperations
from keys.custody import Custody
from keys.leaks import Leaks
from policies.document import Policies

__all__ = ["EnvironmentForeign", "Operations", "Operator", "PermissionMissing", "of_shell"]


class Operations:
    def __init__(self, custody: Custody, leaks: Leaks, policies: Policies) -> None:
        self.partners = PartnerOperations(custody, policies)
        self.keys = KeyOperations(custody, policies)
        self.leaks = LeakOperations(leaks)
