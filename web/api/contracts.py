"""What strangers need to read the log: the schema behind each `ce_dataschema`, and AsyncAPI."""

from functools import cache
from typing import Final

import msgspec
from starlette.responses import Response

from schemas.contracts import asyncapi, golden
from schemas.errors import NotFound
from web.routing import JSON, Operation, WebRequest

SCHEMA_JSON: Final = "application/schema+json"


async def schema(request: WebRequest) -> Response:
    """The JSON Schema that a name stands for."""
    name = request.path_params["name"]
    found = golden.resolve(name)
    if found is None:
        raise NotFound(
            f"There is no schema {name}: a name is urn:lifelog:schema:TYPE:VERSION, as a record's"
            " ce_dataschema says, or a TYPE alone for its newest version."
        )
    return Response(msgspec.json.encode(found), media_type=SCHEMA_JSON)


async def document(_: WebRequest) -> Response:
    """The log as an AsyncAPI document."""
    return Response(_document(), media_type=JSON)


@cache
def _document() -> bytes:
    return msgspec.json.encode(asyncapi.document())


OPERATIONS = (
    Operation(
        method="GET",
        path="/schemas/{name}",
        endpoint=schema,
        access="public",
        summary="The JSON Schema of a type of event or command, by the name in ce_dataschema",
        media_type=SCHEMA_JSON,
    ),
    Operation(
        method="GET",
        path="/asyncapi.json",
        endpoint=document,
        access="public",
        summary="The log as an AsyncAPI document",
    ),
)
