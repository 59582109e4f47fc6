"""One request for a page: what it asks, who asks it, and what the answer will set in the browser.

Invariant: who asks is known from the session alone. Whoever is not signed in, or was so too long ago for what they
want to do, gets a named failure that leads to where they can be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar.datastructures import Cookie

from auth.people.records import HalfSignedIn, SignedIn, Step
from gateway.pages import cookies, fields, forging, ways
from gateway.pages.services import Services
from gateway.sources import parse_source
from gateway.trace import Trace


class SignInNeeded(Exception):
    """Somebody has to sign in first; `way` is where they go on then."""

    def __init__(self, way: ways.Way) -> None:
        super().__init__("somebody has to sign in first")
        self.way = way


class StepUpNeeded(Exception):
    """Somebody signed in too long ago for this; `way` is where they go on once they have confirmed it."""

    def __init__(self, way: ways.Way) -> None:
        super().__init__("it takes a recent confirmation")
        self.way = way


class Visit:
    def __init__(  # noqa: PLR0913  what a request is, part by part
        self,
        services: Services,
        trace: Trace,
        *,
        asked: Mapping[str, str],
        cookie: str | None,
        session: SignedIn | HalfSignedIn | None,
        forms: str | None,
        agent: str,
        now_ms: int,
    ) -> None:
        self.services = services
        self.trace = trace
        self.asked = asked
        self.session = session
        self.agent = agent
        self.now_ms = now_ms
        self.set_cookies: list[Cookie] = []
        self.cookie = cookie if session is not None else None
        self._forms = forms

    @property
    def source(self) -> str:
        """As limits count it."""
        return parse_source(self.trace.source).network

    @property
    def signed_in(self) -> SignedIn | None:
        return self.session if isinstance(self.session, SignedIn) else None

    def field(self, name: str) -> str:
        return fields.get(self.asked, name)

    def require_person(self, way: ways.Way) -> SignedIn:
        person = self.signed_in
        if person is None:
            raise SignInNeeded(way)
        return person

    def require_recent(self, way: ways.Way) -> SignedIn:
        """For what must not be done by somebody who merely found the browser open."""
        person = self.require_person(way)
        if not self.is_recent(person):
            raise StepUpNeeded(way)
        return person

    def is_recent(self, person: SignedIn) -> bool:
        return self.now_ms - person.authenticated_at < self.services.step_up_ms

    # The form's key and the cookies -----------------------------------------------------------------------

    def require_own_form(self) -> None:
        forging.require_own_form(self._find_key(), self.asked.get(forging.FIELD))

    def form_key(self) -> str:
        """For the forms of the page that answers. Who has no session gets a cookie that is for nothing else."""
        key = self._find_key()
        if key is None:
            self._forms = cookies.new_value(self.services.entropy)
            self.set_cookies.append(cookies.written(cookies.FORMS, self._forms))
            key = forging.form_key(self._forms)
        return key

    def _find_key(self) -> str | None:
        if self.session is not None:
            return self.session.csrf
        return None if self._forms is None else forging.form_key(self._forms)

    def go_on(self, step: Step) -> None:
        """A proof was accepted: the session has another value from now on."""
        self.cookie, self.session = step.cookie.reveal(), step.session
        self.set_cookies.append(cookies.written(cookies.SESSION, self.cookie))

    async def begin_anonymous(self, cookie: str) -> None:
        """A session of nobody yet, in which a passkey is to answer."""
        self.cookie, self.session = cookie, await self.services.people.sessions.find(cookie)
        self.set_cookies.append(cookies.written(cookies.SESSION, cookie))

    def require_cookie(self) -> str:
        if self.cookie is None:
            raise SignInNeeded(ways.ACCOUNT)
        return self.cookie

    def end_session(self) -> None:
        self.cookie, self.session = None, None
        self.set_cookies.append(cookies.withdrawn(cookies.SESSION))

    def shared(self) -> dict[str, Any]:
        """What every page shows or carries."""
        return {"form_key": self.form_key(), "person": self.signed_in, "request_id": self.trace.request_id}
