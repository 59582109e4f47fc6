"""The OpenAPI document as a page to read: one file of HTML, with nothing to run and nothing to fetch.

Invariant: everything in it is escaped, and its policy lets a browser load nothing but the page's own style.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Any, Final

import msgspec

Schema = dict[str, Any]

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
code, pre { font: 14px/1.45 ui-monospace, monospace; }
pre { background: var(--soft); padding: .75rem; overflow-x: auto; border-radius: 4px; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-top: 1px solid var(--line); }
article { border-top: 2px solid var(--line); margin-top: 2rem; }
nav ul { columns: 2; padding-left: 1rem; }
.method { font-weight: 700; }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


def render(document: Schema) -> bytes:
    title = escape(document["info"]["title"])
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    contents = "".join(
        f'<li><a href="#{escape(operation["operationId"])}">{escape(operation["summary"])}</a></li>'
        for _, _, operation in operations
    )
    articles = "".join(_article(*each) for each in operations)
    schemas = "".join(_schema(name, schema) for name, schema in document["components"]["schemas"].items())
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><header><h1>{title}</h1><p>{_marked(document['info']['description'])}</p>"
        '<p>For programs: <a href="/control/openapi.json">openapi.json</a></p></header>'
        f'<nav aria-label="Operations"><h2>Operations</h2><ul>{contents}</ul></nav>'
        f"<main>{articles}<section><h2>Types</h2>{schemas}</section></main></body></html>\n"
    )
    return page.encode()


def _article(path: str, method: str, operation: Schema) -> str:
    name = escape(operation["operationId"])
    facts = "".join(
        f"<tr><th scope=row>{what}</th><td><code>{escape(operation[f'x-portreeve-{what}'])}</code></td></tr>"
        for what in ("permission", "reach", "environment")
    )
    return (
        f'<article id="{name}" aria-labelledby="{name}-name"><h2 id="{name}-name">{escape(operation["summary"])}</h2>'
        f"<p><code><span class=method>{escape(method.upper())}</span> {escape(path)}</code></p>"
        f"<p>{_marked(operation.get('description', ''))}</p><table>{facts}</table>"
        f"{_parameters(operation['parameters'])}{_request(operation)}{_answers(operation['responses'])}</article>"
    )


def _parameters(parameters: list[Schema]) -> str:
    if not parameters:
        return ""
    rows = "".join(
        f"<tr><td><code>{escape(one['name'])}</code></td><td>{escape(one['in'])}"
        f"{', required' if one['required'] else ''}</td>"
        f"<td>{escape(one.get('description') or one['schema'].get('description', ''))}</td></tr>"
        for one in parameters
    )
    return f"<h3>Parameters</h3><table><tr><th>name<th>where<th>what</tr>{rows}</table>"


def _request(operation: Schema) -> str:
    if "requestBody" not in operation:
        return ""
    content = operation["requestBody"]["content"]["application/json"]
    return f"<h3>Body: {_link(content['schema'])}</h3>{_example(content)}"


def _answers(responses: Schema) -> str:
    shown = ""
    rows = ""
    for status, response in responses.items():
        content = response.get("content", {})
        if "application/json" in content:
            told = content["application/json"]
            shown = f"<h3>Answer {escape(status)}: {_link(told['schema'])}</h3>{_example(told)}"
        else:
            rows += f"<tr><td>{escape(status)}</td><td>{_marked(response['description'])}</td></tr>"
    return f"{shown}<details><summary>Refusals</summary><table>{rows}</table></details>"


def _schema(name: str, schema: Schema) -> str:
    return f'<h3 id="type-{escape(name)}">{escape(name)}</h3><pre>{escape(_json(schema))}</pre>'


def _link(schema: Schema) -> str:
    name = escape(schema["$ref"].rpartition("/")[2])
    return f'<a href="#type-{name}">{name}</a>'


def _example(content: Schema) -> str:
    return f"<pre>{escape(_json(content['example']))}</pre>" if "example" in content else ""


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _marked(text: str) -> str:
    """Every other piece between backticks is code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if at % 2 else piece for at, piece in enumerate(pieces))
