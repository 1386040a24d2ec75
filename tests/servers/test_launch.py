"""Children of ours: how they start, fail, stop, and die with their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lifelog.servers import launch
from lifelog.servers.launch import Launch
from schemas.errors import ServerFailed

PARENT = """
import sys
from pathlib import Path
from lifelog.servers.launch import Launch, Running
here = Path(sys.argv[1])
child = Launch(name="A child", argv=("/bin/sleep", "60"), cwd=here, log=here / "log", ready=lambda: True)
print(Running(child).pid, flush=True)
sys.stdin.read()
"""


def shell(script: str, here: Path, ready: bool = True) -> Launch:
    return Launch(
        name="The shell",
        argv=("/bin/sh", "-c", script),
        cwd=here,
        log=here / "log",
        ready=lambda: ready,
    )


def ended(pid: int, within_s: float = 5) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_a_child_dies_with_its_parent_even_when_that_is_killed(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert psutil.Process(child).is_running()
        parent.kill()
    assert ended(child)


def test_a_server_that_ends_before_it_is_ready_shows_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed) as failed:
        launch.start(shell("echo disk is full; exit 3", tmp_path, ready=False), deadline_s=10)
    assert "The shell ended with code 3" in str(failed.value)
    assert "disk is full" in str(failed.value)


def test_a_server_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=r"not ready within 0 s") as failed:
        launch.start(shell("echo $$; exec sleep 60", tmp_path, ready=False), deadline_s=0.3)
    assert ended(int(str(failed.value).splitlines()[-1]))


def test_a_server_that_ignores_the_request_to_end_is_killed_with_its_children(
    tmp_path: Path,
) -> None:
    script = "trap '' TERM; sleep 60 & echo $!; wait; wait"
    running = launch.start(shell(script, tmp_path), deadline_s=5)
    while not (tmp_path / "log").read_text():
        time.sleep(0.02)
    before = time.monotonic()
    assert running.stop(grace_s=0.3) == -signal.SIGKILL
    assert time.monotonic() - before < 3
    assert not running.alive
    assert ended(int((tmp_path / "log").read_text()))


def test_a_child_gets_only_the_environment_that_it_was_given(tmp_path: Path) -> None:
    child = Launch(
        name="env",
        argv=("/usr/bin/env",),
        env={"GIVEN": "yes"},
        cwd=tmp_path,
        log=tmp_path / "log",
        ready=lambda: "GIVEN" in (tmp_path / "log").read_text(),
    )
    launch.start(child, deadline_s=5).stop(grace_s=5)
    assert [line for line in (tmp_path / "log").read_text().split() if "PATH" in line] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave root's account")
def test_root_runs_a_server_as_nobody_who_may_still_pass_private_folders(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "file").write_text("seen")
    log = tmp_path / "log"
    script = f"id -un; cat '{private}/file'; touch '{private}/new' 2>&1"
    with pytest.raises(ServerFailed):
        launch.run_to_end("sh", ("/bin/sh", "-c", script), cwd=tmp_path, log=log, account="nobody")
    assert log.read_text().startswith("nobody\nseen")
    assert not (private / "new").exists()
