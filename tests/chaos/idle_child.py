"""A child that trains nothing: `python -m tests.chaos.idle_child PARENT`.

All but the training is the real child's: it dies with its parent and with its lease, obeys its
worker, and waits for the receipt. A job takes half a second, every eighth one four. While it runs it
holds a lock that the kernel takes back when the process ends, however it ends: a second child of the
same job finds it taken, and says so in a file that the test reads.
"""

import contextlib
import datetime
import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from schemas.telemetry import Tick
from trainer.worker import lines
from trainer.worker.child.__main__ import Run, Say, main
from trainer.worker.child.orders import Orders

FOLDER = "CHAOS_FOLDER"  # where the locks are; of no concern to our settings
TWICE = "ran-twice"
STEPS = 4
SHORT_S, LONG_S = 0.5, 4.0
ONE_IN = 8


def run(spec: lines.Spec, say: Say, orders: Orders) -> lines.Line:
    """Step through the attempt from its checkpoint on."""
    with alone(spec):
        return _run(spec, say, orders)


def _run(spec: lines.Spec, say: Say, orders: Orders) -> lines.Line:
    digest = hashlib.sha256(spec.job_id.encode()).hexdigest()
    say(lines.DatasetStored(dataset=digest, manifest=digest, examples=1, entries=1, tokens=1))
    say(lines.Started(device="cpu", resumed_from_step=spec.checkpoint_step))
    whole_s = LONG_S if int(digest[:8], 16) % ONE_IN == 0 else SHORT_S
    for step in range(spec.checkpoint_step + 1, STEPS + 1):
        if orders.stopped.wait(whole_s / STEPS):
            stopped = lines.Stopped(step=step)
            say(stopped)
            return stopped
        at = datetime.datetime.now(datetime.UTC)
        say(lines.Ticked(tick=Tick(step=step, total_steps=STEPS, at=at, metrics={"loss": 1.0})))
        say(lines.CheckpointStored(step=step, total_steps=STEPS, checkpoint=digest))
    names = ("adapter", "adapter_config", "dataset", "manifest", "base", "template", "recipe")
    about: dict[str, str] = dict.fromkeys(names, digest)
    result = lines.Succeeded(
        **about, entries=(), steps=STEPS, training_tokens=1, seconds=whole_s, scores={"loss": 1.0}
    )
    say(result)
    orders.settled.wait()
    return result


@contextlib.contextmanager
def alone(spec: lines.Spec) -> Iterator[None]:
    """Hold the job's lock; tell if another process holds it."""
    folder = Path(os.environ[FOLDER])  # noqa: TID251 - a process's main
    with (folder / f"{spec.job_id}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with (folder / TWICE).open("a") as told:
                told.write(f"{spec.job_id}: attempt {spec.attempt} found another one running\n")
        yield


def idle() -> Run:
    return run


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), idle))
