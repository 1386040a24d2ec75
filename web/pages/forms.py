"""Forms that pages send: their fields, and passing what they ask for on to the API's own routes.

A form and `curl` must mean the same, so a page decides nothing itself: it makes the body that the
API takes and gives it to the API's operation, with the form's own Idempotency-Key.
"""

from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from schemas.errors import InvalidBody
from web.routing import Operation, WebRequest, read_bytes
from web.writes import KEY

FIELDS_MOST = 100


def new_key() -> str:
    """A form's Idempotency-Key: sent twice, the form means one request."""
    return str(uuid4())


async def fields(request: WebRequest) -> dict[str, str]:
    """A form's fields; of one that comes twice, the last.

    Raises:
        TooLarge: If the form is longer than the operation takes.
        InvalidBody: If it is not `application/x-www-form-urlencoded` text.
    """
    data = await read_bytes(request)
    try:
        pairs = parse_qsl(
            data.decode(), keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MOST
        )
    except ValueError as error:
        raise InvalidBody("The form cannot be read: reload the page and send it again.") from error
    return dict(pairs)


async def passed_on(
    request: WebRequest, operation: Operation, body: Any, *, key: str, **path: str
) -> Response:
    """What the API answers to a body, in the name of whoever sent the form.

    Args:
        request: The form's.
        operation: The API's.
        body: What the API takes, as plain data.
        key: Idempotency-Key.
        path: Parameters in the operation's address.

    Raises:
        LifelogError: As the operation.
    """
    data = msgspec.json.encode(body)
    unsent = (b"content-length", b"content-type", KEY.lower().encode())
    headers = [pair for pair in request.scope["headers"] if pair[0] not in unsent]
    headers += [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(data)).encode()),
        (KEY.lower().encode(), key.encode("latin-1", "replace")),
    ]
    scope = dict(request.scope) | {
        "headers": headers,
        "method": operation.method,
        "path_params": path,
        "query_string": b"",
        "state": dict(request.scope["state"]) | {"operation": operation},
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    return await operation.endpoint(Request(scope, receive))
