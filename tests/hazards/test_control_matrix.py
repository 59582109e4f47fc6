"""The authorization matrix: every endpoint, every role, own and other partner, both environments, over a socket.

Endpoints come from the OpenAPI document that the node serves, and so does what is expected of each: its declared
permission, reach and environment. Nothing here knows an endpoint by name, so a new one is tested when it appears, and
one whose rule, subject or body cannot be worked out from the document fails.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keys.approval_records import Wanted
from keys.changes import Author
from policies import control
from storage import audit, engine
from tests.support import control_roles, oauth_clients, people, rawhttp, webhooks
from tests.support.control_node import AUTHOR, ControlNode, control_node
from tests.support.signing import Signer

OWN, OTHER = "acme", "borealis"
ENVIRONMENTS = ("paper", "live")
_TOLD = ("ETag", "Portreeve-Revision")
# What takes something back, and what it takes back.
UNDOES = {"unfreeze": "freeze", "enable": "disable"}


class Operation(msgspec.Struct, frozen=True):
    """What the document says of one endpoint."""

    path: str
    method: str
    said: dict[str, Any]

    @property
    def permission(self) -> str:
        return str(self.said["x-portreeve-permission"])

    @property
    def reach(self) -> str:
        return str(self.said["x-portreeve-reach"])

    @property
    def environment(self) -> str:
        return str(self.said["x-portreeve-environment"])

    @property
    def success(self) -> int:
        return next(int(status) for status in self.said["responses"] if status.startswith("2"))

    @property
    def tells(self) -> set[str]:
        """Of what state an answer is, and by which revision a change is followed."""
        headers = self.said["responses"][str(self.success)].get("headers", {})
        return {name for name in _TOLD if name in headers}

    @property
    def is_read(self) -> bool:
        return self.method == "get"


class Case(msgspec.Struct, frozen=True):
    role: str
    environment: str
    partner: str
    subject_environment: str


class Subjects:
    """What the operations are about, made when asked for."""

    def __init__(self, node: ControlNode) -> None:
        self._node = node
        self._numbers = itertools.count(1)
        self._kept: dict[tuple[str, str, str], str] = {}
        self._makers = {
            "client_id": self._client,
            "key_id": self._key,
            "partner_id": self._partner,
            "secret_id": self._secret,
            "seq": self._entry,
            "version": self._version,
            "webhook_id": self._webhook,
            "delivery_id": self._delivery,
            "account_id": lambda partner, _: people.prepare(node.store.people, partner),
            "approval_id": self.approval,
            "glass_id": self._glass,
            "route": self._route,
            "environment": self._environment,
            "revision": self._revision,
        }

    async def find(self, name: str, partner: str, environment: str) -> str:
        """The value of a path parameter. Parameters without a subject fail the matrix."""
        kept = self._kept.get((name, partner, environment))
        if kept is None:
            kept = self._kept[name, partner, environment] = await self._makers[name](partner, environment)
        return kept

    def forget(self) -> None:
        """What one operation did to its subjects is no concern of the next one's."""
        self._kept.clear()

    async def _key(self, partner: str, environment: str) -> str:
        return (await self._node.make_key("trader", partner=partner, environment=environment)).key_id

    async def _client(self, partner: str, environment: str) -> str:
        made = await oauth_clients.made(
            self._node.store.oauth_clients, partner=partner, environment=environment
        )
        return made.id

    async def _secret(self, partner: str, environment: str) -> str:
        """Within an overlap: its first version retires, its second is active."""
        secret_id = await self._key(partner, environment)
        await self._node.store.rotations.rotate(secret_id, author=AUTHOR)
        return secret_id

    async def _version(self, _partner: str, _environment: str) -> str:
        return "1"

    async def _partner(self, partner: str, _environment: str) -> str:
        return partner

    async def _entry(self, partner: str, _environment: str) -> str:
        async with engine.reading(self._node.store.engine) as conn:
            found = await audit.search(conn, audit.Search(partner=partner), limit=1)
        return str(found[0].seq)

    async def approval(self, partner: str, environment: str, actor: str = "cli:somebody") -> str:
        """Asked for by somebody of that partner, so that its own operators may decide it."""
        wanted = Wanted(
            action="key.create",
            subject=partner,
            environment=environment,
            partner=partner,
            change={"label": str(next(self._numbers))},
        )
        asked = await self._node.store.approvals.request(
            wanted, wait_ms=60_000, partner=partner, author=Author(actor)
        )
        return asked.id

    async def _glass(self, _partner: str, _environment: str) -> str:
        author = Author(f"cli:alone-{next(self._numbers)}", "a test")
        return (await self._node.store.break_glass.open(60_000, author=author)).id

    async def _route(self, _partner: str, environment: str) -> str:
        return {"paper": "orders-read", "live": "live-orders"}[environment]

    async def _environment(self, _partner: str, environment: str) -> str:
        return environment

    async def _revision(self, _partner: str, _environment: str) -> str:
        return "1"

    async def _webhook(self, partner: str, environment: str) -> str:
        return (await webhooks.replaced(self._node.store.webhooks, partner, environment)).webhook.id

    async def _delivery(self, partner: str, environment: str) -> str:
        webhook_id = await self.find("webhook_id", partner, environment)
        return await webhooks.ended_delivery(self._node.store.engine, webhook_id, next(self._numbers))

    async def body(self, operation: Operation, case: Case) -> Any:  # noqa: ANN401  JSON
        """The document's own example, about this case's subject."""
        if "requestBody" not in operation.said:
            return None
        body = dict(operation.said["requestBody"]["content"]["application/json"]["example"])
        told = {"partner": case.partner, "environment": case.subject_environment}
        body |= {name: value for name, value in told.items() if name in body}
        for name in {"id", "email"}.intersection(body):
            body[name] = f"made-{next(self._numbers)}" + ("@acme.example" if name == "email" else "")
        if operation.path.endswith("/roles"):
            body["roles"] = [case.role or "trader"]
        return body


