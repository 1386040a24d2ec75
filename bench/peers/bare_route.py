"""The peer of `read_api.py`: a Starlette route that answers with fixed JSON of the same length.

    python bare_route.py PORT BYTES
"""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

BODY = {"filled": "x" * max(0, int(sys.argv[2]) - len('{"filled":""}'))}


async def answer(request):
    return JSONResponse(BODY)


app = Starlette(routes=[Route("/", answer)])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
