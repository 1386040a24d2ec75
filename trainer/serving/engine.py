"""The thread that owns the model: takes questions as they come and hands out text as it is made."""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from schemas.errors import InferenceUnavailable, LifelogError
from trainer.bases import Base
from trainer.serving.batch import Batch, Row
from trainer.serving.loaded import Loaded, Weights
from trainer.serving.sampling import Sampling

ROWS_MAX = 8  # answers at once; beyond, questions wait their turn
WAITING_MAX = 64

FinishReason = Literal["stop", "length"]


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """Some of an answer's text; the last piece says why it ended."""

    text: str
    finish_reason: FinishReason | None = None
    answer_tokens: int = 0  # so far, the end token included


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A question for the engine.

    `emit` is called on the engine's thread, with pieces and at last with one that ends the answer,
    or with an error; it must not block.
    """

    prompt: Sequence[int]
    weights: Weights | None  # None: the base itself
    sampling: Sampling
    max_tokens: int
    stop: tuple[str, ...]
    emit: Callable[[Piece | LifelogError], None]
    cancelled: threading.Event


class _Answer:
    """An answer in the making."""

    def __init__(self, order: Order, row: Row) -> None:
        self.order = order
        self.row = row
        self.sent = 0  # characters


class Engine:
    """One model on one thread.

    Args:
        base: In memory; the engine's alone from now on.
        died: Called if the thread ends by an error: the process is of no use then.
    """

    def __init__(self, base: Base, died: Callable[[], None]) -> None:
        self.base = base
        self._died = died
        self._loaded = Loaded(base)
        self._batch = Batch(self._loaded)
        self._answers: list[_Answer] = []
        self._orders: queue.Queue[Order | None] = queue.Queue(maxsize=WAITING_MAX)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether questions are answered."""
        return self._thread.is_alive()

    def submit(self, order: Order) -> None:
        """Ask a question; its answer comes through `emit`.

        Raises:
            InferenceUnavailable: If too many questions wait, or the engine has stopped.
        """
        if not self.is_alive:
            raise InferenceUnavailable("The inference engine has stopped: restart it.")
        try:
            self._orders.put_nowait(order)
        except queue.Full as error:
            raise InferenceUnavailable(
                f"{WAITING_MAX} questions are waiting already: try again in a moment."
            ) from error

    def close(self) -> None:
        """Stop; answers in the making end as if they had been cut off."""
        self._orders.put(None)
        self._thread.join()

    def _run(self) -> None:
        asked_to_stop = False
        try:
            while self._take_in():
                self._step()
            asked_to_stop = True
        finally:
            self._refuse_the_rest()
            if not asked_to_stop:
                self._died()

    def _step(self) -> None:
        """One token for each answer that is still wanted."""
        done = [answer for answer in self._answers if answer.order.cancelled.is_set()]
        if done:
            self._answers = [answer for answer in self._answers if answer not in done]
            self._batch.leave([answer.row for answer in done])
        if self._answers:
            self._batch.step()
            for answer in self._answers:
                self._say(answer)

    def _take_in(self) -> bool:
        """Let waiting questions join; wait for one if there is nothing else to do."""
        while len(self._answers) < ROWS_MAX:
            try:
                order = self._orders.get(block=not self._answers)
            except queue.Empty:
                return True
            if order is None:
                return False
            if not order.cancelled.is_set():
                self._join(order)
        return True

    def _join(self, order: Order) -> None:
        name = None if order.weights is None else order.weights.name
        try:
            if order.weights is not None:
                in_use = {answer.row.adapter for answer in self._answers} - {None}
                self._loaded.load(order.weights, {used for used in in_use if used is not None})
        except LifelogError as error:
            order.emit(error)
            return
        row = Row(name, order.prompt, order.sampling)
        self._batch.join(row)
        answer = _Answer(order, row)
        self._answers.append(answer)
        self._say(answer)

    def _say(self, answer: _Answer) -> None:
        """Hand out what is certain of the text; end the answer where it ends."""
        ids, order = answer.row.answer, answer.order
        ended = ids[-1] == self.base.tokenizer.eos_token_id
        text = self.base.tokenizer.decode(ids, skip_special_tokens=True).lstrip()
        cut = min((place for stop in order.stop if (place := text.find(stop)) >= 0), default=None)
        reason: FinishReason | None = None
        if ended or cut is not None:
            reason = "stop"
        elif len(ids) >= order.max_tokens:
            reason = "length"
        certain = text[:cut] if reason is not None else _certain(text, order.stop)
        piece = certain[answer.sent :]
        if piece or reason is not None:
            answer.sent = max(answer.sent, len(certain))
            order.emit(Piece(text=piece, finish_reason=reason, answer_tokens=len(ids)))
        if reason is not None:
            order.cancelled.set()  # nothing more is wanted

    def _refuse_the_rest(self) -> None:
        """Nobody waits for an engine that has stopped."""
        refused = [answer.order for answer in self._answers]
        while not self._orders.empty():
            order = self._orders.get()
            if order is not None:
                refused.append(order)
        for order in refused:
            order.emit(InferenceUnavailable("The inference process is stopping: try again."))


def _certain(text: str, stops: tuple[str, ...]) -> str:
    r"""The text that later tokens cannot change.

    A character whose bytes are not all there decodes to U+FFFD; the beginning of a stop text may
    turn out to be one.

    Examples:
        >>> _certain("A cat. EN", ("END",)), _certain("caf\ufffd", ())
        ('A cat. ', 'caf')
    """
    text = text.rstrip("\ufffd")
    longest = max((len(stop) for stop in stops), default=1)
    for size in range(min(longest - 1, len(text)), 0, -1):
        if any(stop.startswith(text[-size:]) for stop in stops):
            return text[:-size]
    return text
