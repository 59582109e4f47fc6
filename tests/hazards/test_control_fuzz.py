"""Whatever the control surface is sent: never a failure of ours, a problem for each refusal, and never a secret.

What is sent is made from the OpenAPI document: right shapes, wrong ones, and what lies between. The requests are signed
rightly, by an operator who may do everything, so that all of them come as far as the handlers.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import string
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import control_roles, rawhttp
from tests.support.control_node import ControlNode, control_node
from tests.support.signing import Signer

Json = dict[str, Any]

EXAMPLES = int(os.environ.get("PORTREEVE_FUZZ_EXAMPLES", "400"))
_SECRETS = re.compile(rb"prs_(?:paper|live)_[0-9A-Za-z]{30,}|whsec_[0-9A-Za-z+/]{30,}")
_ODD = (
    "",
    "null",
    "*",
    "-1",
    "0",
    "99999999999999999999",
    "a" * 300,
    "\x00",
    "\ud7ff",
    "%",
    "ä",
    "'",
    '"',
    "../x",
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.sampled_from(_ODD),
)
ANYTHING = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_HEADER = st.text(string.ascii_letters + string.digits + '"*,/ =-_', max_size=30).map(str.strip)


class Target:
    """The node, its loop, and one connection, for examples that hypothesis draws one after the other."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, node: ControlNode, officer: Signer, document: Json
    ) -> None:
        self._loop = loop
        self._node = node
        self._officer = officer
        self.document = document
        self.operations = [
            (path, method, said)
            for path, methods in document["paths"].items()
            for method, said in methods.items()
        ]

    def ask(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> rawhttp.Answer:
        return self._loop.run_until_complete(
            self._node.ask(self._officer, method, target, body or None, **headers)
        )


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Over either database: what one takes as text or as a number, the other may not."""
    storage = None
    if request.param == "postgresql":
        storage = request.getfixturevalue("new_database")()
    with asyncio.Runner() as runner:
        place = tmp_path_factory.mktemp("fuzz")
        opened = control_node(place, control_roles.policies(), storage=storage)
        node = runner.run(opened.__aenter__())
        officer = runner.run(node.key(control_roles.OFFICER))
        document = runner.run(node.ask(None, "GET", "/control/openapi.json")).json()
        yield Target(runner.get_loop(), node, officer, document)
        runner.run(opened.__aexit__(None, None, None))


def resolve(schema: Json, document: Json) -> Json:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Json = document["components"]["schemas"][reference.rpartition("/")[2]]
    return found


def fitting(schema: Json, document: Json) -> st.SearchStrategy[Any]:
    """Values of a schema's shape, not all of them within its bounds."""
    schema = resolve(schema, document)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([fitting(one, document) for one in schema["anyOf"]])
    if schema.get("type") == "object":
        return objects(schema, document)
    if schema.get("type") == "array":
        return st.lists(fitting(schema.get("items", {}), document), max_size=3)
    return scalars(schema)


def objects(schema: Json, document: Json) -> st.SearchStrategy[Any]:
    known = {name: fitting(one, document) for name, one in schema.get("properties", {}).items()}
    needed = set(schema.get("required", ()))
    optional = {name: one for name, one in known.items() if name not in needed}
    return st.fixed_dictionaries({name: known[name] for name in sorted(needed)}, optional=optional)


def scalars(schema: Json) -> st.SearchStrategy[Any]:
    kind = schema.get("type")
    if kind == "integer":
        return st.integers(schema.get("minimum", -5) - 1, schema.get("maximum", 10**19) + 1)
    if kind == "string" and "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True) | st.text(max_size=20)
    if kind == "string":
        return st.text(max_size=30) | st.sampled_from(_ODD)
    return st.none() if kind == "null" else ANYTHING


@st.composite
def requests(draw: st.DrawFn, target: Target) -> tuple[str, str, bytes, dict[str, str], Json]:
    path, method, said = draw(st.sampled_from(target.operations))
    headers: dict[str, str] = {}
    for name in re.findall(r"\{([a-z_]+)\}", path):
        text = draw(
            st.sampled_from(["acme", "1", "none"]) | st.text(string.ascii_letters + "_-.", min_size=1)
        )
        path = path.replace(f"{{{name}}}", "x" if set(text) <= {"."} else text)
    query = {}
    for parameter in said["parameters"]:
        if parameter["in"] == "query" and draw(st.booleans()):
            query[parameter["name"]] = str(draw(fitting(parameter["schema"], target.document)))
        if parameter["in"] == "header" and draw(st.booleans()):
            headers[parameter["name"]] = draw(_HEADER | st.sampled_from(['"r1"', "*"]))
    if query or draw(st.integers(0, 9)) == 0:
        path += (
            "?"
            + urllib.parse.urlencode(query, errors="replace")
            + draw(st.sampled_from(["", "", "&", "&x=1"]))
        )
    return method.upper(), path, draw(bodies(said, target.document)), headers, said


def bodies(said: Json, document: Json) -> st.SearchStrategy[bytes]:
    odd = ANYTHING.map(encode) | st.binary(max_size=40)
    if "requestBody" not in said:
        return st.just(b"") | odd
    schema = said["requestBody"]["content"]["application/json"]["schema"]
    return st.one_of(fitting(schema, document).map(encode), fitting(schema, document).map(encode), odd)


def encode(value: object) -> bytes:
    return json.dumps(value).encode()


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)
@given(drawn=st.data())
def test_nothing_that_is_sent_makes_it_fail_or_tell(target: Target, drawn: st.DataObject) -> None:
    method, path, body, headers, said = drawn.draw(requests(target))
    answer = target.ask(method, path, body, headers)
    assert answer.status < 500, str(answer)
    if answer.status == 304:
        return
    if answer.status >= 400:
        assert answer.header("content-type") == "application/problem+json", str(answer)
        problem = answer.json()
        assert problem["status"] == answer.status
        named = {code for one in said["responses"].values() for code in one.get("x-portreeve-codes", ())}
        assert problem["code"] in named, f"{method} {path}: {problem['code']} is not declared"
        assert not _SECRETS.search(answer.body)
        return
    assert str(answer.status) in said["responses"], str(answer)
    if answer.status != 201:
        assert not _SECRETS.search(answer.body)