def operations(document: dict[str, Any]) -> list[Operation]:
    return [
        Operation(path, method, said)
        for path, methods in document["paths"].items()
        for method, said in methods.items()
    ]


def cases(operation: Operation) -> Iterator[Case]:
    subjects = ENVIRONMENTS if operation.environment == "subject" else ENVIRONMENTS[:1]
    for role, environment, partner, subject in itertools.product(
        control_roles.ROLES, ENVIRONMENTS, (OWN, OTHER), subjects
    ):
        yield Case(role, environment, partner, subject)


def expected(operation: Operation, case: Case) -> tuple[int, str | None]:
    held = control_roles.ROLES[case.role]
    reaches = control.ALL_PARTNERS in held or case.partner == OWN
    needed = {"any": case.environment, "live": "live", "subject": case.subject_environment}
    if operation.permission not in held:
        return 403, "permission_denied"
    if operation.reach == "all" and control.ALL_PARTNERS not in held:
        return 403, "permission_denied"
    if operation.reach == "own" and not reaches:
        return 404, "not_found"
    if operation.reach == "asked" and case.partner != OWN:
        # What anybody but the caller asked for, whatever the caller reaches.
        return 404, "not_found"
    if needed[operation.environment] != case.environment:
        return 403, "environment_mismatch"
    return operation.success, None


def _tells(answer: rawhttp.Answer) -> set[str]:
    return {name for name in _TOLD if answer.header(name.lower()) is not None}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[ControlNode]:
    quiet = {"webhooks": {"deliver": False}}
    async with control_node(tmp_path, control_roles.policies(), changes=quiet) as found:
        yield found


@pytest.fixture
async def callers(node: ControlNode) -> dict[tuple[str, str], Signer]:
    """A key of acme's for every role and environment."""
    made = {
        (role, environment): await node.make_key(role, partner=OWN, environment=environment)
        for role in control_roles.ROLES
        for environment in ENVIRONMENTS
    }
    await node.gateway.directory.load()
    return made


class Matrix:
    def __init__(self, node: ControlNode, callers: dict[tuple[str, str], Signer]) -> None:
        self._node = node
        self._callers = callers
        self._subjects = Subjects(node)
        self.asked = 0

    async def walk(self, operation: Operation) -> None:
        """Every case of one operation; at least one of them has to do what the operation does."""
        self._subjects.forget()
        done = 0
        for case in cases(operation):
            status, code = expected(operation, case)
            target = await self._target(operation, case)
            if code is None:
                await self._prepare(operation, case, target)
            answer = await self._ask(operation, case, target)
            self.asked += 1
            where = f"{operation.method} {operation.path} {case}: {answer}"
            if code is not None:
                assert (answer.status, answer.code) == (status, code), where
                continue
            # It was let through. Whether the subject's state allows it is another matter.
            assert answer.status == status or answer.code == "conflict", where
            if answer.status == status:
                done += 1
                assert _tells(answer) == operation.tells, f"{where}: rules with `tagged=False` tell neither"
            await self._undo(operation, case)
        assert done, f"{operation.method} {operation.path} never succeeded"

    async def _ask(self, operation: Operation, case: Case, target: str) -> rawhttp.Answer:
        body = await self._subjects.body(operation, case)
        headers = {} if operation.is_read else {"if_match": "*"}
        caller = self._callers[case.role, case.environment]
        return await self._node.ask(caller, operation.method.upper(), target, body, **headers)

    async def _target(self, operation: Operation, case: Case) -> str:
        target = operation.path
        for name in re.findall(r"\{([a-z_]+)\}", target):
            if operation.reach == "asked" and case.partner == OWN:
                caller = self._callers[case.role, case.environment]
                value = await self._subjects.approval(OWN, case.environment, f"key:{caller.key_id}")
            else:
                value = await self._subjects.find(name, case.partner, case.subject_environment)
            if name == "version" and operation.path.endswith("/activate"):
                # The one that `_prepare` makes.
                value = "3"
            target = target.replace(f"{{{name}}}", value)
        return target

    async def _prepare(self, operation: Operation, case: Case, target: str) -> None:
        """What is to be undone has been done, and what is to be activated waits; but nobody can undo the freeze of
        their own partner.
        """
        officer = self._callers[control_roles.OFFICER, case.environment]
        if operation.path.endswith("/versions/{version}/activate"):
            await self._node.ask(officer, "POST", target.removesuffix("/3/activate"), {})
        undone = next((verb for verb in UNDOES if operation.path.endswith(f"/{verb}")), None)
        if operation.is_read and operation.path.endswith("/freeze"):
            undone = "freeze"
        is_own_partner = "{partner_id}" in operation.path and case.partner == OWN
        if undone is not None and not is_own_partner:
            of_one = re.search(r"\{(partner|webhook|account)_id\}", operation.path) is not None
            environment = case.environment if of_one else case.subject_environment
            officer = self._callers[control_roles.OFFICER, environment]
            done = target.removesuffix(undone) + UNDOES.get(undone, undone)
            await self._node.ask(officer, "POST", done, {"reason": "to be undone"}, if_match="*")

    async def _undo(self, operation: Operation, case: Case) -> None:
        """A frozen partner's keys could ask nothing more, of what is frozen nothing could be frozen again, and what is
        gone, or has other roles, is nobody's subject.
        """
        if operation.method == "delete" or operation.path.endswith("/roles"):
            self._subjects.forget()
        if operation.path.endswith("/freeze"):
            for frozen in await self._node.store.freezes.list():
                thaw = getattr(self._node.store.freezes, f"unfreeze_{frozen.kind}")
                await thaw(frozen.name, author=AUTHOR)
        if operation.is_read or "{partner_id}" not in operation.path:
            return
        if (await self._node.custody.get_partner(case.partner)).frozen_at is not None:
            await self._node.custody.unfreeze_partner(case.partner, author=AUTHOR)
            await self._node.gateway.directory.load()


