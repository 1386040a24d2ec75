"""From a request to an answer with its receipt: memories, prompt, adapter, tokens."""

import asyncio
import secrets
import threading
from collections.abc import AsyncGenerator, Sequence

import msgspec

from schemas.errors import BaseUnavailable, LifelogError, TooLarge
from schemas.events import Receipt
from schemas.prompts import Memory, Message, layout, template_digest
from trainer.batches import prompt_ids
from trainer.serving.engine import Engine, Order, Piece
from trainer.serving.index import Hit, Passage
from trainer.serving.loaded import Weights
from trainer.serving.memories import Memories
from trainer.serving.protocol import ChatRequest, Version
from trainer.serving.sampling import Sampling
from vault.artifacts import Artifacts

PASSAGES_MAX = 3  # as many as the examples for training show; a fourth finds 1.5 % more
GROUNDED_TOKENS = 700  # of a prompt without earlier turns: three passages of 165, and a question
PROMPT_TOKENS = 1_600  # with earlier turns; the small base was trained on 2,048
MAX_TOKENS = 256  # of an answer, where the request does not say


class Prompt(msgspec.Struct, frozen=True):
    """What the model reads."""

    ids: list[int]
    hits: tuple[Hit, ...]  # in the order of their numbers in the prompt


class Answering:
    """All that an answer takes.

    Args:
        engine: Makes it.
        memories: What it may rest on.
        artifacts: Where adapters are.
    """

    def __init__(self, engine: Engine, memories: Memories, artifacts: Artifacts) -> None:
        self._engine = engine
        self._memories = memories
        self._artifacts = artifacts
        self._template = template_digest()

    async def answer(self, request: ChatRequest) -> AsyncGenerator[str | Receipt, None]:
        """The answer's text as it is made, and at last its receipt.

        Closing the iterator stops the making.

        Raises:
            ArtifactMissing: If the version's adapter is not there, or is another person's.
            BaseUnavailable: If the version was trained on another base.
            DatabaseUnavailable: If Postgres does not answer.
            TooLarge: If the question does not fit the prompt.
            InferenceUnavailable: If too many questions wait.
        """
        prompt, weights = await asyncio.to_thread(self._prepared, request)
        seed = secrets.randbelow(2**31) if request.seed is None else request.seed
        order, pieces = self._order(request, prompt, weights, seed)
        self._engine.submit(order)
        try:
            while True:
                piece = await pieces.get()
                if isinstance(piece, LifelogError):
                    raise piece
                if piece.text:
                    yield piece.text
                if piece.finish_reason is not None:
                    yield self._receipt(request, prompt, order, piece)
                    return
        finally:
            order.cancelled.set()

    def _prepared(self, request: ChatRequest) -> tuple[Prompt, Weights | None]:
        about = request.lifelog
        weights = None if about.version is None else self._weights(about.person, about.version)
        return self._prompt(request), weights

    def _weights(self, person: str, version: Version) -> Weights:
        if version.base != self._engine.base.digest:
            raise BaseUnavailable(
                f"Version {version.id} was trained on base {version.base[:12]}; this process has"
                f" {self._engine.base.digest[:12]}.",
                field="lifelog.version",
            )
        return Weights(
            name=f"{version.adapter}-{version.adapter_config}",
            adapter=self._artifacts.get(person, version.adapter),
            config=self._artifacts.get(person, version.adapter_config),
        )

    def _prompt(self, request: ChatRequest) -> Prompt:
        hits = self._found(request) if request.lifelog.memories else []
        # A system message of the caller's takes nothing from the room that memories have.
        alone = len(self._ids(request, [], [])) - len(self._ids(request, [], [], instructions=""))
        ids = self._ids(request, hits, [])
        while hits and len(ids) > min(GROUNDED_TOKENS + alone, PROMPT_TOKENS):
            hits = hits[:-1]
            ids = self._ids(request, hits, [])
        if len(ids) > PROMPT_TOKENS:
            raise TooLarge(
                f"The question has {len(ids)} tokens, system messages included; at most"
                f" {PROMPT_TOKENS} fit.",
                field="messages",
            )
        return Prompt(self._with_turns(request, hits, ids), tuple(hits))

    def _found(self, request: ChatRequest) -> list[Hit]:
        """Passages about the question, or about it and the one before: "And then?" says little."""
        person, asked = request.lifelog.person, request.messages[-1].text
        hits = self._memories.find(person, asked, PASSAGES_MAX)
        before = [turn.content for turn in request.turns if turn.role == "user"][-1:]
        if hits or not before:
            return hits
        return self._memories.find(person, f"{before[0]} {asked}", PASSAGES_MAX)

    def _with_turns(self, request: ChatRequest, hits: Sequence[Hit], ids: list[int]) -> list[int]:
        """The prompt with as many of the newest turns as fit, an exchange at a time."""
        turns = request.turns
        for start in range(len(turns) - 1, -1, -1):
            if turns[start].role != "user":
                continue
            longer = self._ids(request, hits, turns[start:])
            if len(longer) > PROMPT_TOKENS:
                break
            ids = longer
        return ids

    def _ids(
        self,
        request: ChatRequest,
        hits: Sequence[Hit],
        turns: Sequence[Message],
        instructions: str | None = None,
    ) -> list[int]:
        """The prompt's tokens; with the request's own instructions where none are given."""
        told = request.instructions if instructions is None else instructions
        memories = [_memory(hit.passage) for hit in hits]
        said = layout(request.lifelog.name, request.messages[-1].text, memories, turns, told)
        return prompt_ids(self._engine.base.tokenizer, said)

    def _order(
        self, request: ChatRequest, prompt: Prompt, weights: Weights | None, seed: int
    ) -> tuple[Order, "asyncio.Queue[Piece | LifelogError]"]:
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Piece | LifelogError] = asyncio.Queue()

        def emit(piece: Piece | LifelogError) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        return Order(
            prompt=prompt.ids,
            weights=weights,
            sampling=Sampling(temperature=request.temperature, top_p=request.top_p, seed=seed),
            max_tokens=request.max_completion_tokens or request.max_tokens or MAX_TOKENS,
            stop=request.stops,
            emit=emit,
            cancelled=threading.Event(),
        ), pieces

    def _receipt(self, request: ChatRequest, prompt: Prompt, order: Order, last: Piece) -> Receipt:
        version = request.lifelog.version
        return Receipt(
            version_id=None if version is None else version.id,
            base=self._engine.base.digest,
            adapter=None if version is None else version.adapter,
            template=self._template,
            manifest=None if version is None else version.manifest,
            temperature=order.sampling.temperature,
            top_p=order.sampling.top_p,
            max_tokens=order.max_tokens,
            seed=order.sampling.seed,
            entries=tuple(hit.reference for hit in prompt.hits),
            prompt_tokens=len(prompt.ids),
            answer_tokens=last.answer_tokens,
            finish_reason=last.finish_reason or "stop",
            instructed=bool(request.instructions),
        )


def _memory(passage: Passage) -> Memory:
    return Memory(
        entry_id=passage.entry_id,
        title=passage.title,
        date=passage.dated or None,
        text=passage.text,
    )
