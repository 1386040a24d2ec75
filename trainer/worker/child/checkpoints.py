"""Checkpoints of one attempt: sealed artifacts, of which the log knows the newest."""

import time
from collections.abc import Callable

from schemas.errors import (
    ArtifactCorrupt,
    ArtifactMissing,
    CheckpointCorrupt,
    KeyDestroyed,
    LifelogError,
    Unavailable,
)
from trainer.worker import lines
from trainer.worker.child.orders import Orders
from trainer.worker.lines import Line, Spec
from vault.artifacts import Artifacts

APART_S = 15.0  # a checkpoint of 60 MB takes about 1 s; a kill costs this much training at most


class Checkpoints:
    """Stores what the training hands over, and removes what nobody will resume from.

    Args:
        artifacts: The store.
        spec: Whose checkpoints, and the one to resume from.
        say: Tells the worker.
        orders: Says which ones the log has.
    """

    def __init__(
        self, artifacts: Artifacts, spec: Spec, say: Callable[[Line], None], orders: Orders
    ) -> None:
        self._artifacts = artifacts
        self._spec = spec
        self._say = say
        self._orders = orders
        self._total_steps = 1
        self._stored = [spec.checkpoint] if spec.checkpoint is not None else []
        self._last = -APART_S

    def expect(self, total_steps: int) -> None:
        """Learn how many steps the run has."""
        self._total_steps = total_steps

    def newest(self) -> bytes | None:
        """The checkpoint that the lease names, if it is there and whole.

        Raises:
            Unavailable: If the store does not answer.
        """
        if self._spec.checkpoint is None:
            return None
        try:
            return self._artifacts.get(self._spec.person_id, self._spec.checkpoint)
        except (ArtifactMissing, ArtifactCorrupt, KeyDestroyed) as error:
            self._note(CheckpointCorrupt(f"The run starts over: {error.detail}"))
            return None

    def store(self, step: int, data: bytes) -> None:
        """Keep a checkpoint, unless one was kept a moment ago or nobody will resume from it.

        One that cannot be stored is passed over: the training goes on.
        """
        stopping = self._orders.stopped.is_set()
        soon = time.monotonic() < self._last + APART_S
        if self._orders.cancelled or (soon and not stopping):
            return
        try:
            digest = self._artifacts.put(self._spec.person_id, data)
        except Unavailable as error:
            self._note(error)
            return
        self._last = time.monotonic()
        self._stored.append(digest)
        self._say(
            lines.CheckpointStored(step=step, total_steps=self._total_steps, checkpoint=digest)
        )
        self._delete_superseded()

    def delete_all(self) -> None:
        """The job is over: nobody will resume."""
        self._delete(self._stored)
        self._stored = []

    def _delete_superseded(self) -> None:
        """Those before the newest that the log has are of no use."""
        noted = [n for n, digest in enumerate(self._stored) if digest in self._orders.confirmed]
        if noted:
            self._delete(self._stored[: noted[-1]])
            self._stored = self._stored[noted[-1] :]

    def _delete(self, digests: list[str]) -> None:
        for digest in digests:
            try:
                self._artifacts.delete(self._spec.person_id, digest)
            except Unavailable as error:
                self._note(error)

    def _note(self, error: LifelogError) -> None:
        self._say(lines.Noted(code=error.code, detail=error.detail))