async def test_every_endpoint_asks_for_what_it_declares(
    node: ControlNode, callers: dict[tuple[str, str], Signer]
) -> None:
    document = (await node.ask(None, "GET", "/control/openapi.json")).json()
    found = operations(document)
    matrix = Matrix(node, callers)
    for operation in found:
        assert operation.permission in control.ALL, operation.path
        assert operation.reach in {"own", "all", "listed", "any", "asked"}, operation.path
        assert operation.environment in {"any", "live", "subject"}, operation.path
        await matrix.walk(operation)
    assert matrix.asked > 1000


async def test_what_is_listed_is_what_is_reached(
    node: ControlNode, callers: dict[tuple[str, str], Signer]
) -> None:
    """Lists show the operator's own partner alone, unless they reach all."""
    document = (await node.ask(None, "GET", "/control/openapi.json")).json()
    theirs = await node.make_key("trader", partner=OTHER, environment="paper")
    await node.store.rotations.rotate(theirs.key_id, author=AUTHOR)
    await oauth_clients.made(node.store.oauth_clients, partner=OTHER)
    await Subjects(node).approval(OTHER, "paper")
    await webhooks.replaced(node.store.webhooks, OTHER, "listed")
    await Subjects(node).find("account_id", OTHER, "paper")
    for operation in operations(document):
        if operation.reach != "listed":
            continue
        for role, held in control_roles.ROLES.items():
            if operation.permission not in held:
                continue
            answer = await node.ask(callers[role, "paper"], "GET", f"{operation.path}?limit=500")
            tells_of_other = OTHER in answer.body.decode()
            assert tells_of_other == (control.ALL_PARTNERS in held), (operation.path, role)


async def test_what_is_anothers_and_what_is_not_there_are_one_answer(
    node: ControlNode, callers: dict[tuple[str, str], Signer]
) -> None:
    """For each operation on a subject: but for the ids themselves, whether it exists changes no byte."""
    document = (await node.ask(None, "GET", "/control/openapi.json")).json()
    subjects = Subjects(node)
    unknown = {
        "account_id": "acc_000000000000000000000000",
        "approval_id": "apr_0000000000000000",
        "client_id": "prc_paper_0000000000000000000000000000",
        "delivery_id": "msg_000000000000000000000000",
        "key_id": "prk_paper_0000000000000000000000000000",
        "partner_id": "nobody-01",
        "secret_id": "prk_paper_0000000000000000000000000000",
        "seq": "99999",
        "version": "1",
        "webhook_id": "wh_000000000000000000000000",
    }
    for operation in operations(document):
        names = re.findall(r"\{([a-z_]+)\}", operation.path)
        if not names or operation.reach == "all":
            continue
        told = []
        for values in ({name: await subjects.find(name, OTHER, "paper") for name in names}, unknown):
            target, body = operation.path, None
            for name in names:
                target = target.replace(f"{{{name}}}", values[name])
            if not operation.is_read:
                body = await subjects.body(operation, Case("", "paper", OTHER, "paper"))
            headers = {} if operation.is_read else {"if_match": '"r1"'}
            caller = callers[control_roles.ADMIN, "paper"]
            answer = await node.ask(caller, operation.method.upper(), target, body, **headers)
            text = answer.body.decode().replace(answer.header("portreeve-request-id") or "", "")
            for value in values.values():
                text = text.replace(value, "")
            told.append((answer.status, text))
        assert told[0] == told[1], operation.path
        assert told[0][0] == 404, operation.path
