"""What a decision writes while ten thousand jobs wait."""

from schemas import codec
from schemas.events import JobSubmitted, LeaseGranted
from tests.streams.queue_words import failed, join, queue, submit

RECIPE = {f"setting_{number}": 0.123456789 for number in range(12)}
REQUESTED = {"training": {f"setting_{number}": 0.123456789 for number in range(20)}}


def written(story) -> int:
    """Bytes of the last decision's records, headers and values."""
    envelopes = [envelope for _, envelope in story.history[-len(story.said) :]]
    headers = sum(
        len(name) + len(value)
        for envelope in envelopes
        for name, value in codec.encode_headers(envelope)
    )
    return headers + sum(len(codec.encode(event)) for event in story.said)


def test_a_decision_writes_under_4_kb_however_many_jobs_wait():
    story = queue()
    for number in range(10_000):
        story.when(submit(f"job-{number:032}", recipe=RECIPE, memory_bytes=10))
    lease = story.when(join(slots=1)).one(LeaseGranted)
    assert written(story) < 4_096
    story.when(failed(lease, detail="x" * 500))
    assert isinstance(story.said[-1], LeaseGranted)
    assert written(story) < 4_096


def test_a_submission_that_is_leased_at_once_writes_under_4_kb():
    story = queue().given(join())
    story.when(submit("j" * 36, recipe=RECIPE, requested=REQUESTED), body_hash="h" * 64)
    story.then_kinds(JobSubmitted, LeaseGranted)
    assert written(story) < 4_096
