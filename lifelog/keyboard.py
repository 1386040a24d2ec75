"""Single keys from a terminal, without Enter."""

import select
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

LOOK_EVERY_S = 0.2


@contextmanager
def pressed(actions: Mapping[str, Callable[[], None]]) -> Iterator[None]:
    """While the block lasts, act on the keys that are pressed. Does nothing without a terminal."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    over = threading.Event()
    thread = threading.Thread(target=_listen, args=(actions, over), name="keyboard")
    tty.setcbreak(sys.stdin)  # Ctrl-C stays a signal
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _listen(actions: Mapping[str, Callable[[], None]], over: threading.Event) -> None:
    while not over.is_set():
        ready, _, _ = select.select([sys.stdin], [], [], LOOK_EVERY_S)
        if ready:
            act = actions.get(sys.stdin.read(1).lower())
            if act is not None:
                act()
