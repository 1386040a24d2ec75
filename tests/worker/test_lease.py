import datetime

import pytest

from schemas import codec, events
from schemas.commands import RenewLease
from schemas.envelope import Envelope, Recorded
from schemas.errors import StaleReport
from trainer.worker.lease import (
    Action,
    Cancel,
    Confirm,
    Drop,
    GiveUp,
    Halt,
    JoinAgain,
    Prolong,
    Settle,
    Standing,
    Start,
    margin,
    observe,
)

WALL = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
ME = Standing(worker_id="w", incarnation="i1")
ABOUT = {"job_id": "j", "person_id": "p", "attempt": 1, "worker_id": "w", "fencing_token": 7}


def joined(worker: str = "w", incarnation: str = "i1") -> events.WorkerJoined:
    return events.WorkerJoined(worker_id=worker, incarnation=incarnation, host="h", device="cpu")


def granted(token: int = 7, incarnation: str = "i1", ttl_s: float = 720.0) -> events.LeaseGranted:
    about = ABOUT | {"fencing_token": token}
    return events.LeaseGranted(**about, incarnation=incarnation, ttl_s=ttl_s, reason="first")


class Worker:
    """Sees events one by one at a boot time that the test moves."""

    def __init__(self) -> None:
        self.standing = ME
        self.now = 1_000.0
        self.renewals: dict[str, float] = {}

    def sees(
        self, event: events.Event, *, age_s: float = 0.0, command: str | None = None
    ) -> list[Action]:
        envelope = Envelope(
            id="e",
            type=codec.type_of(event),
            source="s",
            time=WALL - datetime.timedelta(seconds=age_s),
            command=command,
        )
        recorded = Recorded("jobs.events", 0, 0, WALL, envelope, event)
        self.standing, actions = observe(
            self.standing, recorded, now=self.now, wall=WALL, renewals=self.renewals
        )
        return actions


@pytest.fixture
def worker() -> Worker:
    found = Worker()
    found.sees(joined())
    return found


@pytest.fixture
def busy(worker: Worker) -> Worker:
    worker.sees(granted())
    return worker


def test_a_grant_to_this_incarnation_starts_the_attempt(worker: Worker):
    (start,) = worker.sees(granted())

    assert isinstance(start, Start)
    assert start.held.ends == 1_000 + 720 - 30


@pytest.mark.parametrize("event", [granted(incarnation="i0"), joined("other", "x")])
def test_what_is_about_others_changes_nothing(worker: Worker, event: events.Event):
    assert worker.sees(event) == []


def test_a_grant_that_is_read_late_ends_as_much_earlier(worker: Worker):
    (start,) = worker.sees(granted(), age_s=300)

    assert isinstance(start, Start)
    assert start.held.ends == 1_000 + 720 - 30 - 300


def test_a_grant_that_is_read_after_its_end_starts_nothing(worker: Worker):
    assert [Drop()] == worker.sees(granted(), age_s=700)
    assert worker.standing.held is None


def test_a_clock_that_is_behind_does_not_lengthen_a_lease(worker: Worker):
    (start,) = worker.sees(granted(), age_s=-500)

    assert isinstance(start, Start)
    assert start.held.ends == 1_000 + 720 - 30


def test_a_renewal_counts_from_when_it_was_sent(busy: Worker):
    busy.renewals["r1"] = 1_060.0
    busy.now = 1_069.0

    assert [Prolong(ends=1_060 + 720 - 30)] == busy.sees(
        events.LeaseRenewed(**ABOUT, ttl_s=720.0), command="r1"
    )


def test_renewals_that_come_back_out_of_order_never_shorten_a_lease(busy: Worker):
    busy.renewals |= {"r1": 1_060.0, "r2": 1_120.0}
    busy.sees(events.LeaseRenewed(**ABOUT, ttl_s=720.0), command="r2")

    (prolong,) = busy.sees(events.LeaseRenewed(**ABOUT, ttl_s=720.0), command="r1")

    assert Prolong(ends=1_120 + 720 - 30) == prolong


