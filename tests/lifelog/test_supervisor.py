"""The supervisor, with real processes."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from lifelog.servers.launch import Launch
from lifelog.supervisor import BACKOFF_S, Service, Step, Supervisor
from schemas.errors import LogUnavailable, PortInUse, ServerFailed

SLEEP = "import time; time.sleep(600)"


def _service(name: str, folder: Path, program: str = SLEEP, **rest: object) -> Service:
    ready = folder / f"{name}.ready"

    def prepare() -> Launch:
        return Launch(
            name=name,
            argv=(sys.executable, "-c", f"open({str(ready)!r}, 'a').write('x'); {program}"),
            cwd=folder,
            log=folder / f"{name}.log",
            ready=ready.exists,
        )

    return Service(name=name, prepare=prepare, **rest)  # type: ignore[arg-type]


@contextmanager
def _running(supervisor: Supervisor) -> Iterator[None]:
    thread = threading.Thread(target=_swallow, args=(supervisor,))
    thread.start()
    try:
        yield
    finally:
        supervisor.stop()
        thread.join(20)
        assert not thread.is_alive()


def _swallow(supervisor: Supervisor) -> None:
    try:
        supervisor.run()
    except (ServerFailed, PortInUse, LogUnavailable):
        return


def _until(holds: Callable[[], bool], within_s: float = 15) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_parts_start_after_those_they_need_and_stop_before_them(tmp_path: Path) -> None:
    seen: list[str] = []
    step = Step(name="step", act=lambda: seen.append("step"), after=("one",))
    supervisor = Supervisor(
        [_service("two", tmp_path, after=("step",)), step, _service("one", tmp_path)]
    )
    with _running(supervisor):
        supervisor.await_ready(15)
        pids = [one.pid for one in supervisor.health() if one.pid]

        assert seen == ["step"]
        assert (tmp_path / "one.ready").stat().st_mtime <= (tmp_path / "two.ready").stat().st_mtime
        assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert {one.state for one in supervisor.health()} == {"done", "stopped"}


def test_a_killed_process_is_started_again(tmp_path: Path) -> None:
    supervisor = Supervisor([_service("one", tmp_path)])
    with _running(supervisor):
        supervisor.await_ready(15)
        before = supervisor.kill("one")
        _until(
            lambda: supervisor.health()[0].restarts == 1 and supervisor.health()[0].pid is not None
        )

        assert before != supervisor.health()[0].pid
        _until(lambda: supervisor.health()[0].state == "ready")


def test_what_ran_for_a_while_is_started_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lifelog.supervisor.STEADY_S", 1.0)
    supervisor = Supervisor([_service("one", tmp_path)])

    def waited() -> float:
        """Seconds from a kill to the next process."""
        supervisor.kill("one")
        began, restarts = time.monotonic(), supervisor.health()[0].restarts
        _until(lambda: supervisor.health()[0].restarts > restarts)
        _until(lambda: supervisor.health()[0].pid is not None)
        return time.monotonic() - began

    with _running(supervisor):
        supervisor.await_ready(15)
        in_turn = [waited() for _ in range(3)]
        _until(lambda: supervisor.health()[0].state == "ready")
        time.sleep(1.5)
        after = waited()

    assert in_turn[2] > BACKOFF_S[2]
    assert after < BACKOFF_S[1] + 0.5


def test_a_process_that_never_comes_up_stops_the_stack_and_is_named(tmp_path: Path) -> None:
    bad = Service(
        name="bad",
        prepare=lambda: Launch(
            name="bad",
            argv=(sys.executable, "-c", "raise SystemExit(7)"),
            cwd=tmp_path,
            log=tmp_path / "bad.log",
            ready=lambda: False,
        ),
    )
    supervisor = Supervisor([_service("good", tmp_path), bad])
    told = r"bad ended with code 7: see .*bad\.log"
    with _running(supervisor), pytest.raises(ServerFailed, match=told):
        supervisor.await_ready(30)
    assert all(one.pid is None for one in supervisor.health())


def test_whoever_waits_later_is_told_that_the_stack_has_ended(tmp_path: Path) -> None:
    supervisor = Supervisor([_service("fine", tmp_path)])
    with _running(supervisor):
        supervisor.await_ready(10)
        supervisor.check()
    with pytest.raises(ServerFailed, match="has ended"):
        supervisor.check()


def test_a_fault_that_no_retry_mends_is_told_at_once(tmp_path: Path) -> None:
    def taken() -> Launch:
        raise PortInUse("port 1 is taken")

    supervisor = Supervisor([Service(name="web", prepare=taken)])
    with _running(supervisor), pytest.raises(PortInUse):
        supervisor.await_ready(10)


def test_a_step_waits_for_a_server_that_comes_up_late(tmp_path: Path) -> None:
    tries = 0

    def act() -> None:
        nonlocal tries
        tries += 1
        if tries <= 6:
            raise LogUnavailable("Kafka at elsewhere:9092 does not answer.")

    supervisor = Supervisor(
        [
            Step(name="setup", act=act, within_s=60),
            _service("one", tmp_path, after=("setup",)),
        ]
    )
    with _running(supervisor):
        _until(lambda: supervisor.health()[0].state == "restarting")
        told = supervisor.health()[0].detail
        supervisor.await_ready(30)

    assert told == "waits: Kafka at elsewhere:9092 does not answer."
    assert tries == 7


def test_a_step_whose_server_never_comes_up_ends_with_its_code(tmp_path: Path) -> None:
    def act() -> None:
        raise LogUnavailable("Kafka at elsewhere:9092 does not answer.")

    supervisor = Supervisor([Step(name="setup", act=act, within_s=2)])
    with _running(supervisor), pytest.raises(LogUnavailable, match="waited for: 2 s"):
        supervisor.await_ready(20)


def test_children_die_with_the_supervising_process(tmp_path: Path) -> None:
    import subprocess

    program = f"""
import sys, threading
sys.path.insert(0, {str(Path.cwd())!r})
from pathlib import Path
from tests.lifelog.test_supervisor import _service
from lifelog.supervisor import Supervisor
supervisor = Supervisor([_service("one", Path({str(tmp_path)!r}))])
supervisor.run(observe=lambda health: print(health[0].pid, flush=True))
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = next(int(line) for line in parent.stdout if line.strip().isdigit())
    parent.kill()
    parent.wait()
    parent.stdout.close()

    _until(lambda: not psutil.pid_exists(pid))
