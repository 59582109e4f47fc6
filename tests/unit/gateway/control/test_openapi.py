"""The OpenAPI document and its page: what they say is well-formed, and holds for their own examples."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import openapi_spec_validator
import pytest

from gateway.api import control
from gateway.api.control import openapi, page
from gateway.problems import KINDS
from policies import control as permissions

PAGES = Path(__file__).parents[4] / "docs" / "problems"
RULES = control.build().rules
DOCUMENT = msgspec.json.decode(msgspec.json.encode(openapi.document(RULES)))


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            yield operation["operationId"], operation


def contents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything with a schema and an example."""
    for name, operation in operations():
        if "requestBody" in operation:
            yield f"{name} request", operation["requestBody"]["content"]["application/json"]
        for status, response in operation["responses"].items():
            if "application/json" in response.get("content", {}):
                yield f"{name} {status}", response["content"]["application/json"]


def test_it_is_an_openapi_document() -> None:
    openapi_spec_validator.validate(DOCUMENT)


@pytest.mark.parametrize(("name", "content"), list(contents()))
def test_every_example_fits_its_schema(name: str, content: dict[str, Any]) -> None:
    """Readers copy them."""
    assert content["example"], name
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(schema).validate(content["example"])


@pytest.mark.parametrize(("name", "operation"), list(operations()))
def test_every_operation_says_all_that_is_needed(name: str, operation: dict[str, Any]) -> None:
    assert operation["summary"], name
    assert operation["x-portreeve-permission"] in permissions.ALL
    assert all(len(one) == 4 for one in operation["security"])
    codes = [code for one in operation["responses"].values() for code in one.get("x-portreeve-codes", ())]
    assert {"missing_credentials", "permission_denied", "rate_limited", "store_unavailable"} <= set(codes)
    for code in codes:
        assert str(KINDS[code].status) in operation["responses"]
        assert (PAGES / f"{code}.md").is_file()


def test_requests_are_closed() -> None:
    """An unknown field is refused, and the document says so."""
    bodies = {rule.body.__name__ for rule in RULES if rule.body is not None}
    assert bodies
    for name in bodies:
        assert DOCUMENT["components"]["schemas"][name]["additionalProperties"] is False, name


def test_only_what_makes_a_secret_has_a_place_for_one() -> None:
    """Of all answers; requests, which are closed, may tell of secrets that were found."""
    places = {
        name
        for name, schema in DOCUMENT["components"]["schemas"].items()
        if not {"secret", "private_key"}.isdisjoint(schema.get("properties", ()))
        and schema.get("additionalProperties", True)
    }
    assert places == {"MadeClient", "MadeKey", "MadeVersion", "MadeWebhook"}


def test_every_list_is_told_in_one_way() -> None:
    """`items` and `next`, also where one page holds them all."""
    schemas = DOCUMENT["components"]["schemas"]
    lists = {name for name, schema in schemas.items() if name.endswith("List")}
    assert len(lists) > 10
    for name in lists:
        assert {"items", "next"} <= set(schemas[name]["properties"]), name


def test_a_problem_has_a_place_for_all_that_is_told_in_one() -> None:
    """Clients are made from the document: what is not there is lost to them."""
    told = set(DOCUMENT["components"]["schemas"]["ProblemDetails"]["properties"])
    assert {"approval_id", "expires_at", "version", "last_used_source", "limit", "server_time"} <= told


def test_what_changes_by_itself_has_no_etag() -> None:
    """And a change of it no revision: there would be nothing to wait for."""
    by_id = {rule.id: rule for rule in RULES}
    for name, operation in operations():
        rule = by_id[name]
        answer = operation["responses"][str(rule.status)]
        told = {"ETag", "Portreeve-Revision"} & set(answer.get("headers", ()))
        if not rule.tagged:
            assert not told, name
            assert "304" not in operation["responses"], name
        elif rule.conditional:
            assert told == {"ETag", "Portreeve-Revision"}, name


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.add(name)
            self.ids += [value or ""] if name == "id" else []
            self.links += [value or ""] if name == "href" else []


def test_the_page_has_every_operation_and_fetches_nothing() -> None:
    """Its policy allows its own style alone, and there is nothing else for it to forbid."""
    rendered = page.render(DOCUMENT).decode()
    reader = Reader()
    reader.feed(rendered)
    assert {name for name, _ in operations()} <= set(reader.ids)
    assert len(reader.ids) == len(set(reader.ids))
    assert not {"script", "img", "link", "iframe", "object", "form"} & set(reader.tags)
    assert not {"style", "src"} & reader.attributes
    assert not [name for name in reader.attributes if name.startswith("on")]
    inner = {link[1:] for link in reader.links if link.startswith("#")}
    assert inner <= set(reader.ids)
    assert set(reader.links) - {f"#{name}" for name in inner} == {"/control/openapi.json"}
    (style,) = re.findall("<style>(.*?)</style>", rendered, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert page.POLICY.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")


def test_the_page_escapes_what_it_shows() -> None:
    document = msgspec.json.decode(msgspec.json.encode(DOCUMENT))
    document["info"]["description"] = "<script>alert(1)</script>"
    assert b"<script" not in page.render(document)
