"""The API's document (OpenAPI 3.1), made from the table of operations and nothing else."""

import re
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

from web.api.openai import OpenAIProblem
from web.errors import MEDIA_TYPE, Problem
from web.routing import JSON, POSITION, Endpoint, Operation, WebRequest
from web.sessions import COOKIE
from web.writes import IF_MATCH, KEY

VERSION = "3.1.0"
REFERENCE = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")


def document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """The document of some operations; pages are left out.

    Args:
        operations: The app's.
        version: Of the API.
    """
    ours = [one for one in operations if not one.page]
    kinds = list(dict.fromkeys([Problem, OpenAIProblem, *_kinds(ours)]))
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    by_kind = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in ours:
        path = _PARAMETER.sub(r"{\1}", one.path)
        paths.setdefault(path, {})[one.method.lower()] = _operation(one, by_kind, components)
    return {
        "openapi": VERSION,
        "info": {
            "title": "Lifelog",
            "version": version,
            "description": "Train a model from a person's own memories, and talk with it.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
    }


def endpoint(operations: Sequence[Operation], version: str) -> Endpoint:
    """An endpoint that answers with the document."""
    content = msgspec.json.encode(document(operations, version))

    async def answered(_: WebRequest) -> Response:
        return Response(content, media_type=JSON)

    return answered


def _kinds(operations: Iterable[Operation]) -> Iterator[type]:
    for one in operations:
        yield from bodies(one)
        yield from (kind for kind in one.answers.values() if kind is not None)


def bodies(operation: Operation) -> tuple[type[msgspec.Struct], ...]:
    """The structs of which a request's body is one."""
    body = operation.body
    if body is None:
        return ()
    return body if isinstance(body, tuple) else (body,)


def _operation(
    one: Operation, schemas: dict[type, Any], components: dict[str, Any]
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", one.name.lower()).strip("_"),
        "summary": one.summary,
        "parameters": [*_path(one), *_query(one), *_headers(one)],
        "responses": _responses(one, schemas),
        "security": [] if one.access == "public" else [{"bearer": []}, {"session": []}],
        "x-access": one.access,
    }
    taken = [schemas[kind] for kind in bodies(one)]
    if taken:
        schema = taken[0] if len(taken) == 1 else {"oneOf": taken}
        told["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    return told


def _responses(one: Operation, schemas: dict[type, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, kind in one.answers.items():
        told: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if kind is not None:
            told["content"] = {one.media_type: {"schema": schemas[kind]}}
        elif one.media_type != JSON:
            told["content"] = {one.media_type: {"schema": {"type": "string"}}}
        responses[str(status)] = told
    problem, media = (Problem, MEDIA_TYPE) if one.refusal is None else (OpenAIProblem, JSON)
    responses["default"] = {
        "description": "A problem; `code` says which",
        "content": {media: {"schema": schemas[problem]}},
    }
    return responses


def _path(one: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(one.path)
    ]


def _query(one: Operation) -> list[dict[str, Any]]:
    if one.query is None:
        return []
    (reference,), found = msgspec.json.schema_components([one.query], ref_template=REFERENCE)
    schema = found[reference["$ref"].rpartition("/")[2]]
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": shape,
        }
        for name, shape in schema["properties"].items()
    ]


def _headers(one: Operation) -> list[dict[str, Any]]:
    told: list[tuple[str, str]] = []
    if one.conditional:
        told.append((IF_MATCH, "The ETag that was read: what has changed since is not changed."))
    if one.idempotent:
        text = "A repeat with the same key has no second effect; another body is refused."
        told.append((KEY, text))
    elif one.access != "public" and one.method == "GET":
        told.append((POSITION, "As a write gave it: the answer waits until it shows that write."))
    schema = {"type": "string", "maxLength": 255}
    return [
        {"name": name, "in": "header", "required": False, "schema": schema, "description": text}
        for name, text in told
    ]
