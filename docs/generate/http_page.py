"""The HTTP reference, from the service's own OpenAPI description."""

from collections.abc import Iterator, Mapping
from typing import Any

from api.main import create_app
from docs.generate.markdown import anchor, code, literals, table
from shared.settings import Settings

Schema = Mapping[str, Any]

_METHODS = ("get", "post", "put", "patch", "delete")
_SCHEMAS = "#/components/schemas/"
_PROBLEM_PAGE = "problems.md"


def http_calls() -> str:
    """Return a section for each call: parameters, body and answers."""
    spec = create_app(Settings()).openapi()
    calls = [
        (path, method, call)
        for path, methods in spec["paths"].items()
        for method, call in methods.items()
        if method in _METHODS
    ]
    return "\n".join(_call(*call) for call in calls)


def http_objects() -> str:
    """Return a section for each JSON object and each set of values."""
    schemas = create_app(Settings()).openapi()["components"]["schemas"]
    return "\n".join(_object(name, schema) for name, schema in schemas.items())


def _call(path: str, method: str, call: Schema) -> str:
    parts = [f"### {method.upper()} {path}", literals(call.get("description", ""))]
    if call.get("parameters"):
        parts.append(_parameters(call["parameters"]))
    if "requestBody" in call:
        parts.append(_body(call["requestBody"]))
    parts.append(_answers(call["responses"]))
    return "\n\n".join(parts) + "\n"


def _parameters(parameters: list[Schema]) -> str:
    rows = [
        (
            code(parameter["name"]) + (" (required)" if parameter.get("required") else ""),
            parameter["in"],
            _kind(parameter["schema"]),
            literals(parameter.get("description", "")),
        )
        for parameter in parameters
    ]
    return table(("parameter", "in", "type", "what it does"), rows)


def _body(body: Schema) -> str:
    parts = [f"Body: {body.get('description', '')}"]
    for media, content in body["content"].items():
        schema = content["schema"]
        if "properties" not in schema:
            parts.append(f"- {code(media)}: the bytes")
            continue
        parts.append(f"- {code(media)}:")
        parts += [
            f"    - {code(name)}, {_kind(field)}{_description(field)}"
            for name, field in schema["properties"].items()
        ]
    return parts[0] + "\n\n" + "\n".join(parts[1:])


def _description(schema: Schema) -> str:
    return f": {schema['description']}" if "description" in schema else ""


def _answers(responses: Mapping[str, Schema]) -> str:
    rows = [_answer(*response) for response in sorted(responses.items())]
    return table(("status", "meaning", "body"), rows)


def _answer(status: str, response: Schema) -> tuple[str, str, str]:
    description = response.get("description", "")
    bodies = []
    for media, content in response.get("content", {}).items():
        if media == "application/problem+json":
            slugs = content.get("examples", {})
            bodies += [f"[{code(slug)}]({_PROBLEM_PAGE})" for slug in slugs] or ["a problem"]
        elif "$ref" in content.get("schema", {}):
            bodies.append(_kind(content["schema"]))
        else:
            bodies.append(code(media))
    meaning = "done" if description == "Successful Response" else description
    return status, meaning, ", ".join(bodies) or "none"


def _object(name: str, schema: Schema) -> str:
    parts = [f"### {name}", literals(schema.get("description", ""))]
    if "enum" in schema:
        parts.append("One of " + ", ".join(map(code, schema["enum"])) + ".")
    if "properties" in schema:
        required = schema.get("required", ())
        rows = [
            (code(member), _kind(value), _notes(member, value, required))
            for member, value in schema["properties"].items()
        ]
        parts.append(table(("member", "type", ""), rows))
    return "\n\n".join(parts) + "\n"


def _notes(member: str, schema: Schema, required: list[str]) -> str:
    notes = [] if member in required else ["may be left out"]
    if "description" in schema:
        notes.append(literals(schema["description"]))
    if schema.get("examples"):
        notes.append(f"such as {code(schema['examples'][0])}")
    return "; ".join(notes)


def _kind(schema: Schema) -> str:
    """Return a description of a schema's type, with a link where it is an object of its own."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_SCHEMAS)
        return f"[{name}](#{anchor(name)})"
    for choice in ("anyOf", "oneOf"):
        if choice in schema and "type" not in schema:
            return " or ".join(_kind(option) for option in schema[choice])
    return " ".join(_words(schema))


def _words(schema: Schema) -> Iterator[str]:
    if "enum" in schema:
        yield " or ".join(map(code, schema["enum"]))
    elif schema.get("type") == "array":
        inner = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        yield f"list of {_kind(inner)}"
    else:
        yield str(schema.get("format", schema.get("type", "any")))
    if "minimum" in schema and "maximum" in schema:
        yield f"from {schema['minimum']} to {schema['maximum']}"
    if schema.get("default") is not None:
        yield f"(default {code(schema['default'])})"
