"""Clock, monitor and process manager: what they say, and when."""

from typing import Any

from schemas.commands import NoteWorkerHeard, NoteWorkerSilent, RegisterVersion
from schemas.envelope import Envelope, Recorded
from schemas.events import Event, WorkerHeard, WorkerJoined, WorkerLeft, WorkerSilent
from schemas.telemetry import WorkerHeartbeat
from streams.clock import Deadline
from streams.monitor import Watch
from streams.process_manager import registration
from streams.queue.deadlines import next_deadline
from tests.streams.queue_words import advance, join, queue, submit, succeeded
from tests.streams.sentences import START, at


def record(data: Any, *, partition: int = 0) -> Recorded:
    envelope = Envelope(id="event-1", type=data.TYPE, source="/test", time=START)
    return Recorded("topic", partition, 0, START, envelope, data)


def joined(name: str = "w1", incarnation: str = "1") -> Recorded:
    return record(WorkerJoined(worker_id=name, incarnation=incarnation, host="box", device="cpu"))


def beat(name: str = "w1", incarnation: str = "1") -> Recorded:
    return record(WorkerHeartbeat(worker_id=name, incarnation=incarnation, pool="default"))


def watch(*seen: Recorded) -> Watch:
    watching = Watch(15.0)
    for one in seen:
        watching.see(one, 0.0)
    return watching


def silent(name: str = "w1") -> Event:
    return WorkerSilent(worker_id=name, incarnation="1", last_heard=START)


def test_a_deadline_is_announced_when_it_is_due_and_not_before():
    story = queue().given(join(), submit("a", timeout_s=100))
    deadline = Deadline()
    assert deadline.due(story.state, at(99)) is None
    assert deadline.due(story.state, at(100)) == at(100)


def test_a_deadline_is_announced_again_only_after_a_while():
    story = queue().given(join(), submit("a", timeout_s=100))
    deadline = Deadline()
    said = [second for second in range(100, 200) if deadline.due(story.state, at(second))]
    assert said == [100, 102, 106, 114, 130, 162]


def test_the_next_deadline_is_announced_at_once():
    story = queue().given(join(slots=2), submit("a", timeout_s=10))
    deadline = Deadline()
    assert deadline.due(story.state, at(10))
    story.after(10).given(advance(story), submit("b", timeout_s=0.1))
    assert deadline.due(story.state, at(10.2)) == at(10.1)


def test_nothing_is_due_on_an_empty_queue():
    assert Deadline().due(queue().state, at(10**6)) is None
    assert next_deadline(queue().given(submit("a"), join("w1", memory_bytes=0)).state) is not None


def test_a_worker_without_heartbeats_for_15_s_is_silent():
    watching = watch(joined())
    watching.see(beat(), 3.0)
    assert watching.notes(17.9) == []
    ((partition, note),) = watching.notes(18.0)
    assert partition == 0
    assert note == NoteWorkerSilent(worker_id="w1", incarnation="1", last_heard=START)


def test_a_silent_worker_is_noted_once_and_again_only_if_nothing_came_of_it():
    watching = watch(joined())
    assert len(watching.notes(15.0)) == 1
    assert watching.notes(44.0) == []
    assert len(watching.notes(45.0)) == 1
    watching.see(record(silent()), 46.0)
    assert watching.notes(500.0) == []


def test_a_silent_worker_that_beats_again_is_heard():
    watching = watch(joined(), record(silent()))
    assert watching.notes(1.0) == []
    watching.see(beat(), 100.0)
    assert watching.notes(100.0) == [(0, NoteWorkerHeard(worker_id="w1", incarnation="1"))]
    watching.see(record(WorkerHeard(worker_id="w1", incarnation="1")), 101.0)
    assert watching.notes(101.0) == []


def test_a_heartbeat_of_an_earlier_incarnation_counts_for_nothing():
    watching = watch(joined(), joined(incarnation="2"))
    watching.see(beat(incarnation="1"), 14.0)
    ((_, note),) = watching.notes(15.0)
    assert note.incarnation == "2"


def test_a_worker_that_left_is_not_watched():
    left = record(WorkerLeft(worker_id="w1", incarnation="1"))
    assert watch(joined(), left).notes(100.0) == []


def test_a_pause_of_the_monitors_own_is_nobodys_silence():
    watching = watch(joined())
    watching.look(1.0)
    watching.look(60.0)
    assert watching.notes(60.0) == []
    assert len(watching.notes(75.0)) == 1


def test_a_pause_does_not_make_a_silent_worker_heard():
    watching = watch(joined(), record(silent()))
    watching.look(1.0)
    watching.look(60.0)
    assert watching.notes(60.0) == []


def test_a_succeeded_job_is_registered_under_an_id_made_of_the_event():
    story = queue().given(join()).when(submit("a"))
    lease = story.said[-1]
    event, envelope = story.when(succeeded(lease)).history[-1]
    found = Recorded("jobs.events", 0, 9, at(1), envelope, event)
    identity, command = registration(found)
    assert isinstance(command, RegisterVersion)
    assert (command.version_id, command.person_id, command.job_id) == ("v-a", "ann", "a")
    assert registration(found)[0] == identity
    assert registration(joined()) is None
