"""The API's documentation as one plain page, written from the OpenAPI schema.

Knows OpenAPI's form; must not know any route. Mounted by ``app.main`` at ``/schema``. It loads nothing from anywhere: the usual
browsers for schemas fetch their scripts from other hosts, and this product works offline.
"""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from litestar import Request
from litestar.openapi.plugins import OpenAPIRenderPlugin

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_STYLE: Final = """
body{font:16px/1.6 system-ui,"Noto Sans CJK SC",sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2733}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin:2.2rem 0 .4rem;border-top:1px solid #d8dee6;padding-top:1.2rem}
h3{font-size:1rem;margin:1.6rem 0 .2rem}code,pre{font-family:ui-monospace,monospace;font-size:.9em}
.m{display:inline-block;min-width:3.6em;text-align:center;border-radius:4px;background:#0a6b4f;color:#fff;margin-right:.5em}
table{border-collapse:collapse;width:100%;margin:.4rem 0}td,th{text-align:left;vertical-align:top;padding:.25rem .6rem .25rem 0}
th{font-weight:600;color:#52606d}p{margin:.4rem 0;white-space:pre-line}
"""


class PlainDocs(OpenAPIRenderPlugin):
    """Writes the page; the schema itself stands at ``/schema/openapi.json``."""

    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Return the page as HTML."""
        return page(openapi_schema, json_url=self.get_openapi_json_route(request)).encode()


def page(schema: Mapping[str, Any], *, json_url: str) -> str:
    """Return the documentation of an OpenAPI schema as an HTML page."""
    title = escape(f"{schema['info']['title']} API {schema['info']['version']}")
    described = escape(schema["info"].get("description") or "")
    calls = "".join(
        _call(path, method, item[method]) for path, item in schema["paths"].items() for method in _METHODS if method in item
    )
    types = "".join(_type(name, form) for name, form in sorted(schema.get("components", {}).get("schemas", {}).items()))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1><p>{described}</p>"
        f'<p>The same as a schema: <a href="{escape(json_url)}">{escape(json_url)}</a></p>{calls}<h2>Types</h2>{types}</html>'
    )


def _call(path: str, method: str, operation: Mapping[str, Any]) -> str:
    words = escape(operation.get("description") or operation.get("summary") or "")
    rows = [*_parameters(operation), *_body(operation), *_answers(operation)]
    return f'<h2><code><span class="m">{method.upper()}</span>{escape(path)}</code></h2><p>{words}</p>{_table(rows)}'


def _parameters(operation: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for parameter in operation.get("parameters") or ():
        needed = "" if parameter.get("required") else ", optional"
        yield (
            parameter["name"],
            f"{parameter['in']}, {_form(parameter.get('schema', {}))}{needed}",
            parameter.get("description", ""),
        )


def _body(operation: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for media, content in (operation.get("requestBody") or {}).get("content", {}).items():
        yield "body", f"{media}: {_form(content.get('schema', {}))}", ""


def _answers(operation: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for status, answer in (operation.get("responses") or {}).items():
        forms = [_form(content.get("schema", {})) for content in (answer.get("content") or {}).values()]
        yield status, ", ".join(form for form in forms if form), answer.get("description", "")


def _type(name: str, form: Mapping[str, Any]) -> str:
    needed = set(form.get("required") or ())
    rows = [
        (field, _form(kind) + ("" if field in needed else ", optional"), kind.get("description", ""))
        for field, kind in (form.get("properties") or {}).items()
    ]
    return f'<h3 id="{escape(name)}"><code>{escape(name)}</code></h3><p>{escape(form.get("description") or "")}</p>{_table(rows)}'


def _form(schema: Mapping[str, Any]) -> str:
    """Return a type in words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "oneOf" in schema:
        return " or ".join(_form(one) for one in schema["oneOf"])
    if schema.get("type") == "array":
        return f"list of {_form(schema.get('items', {}))}"
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    kind = schema.get("type", "")
    words = "/".join(kind) if isinstance(kind, list) else str(kind)
    return f"{words} ({schema['format']})" if "format" in schema else words


def _table(rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    cells = "".join(f"<tr><th><code>{escape(a)}</code></th><td>{escape(b)}</td><td>{escape(c)}</td></tr>" for a, b, c in rows)
    return f"<table>{cells}</table>"
