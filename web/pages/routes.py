"""The pages as the app takes them: operations beside the API's, and the files that they load."""

from starlette.routing import Mount

from web.pages import chat, entries, login, training
from web.pages.shell import Static
from web.routing import Operation

OPERATIONS: tuple[Operation, ...] = (
    *login.OPERATIONS,
    *training.OPERATIONS,
    *chat.OPERATIONS,
    *entries.OPERATIONS,
)
STATIC = Mount("/static", app=Static(), name="static")
