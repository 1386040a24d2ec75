"""The product with one rule taken out, in a copy of its own: a suite that stays green is no proof."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("schemas", "streams", "projections", "vault", "trainer", "web", "lifelog", "tests")
NEVER = shutil.ignore_patterns("__pycache__", "static", "node_modules", "fakes")
FAILED, PASSED = 1, 0  # of pytest
WITHIN_S = 300


@dataclass(frozen=True)
class Change:
    """One place of the product's code as it stands, and as the mutant has it."""

    file: str
    code: str
    instead: str

    def apply(self, copy: Path) -> None:
        """Change the copy.

        Raises:
            AssertionError: If the code does not stand there exactly once: the mutant is out of date.
        """
        path = copy / self.file
        text = path.read_text()
        assert text.count(self.code) == 1, f"{self.file} has {text.count(self.code)} of {self.code}"
        path.write_text(text.replace(self.code, self.instead))


@dataclass(frozen=True)
class Mutant:
    """What is taken out, and the test that must see it."""

    changes: tuple[Change, ...]
    test: str
    told: str  # by the test that fails: it must be for this reason


class Copy:
    """A copy of the product and its tests, which may be changed."""

    def __init__(self, folder: Path, kafka: str) -> None:
        self.folder = folder
        for name in COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=NEVER)
        shutil.copy(ROOT / "pyproject.toml", folder)
        self._environ = os.environ | {  # noqa: TID251 - as a shell does
            "PYTHONPATH": str(folder),
            "LIFELOG_TEST_SERVERS": "env",
            "LIFELOG_TEST_KAFKA": kafka,
            "LIFELOG_TEST_PROFILE": "",
        }
        found = self._run("-c", "import streams; print(streams.__file__)").stdout
        assert found.startswith(str(folder)), f"the tree itself would be tested: {found}"

    def test(self, test: str) -> tuple[int, str]:
        """Run one test on the copy; pytest's exit status, and what it told."""
        options = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--color=no")
        done = self._run(*options, test)
        return done.returncode, done.stdout + done.stderr

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            env=self._environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )


BARRIERS = "tests/streams/test_decider_barriers.py::"
DECIDER, OWNER, APP = "streams/decider.py", "streams/owner.py", "streams/app.py"
REPORTS = "streams/queue/answers/reports.py"

ACKNOWLEDGED_FIRST = Change(
    DECIDER,
    """            for partition, commands in by_partition.items():
                await (await self._owner(partition)).answer(commands)
            for event in batch:
                event.ack()
""",
    """            for event in batch:
                event.ack()
            for partition, commands in by_partition.items():
                await (await self._owner(partition)).answer(commands)
""",
)
# What was acknowledged and not answered is read from the log: at a gap, and by the sweep.
NO_GAPS = Change(OWNER, "if stretch[0].offset > self.next:", "if False:")
NO_SWEEP = Change(DECIDER, "if owner.next < end:", "if False:")

MUTANTS = {
    "concurrency 8": Mutant(
        (Change(APP, "concurrency=1)(hand_on)", "concurrency=8)(hand_on)"),),
        BARRIERS + "test_commands_that_take_their_time_are_answered_in_order",
        "commands came out of order, and the decider has ended",
    ),
    "no fencing": Mutant(
        (
            Change(
                OWNER,
                'transactional_id=f"{self._log.prefix}{self._decider.name}-{self._partition}"',
                "transactional_id=f\"{self._log.prefix}{__import__('uuid').uuid4()}\"",
            ),
        ),
        BARRIERS + "test_a_decider_that_wakes_at_its_commit_is_fenced",
        "an event stands twice on the log",
    ),
    "acknowledged before the commit, and trusted": Mutant(
        (ACKNOWLEDGED_FIRST, NO_GAPS, NO_SWEEP),
        BARRIERS + "test_a_decider_that_is_killed_at_its_commit_answers_once[killed-before-commit]",
        "a command was never answered",
    ),
    "the token ignored": Mutant(
        (
            Change(
                REPORTS,
                "if quoted != (lease.attempt, lease.worker_id, lease.token):",
                "if quoted[:2] != (lease.attempt, lease.worker_id):",
            ),
        ),
        "tests/streams/test_queue.py::test_a_stale_report_changes_nothing",
        "stale-report",
    ),
}
