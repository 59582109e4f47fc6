"""What all that leads to a token for a person stands on: the store, clients, policies, time, chance and terms."""

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from auth.admission import AdmissionStore
from auth.oauth.drawn import Entropy
from auth.oauth.grants import OAuthGrants
from auth.oauth.standing import Standing
from auth.oauth.terms import Clients, Terms
from keys.changes import Changes, Clock
from policies.document import Policies


class Ground(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    engine: AsyncEngine
    changes: Changes
    clients: Clients
    policies: Policies
    admission: AdmissionStore
    clock: Clock
    entropy: Entropy
    terms: Terms

    @property
    def grants(self) -> OAuthGrants:
        return OAuthGrants(self.engine, self.changes)

    @property
    def standing(self) -> Standing:
        return Standing(self.policies, self.clients)