def test_a_renewal_of_another_attempt_changes_nothing(busy: Worker):
    busy.renewals["r1"] = 1_060.0
    event = events.LeaseRenewed(**ABOUT | {"fencing_token": 6}, ttl_s=720.0)

    assert busy.sees(event, command="r1") == []


def test_a_refused_renewal_voids_the_lease(busy: Worker):
    busy.renewals["r1"] = 1_060.0
    refused = events.CommandRejected(
        kind=RenewLease.TYPE, code=StaleReport.code, detail="", subject="j"
    )

    assert busy.sees(refused, command="of another worker") == []
    assert [Drop()] == busy.sees(refused, command="r1")
    assert busy.standing.held is None


def test_a_cancelled_job_is_stopped(busy: Worker):
    event = events.JobCancelRequested(job_id="j", person_id="p", reason="")

    assert [Cancel()] == busy.sees(event)
    assert busy.standing.held.cancelling


def test_an_attempt_that_is_to_make_room_is_stopped_well_within_the_grace(busy: Worker):
    asked = events.AttemptStopRequested(**ABOUT, stop="preempted", grace_s=120.0)

    assert [Halt(why="preempted", within_s=105.0)] == busy.sees(asked)
    assert busy.standing.held is not None  # its lease holds until the report


def test_a_wrong_clock_does_not_shorten_the_grace(busy: Worker):
    asked = events.AttemptStopRequested(**ABOUT, stop="paused", grace_s=120.0)

    assert [Halt(why="paused", within_s=105.0)] == busy.sees(asked, age_s=3_600)


def test_a_stop_of_another_attempt_stops_nothing(busy: Worker):
    earlier = ABOUT | {"fencing_token": 6}

    assert busy.sees(events.AttemptStopRequested(**earlier, stop="paused", grace_s=120.0)) == []


@pytest.mark.parametrize(
    ("event", "action"),
    [
        (events.AttemptEnded(**ABOUT, outcome="lease-expired"), Drop()),
        (
            events.CheckpointNoted(**ABOUT, step=5, total_steps=9, checkpoint="c" * 64),
            Confirm(checkpoint="c" * 64),
        ),
        (
            events.JobSucceeded(
                **ABOUT,
                version_id="v",
                **dict.fromkeys(
                    ("adapter", "adapter_config", "dataset", "manifest", "base", "template"),
                    "a" * 64,
                ),
                recipe="b" * 64,
            ),
            Settle(),
        ),
    ],
)
def test_what_the_log_has_of_the_attempt_reaches_the_child(
    busy: Worker, event: events.Event, action: Action
):
    assert [action] == busy.sees(event)


def test_an_attempt_that_was_granted_anew_voids_the_one_before(busy: Worker):
    (start,) = busy.sees(granted(token=8))

    assert isinstance(start, Start)
    assert busy.sees(events.AttemptEnded(**ABOUT, outcome="failed")) == []
    assert busy.standing.held.grant.fencing_token == 8


def test_a_worker_that_was_declared_lost_joins_again(busy: Worker):
    lost = events.WorkerLost(worker_id="w", incarnation="i1", reason="")

    assert [Drop(), JoinAgain()] == busy.sees(lost)


def test_a_second_process_under_the_same_id_ends_the_first(busy: Worker):
    assert [Drop(), GiveUp()] == busy.sees(joined(incarnation="i2"))


def test_incarnations_from_before_the_join_are_of_no_concern():
    assert Worker().sees(joined(incarnation="i0")) == []


@pytest.mark.parametrize(("ttl_s", "expected"), [(720.0, 30.0), (80.0, 10.0), (4.0, 0.5)])
def test_the_margin_is_a_share_of_short_leases(ttl_s: float, expected: float):
    assert expected == margin(ttl_s)


def test_a_lease_outlives_an_outage_of_ten_minutes():
    """Renewed at worst a minute before the outage, and answered 10 s after its end."""
    assert 720 - margin(720) > 60 + 600 + 10
