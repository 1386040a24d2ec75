"""The worker's own process, but for the module that its children run."""

import logging
import os

from lifelog.processes import LINE
from schemas.settings import read
from trainer.worker.main import main

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format=LINE)
    main(read(os.environ), child="tests.chaos.idle_child")  # noqa: TID251 - a process's main
