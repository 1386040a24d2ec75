import signal

import pytest

from schemas.errors import (
    ArtifactCorrupt,
    DatabaseUnavailable,
    KeyDestroyed,
    NotEnoughData,
    OutOfMemory,
)
from trainer.worker import diagnosis

SECRET = "my secret memory"


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "cause", "code", "retryable"),
    [
        (NotEnoughData("few"), "bad-data", "not-enough-data", False),
        (OutOfMemory(), "out-of-memory", "out-of-memory", True),
        (KeyDestroyed(), "bad-data", "key-destroyed", True),
        (ArtifactCorrupt(), "infrastructure", "artifact-corrupt", True),
        (DatabaseUnavailable(), "infrastructure", "database-unavailable", True),
        (MemoryError(), "out-of-memory", "out-of-memory", True),
        (ValueError(SECRET), "infrastructure", "child-died", True),
    ],
)
def test_an_error_has_its_cause_and_code(
    error: Exception, cause: str, code: str, *, retryable: bool
):
    found = diagnosis.of_error(raised(error))

    assert (cause, code, retryable) == (found.cause, found.code, found.retryable)


def test_a_foreign_error_is_named_by_its_place_never_by_its_words():
    found = diagnosis.of_error(raised(ValueError(SECRET)))

    assert SECRET not in found.detail
    assert "ValueError at worker/test_diagnosis.py:" in found.detail


@pytest.mark.parametrize(
    ("code", "tail", "killed", "expected"),
    [
        (-signal.SIGKILL, b"", False, "child-died"),
        (-signal.SIGKILL, b"", True, "out-of-memory"),
        (-signal.SIGSEGV, b"", True, "child-died"),
        (1, b"RuntimeError: DefaultCPUAllocator: can't allocate memory", False, "out-of-memory"),
        (1, b"torch.OutOfMemoryError: CUDA out of memory.", False, "out-of-memory"),
        (1, SECRET.encode(), False, "child-died"),
    ],
)
def test_a_silent_end_is_told_by_its_signs(code: int, tail: bytes, expected: str, *, killed: bool):
    found = diagnosis.of_exit(code, tail, oom_killed=killed)

    assert expected == found.code
    assert SECRET not in found.detail
