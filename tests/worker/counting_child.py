"""A child that counts and trains nothing: `python -m tests.worker.counting_child PARENT`.

What it does with its numbers is the real child's. It stops when it is told to; a job of one epoch
fails after its steps.
"""

import datetime
import sys

from projections.database import open_database
from schemas.telemetry import Tick
from trainer.worker import lines
from trainer.worker.child.__main__ import Run as Work
from trainer.worker.child.__main__ import Say, main
from trainer.worker.child.orders import Orders
from trainer.worker.child.steps import Run

STEPS = 30


def run(spec: lines.Spec, say: Say, orders: Orders) -> lines.Line:
    """Count, then fail or wait to be stopped."""
    with open_database(spec.database) as database:
        shared = Run(spec, say, orders, database)
        say(lines.Started(device="cpu", resumed_from_step=0))
        for step in range(1, STEPS + 1):
            at = datetime.datetime.now(datetime.UTC)
            tick = Tick(step=step, total_steps=STEPS, at=at, metrics={"loss": 4 - step / 10})
            shared.points.add(tick)
            say(lines.Ticked(tick=tick))
        if spec.recipe["epochs"] == 1:
            shared.archive()
            raise RuntimeError("counted too far")
        orders.stopped.wait()
        shared.archive()
        stopped = lines.Stopped(step=STEPS)
        say(stopped)
        return stopped


def counting() -> Work:
    return run


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), counting))
