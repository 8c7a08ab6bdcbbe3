"""The API's documentation page: complete, self-contained, and safe against what docstrings contain."""

from app.api_docs import page

SCHEMA = {
    "info": {"title": "T", "version": "1", "description": "a < b"},
    "paths": {
        "/v1/lots/{lot_code}": {
            "get": {
                "description": "Return <script>",
                "parameters": [
                    {"name": "lot_code", "in": "path", "required": True, "schema": {"type": "string"}},
                    {"name": "limit", "in": "query", "schema": {"type": "integer"}},
                ],
                "responses": {"200": {"description": "Fine", "content": {"application/json": {"schema": {"$ref": "#/x/Lot"}}}}},
            }
        }
    },
    "components": {
        "schemas": {
            "Lot": {
                "description": "A car park",
                "required": ["code"],
                "properties": {
                    "code": {"type": "string"},
                    "kinds": {"type": "array", "items": {"enum": ["a", "b"]}},
                    "at": {"oneOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
                },
            }
        }
    },
}


def test_calls_parameters_answers_and_types_stand_on_the_page() -> None:
    html = page(SCHEMA, json_url="/schema/openapi.json")
    for words in (
        "GET",
        "/v1/lots/{lot_code}",
        "query, integer, optional",
        "list of a | b, optional",
        "string (date-time) or null",
    ):
        assert words in html


def test_nothing_of_a_docstring_becomes_markup_and_nothing_is_loaded_from_elsewhere() -> None:
    html = page(SCHEMA, json_url="/schema/openapi.json")
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "src=" not in html
    assert "http" not in html
