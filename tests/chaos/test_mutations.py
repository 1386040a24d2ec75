"""Each rule that keeps the history whole is taken out of a copy: the tests must see it, surely.

The tests that are run are the suite's own; nothing in them is left to chance, for the deciders stop
at barriers. Here one copy of each mutant fails; at full size the copy as it is must pass them, too.
"""

from pathlib import Path

import pytest

from tests.chaos.mutants import ACKNOWLEDGED_FIRST, FAILED, MUTANTS, PASSED, Copy

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("name", MUTANTS)
def test_without_the_rule_the_suite_is_red(name: str, kafka: str, tmp_path: Path) -> None:
    mutant, copy = MUTANTS[name], Copy(tmp_path / "copy", kafka)
    for change in mutant.changes:
        change.apply(copy.folder)

    status, told = copy.test(mutant.test)

    assert status == FAILED, told
    assert mutant.told in told, told


@pytest.mark.full
@pytest.mark.parametrize("name", MUTANTS)
def test_with_the_rule_the_same_test_is_green(name: str, kafka: str, tmp_path: Path) -> None:
    status, told = Copy(tmp_path / "copy", kafka).test(MUTANTS[name].test)

    assert status == PASSED, told


@pytest.mark.full
def test_an_early_acknowledgement_alone_loses_nothing(kafka: str, tmp_path: Path) -> None:
    """Nothing rests on what Faust has acknowledged: the history tells how far commands are answered."""
    copy = Copy(tmp_path / "copy", kafka)
    ACKNOWLEDGED_FIRST.apply(copy.folder)

    for mutant in MUTANTS.values():
        if "barriers" in mutant.test:
            status, told = copy.test(mutant.test)
            assert status == PASSED, told
