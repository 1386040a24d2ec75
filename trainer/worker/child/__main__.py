"""The child process: `python -m trainer.worker.child PARENT`. One attempt, then it ends.

It dies with its parent: the kernel kills it, and where there is no such kernel the end of its pipe
does. What libraries print goes to standard error, which the worker searches and never keeps.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from trainer.worker import diagnosis, lines
from trainer.worker.child.orders import Orders
from trainer.worker.child.peak import measured
from trainer.worker.child.voice import Voice

PR_SET_PDEATHSIG = 1
NICENESS = 5  # whoever waits for an answer of the chat goes first
FIRST_TO_GO = "500"  # of /proc/self/oom_score_adj: rather the child than the worker


Say = Callable[[lines.Line], None]
Run = Callable[[lines.Spec, Say, Orders], lines.Line]


def training() -> Run:
    """What an attempt is: its libraries take seconds, and what they raise becomes the report."""
    from trainer.worker.child.steps import run

    return run


def main(parent: int, work: Callable[[], Run] = training) -> int:
    """Run the attempt that the first line of standard input describes; the exit code.

    Args:
        parent: The worker's process id.
        work: Gives what is run.
    """
    _die_with(parent)
    _be_modest()
    said = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not break the lines
    spec = lines.read_spec(sys.stdin.buffer.readline())
    orders = Orders(sys.stdin.buffer, spec.until)
    voice = Voice(said)
    say = measured(voice.say)
    try:
        result = work()(spec, say, orders)
    except Exception as error:  # noqa: BLE001 - the outermost frame: it becomes the report
        result = diagnosis.of_error(error)
        say(result)
    voice.finish()
    return 0 if not isinstance(result, lines.Failed) else 1


def _die_with(parent: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # elsewhere the pipe's end tells
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked to be told
        raise SystemExit("the parent process has ended")


def _be_modest() -> None:
    """Leave no memory image on a disk, and give way to processes that people wait for."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
