"""What stands where the inference process would: the same protocol, and answers that a test sets."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

DIGEST = "ab" * 32


class Inference:
    """A server that answers every question with `text`, word by word, resting on `entries`."""

    def __init__(self) -> None:
        self.text = "I was born in **Wrest**, above the ferry office. [1]"
        self.entries: list[tuple[str, int, float]] = []  # id, revision, score
        self.pause_s = 0.0  # between two words
        self.asked: list[dict[str, Any]] = []
        self.refusal: str | None = None
        routes = [
            Route("/v1/chat/completions", self._answer, methods=["POST"]),
            Route("/healthz", self._health),
        ]
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_config=None))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _answer(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        if self.refusal is not None:
            error = {"error": {"code": "inference-unavailable", "message": self.refusal}}
            return JSONResponse(error, 503)
        if body.get("stream"):
            return StreamingResponse(self._pieces(body), media_type="text/event-stream")
        message = {"role": "assistant", "content": self.text}
        told = {"choices": [{"message": message}], "lifelog": {"receipt": self._receipt(body)}}
        return JSONResponse(told)

    async def _pieces(self, body: dict[str, Any]) -> AsyncIterator[str]:
        for index, word in enumerate(self.text.split(" ")):
            await asyncio.sleep(self.pause_s)
            piece = word if index == 0 else f" {word}"
            yield f"data: {json.dumps({'choices': [{'delta': {'content': piece}}]})}\n\n"
        last = {"choices": [{"delta": {}}], "lifelog": {"receipt": self._receipt(body)}}
        yield f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n"

    def _receipt(self, body: dict[str, Any]) -> dict[str, Any]:
        asked = body["lifelog"]
        version = asked.get("version")
        named = self.entries if asked["memories"] else []
        return {
            "version_id": version and version["id"],
            "base": DIGEST,
            "adapter": version and version["adapter"],
            "template": DIGEST,
            "manifest": version and version["manifest"],
            "temperature": 0.0,
            "top_p": 1.0,
            "max_tokens": 128,
            "seed": 7,
            "entries": [
                {"entry_id": entry_id, "revision": revision, "score": score}
                for entry_id, revision, score in named
            ],
            "prompt_tokens": 212,
            "answer_tokens": 21,
            "finish_reason": "stop",
        }
