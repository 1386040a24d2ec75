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
    Renewal,
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


def granted(
    token: int = 7, incarnation: str = "i1", ttl_s: float = 720.0, job: str = "j"
) -> events.LeaseGranted:
    about = ABOUT | {"fencing_token": token, "job_id": job}
    return events.LeaseGranted(**about, incarnation=incarnation, ttl_s=ttl_s, reason="first")


class Worker:
    """Sees events one by one at a boot time that the test moves."""

    def __init__(self) -> None:
        self.standing = ME
        self.now = 1_000.0
        self.renewals: dict[str, Renewal] = {}

    def renewed(self, name: str, sent: float, token: int = 7, job: str = "j") -> None:
        self.renewals[name] = Renewal(job_id=job, fencing_token=token, sent=sent)

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
    assert [Drop(job_id="j")] == worker.sees(granted(), age_s=700)
    assert worker.standing.held == {}


def test_a_clock_that_is_behind_does_not_lengthen_a_lease(worker: Worker):
    (start,) = worker.sees(granted(), age_s=-500)

    assert isinstance(start, Start)
    assert start.held.ends == 1_000 + 720 - 30


def test_a_renewal_counts_from_when_it_was_sent(busy: Worker):
    busy.renewed("r1", 1_060.0)
    busy.now = 1_069.0

    assert [Prolong(job_id="j", ends=1_060 + 720 - 30)] == busy.sees(
        events.LeaseRenewed(**ABOUT, ttl_s=720.0), command="r1"
    )


def test_renewals_that_come_back_out_of_order_never_shorten_a_lease(busy: Worker):
    busy.renewed("r1", 1_060.0)
    busy.renewed("r2", 1_120.0)
    busy.sees(events.LeaseRenewed(**ABOUT, ttl_s=720.0), command="r2")

    (prolong,) = busy.sees(events.LeaseRenewed(**ABOUT, ttl_s=720.0), command="r1")

    assert Prolong(job_id="j", ends=1_120 + 720 - 30) == prolong


def test_a_renewal_of_another_attempt_changes_nothing(busy: Worker):
    busy.renewed("r1", 1_060.0)
    event = events.LeaseRenewed(**ABOUT | {"fencing_token": 6}, ttl_s=720.0)

    assert busy.sees(event, command="r1") == []


def test_a_refused_renewal_voids_the_lease(busy: Worker):
    busy.renewed("r1", 1_060.0)
    refused = events.CommandRejected(
        kind=RenewLease.TYPE, code=StaleReport.code, detail="", subject="j"
    )

    assert busy.sees(refused, command="of another worker") == []
    assert [Drop(job_id="j")] == busy.sees(refused, command="r1")
    assert busy.standing.held == {}


def test_a_cancelled_job_is_stopped(busy: Worker):
    event = events.JobCancelRequested(job_id="j", person_id="p", reason="")

    assert [Cancel(job_id="j")] == busy.sees(event)
    assert busy.standing.held["j"].cancelling


def test_an_attempt_that_is_to_make_room_is_stopped_well_within_the_grace(busy: Worker):
    asked = events.AttemptStopRequested(**ABOUT, stop="preempted", grace_s=120.0)

    assert [Halt(job_id="j", why="preempted", within_s=105.0)] == busy.sees(asked)
    assert "j" in busy.standing.held  # its lease holds until the report


def test_a_wrong_clock_does_not_shorten_the_grace(busy: Worker):
    asked = events.AttemptStopRequested(**ABOUT, stop="paused", grace_s=120.0)

    assert [Halt(job_id="j", why="paused", within_s=105.0)] == busy.sees(asked, age_s=3_600)


def test_a_stop_of_another_attempt_stops_nothing(busy: Worker):
    earlier = ABOUT | {"fencing_token": 6}

    assert busy.sees(events.AttemptStopRequested(**earlier, stop="paused", grace_s=120.0)) == []


@pytest.mark.parametrize(
    ("event", "action"),
    [
        (events.AttemptEnded(**ABOUT, outcome="lease-expired"), Drop(job_id="j")),
        (
            events.CheckpointNoted(**ABOUT, step=5, total_steps=9, checkpoint="c" * 64),
            Confirm(job_id="j", checkpoint="c" * 64),
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
            Settle(job_id="j"),
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
    assert busy.standing.held["j"].grant.fencing_token == 8


@pytest.fixture
def busier(busy: Worker) -> Worker:
    busy.sees(granted(token=8, job="k"))
    return busy


def test_a_second_job_is_started_beside_the_first(busy: Worker):
    (start,) = busy.sees(granted(token=8, job="k"))

    assert isinstance(start, Start)
    assert start.held.grant.job_id == "k"
    assert set(busy.standing.held) == {"j", "k"}


@pytest.mark.parametrize(
    ("event", "action"),
    [
        (events.AttemptEnded(**ABOUT, outcome="failed"), Drop(job_id="j")),
        (
            events.JobCancelRequested(job_id="j", person_id="p", reason=""),
            Cancel(job_id="j"),
        ),
        (
            events.AttemptStopRequested(**ABOUT, stop="paused", grace_s=120.0),
            Halt(job_id="j", why="paused", within_s=105.0),
        ),
    ],
)
def test_what_becomes_of_one_job_touches_no_other(
    busier: Worker, event: events.Event, action: Action
):
    before = busier.standing.held["k"]

    assert busier.sees(event) == [action]
    assert busier.standing.held["k"] is before


def test_each_renewal_prolongs_its_own_lease(busier: Worker):
    busier.renewed("r1", 1_060.0)
    busier.renewed("r2", 1_070.0, token=8, job="k")
    other = ABOUT | {"fencing_token": 8, "job_id": "k"}

    (prolong,) = busier.sees(events.LeaseRenewed(**other, ttl_s=720.0), command="r2")

    assert prolong == Prolong(job_id="k", ends=1_070 + 720 - 30)
    assert busier.standing.held["j"].ends == 1_000 + 720 - 30


def test_a_refused_renewal_voids_its_own_lease_alone(busier: Worker):
    busier.renewed("r2", 1_070.0, token=8, job="k")
    refused = events.CommandRejected(
        kind=RenewLease.TYPE, code=StaleReport.code, detail="", subject="k"
    )

    assert busier.sees(refused, command="r2") == [Drop(job_id="k")]
    assert set(busier.standing.held) == {"j"}


def test_a_refused_renewal_of_an_earlier_attempt_leaves_the_present_one(busy: Worker):
    busy.renewed("r1", 1_060.0)
    busy.sees(granted(token=8))
    refused = events.CommandRejected(
        kind=RenewLease.TYPE, code=StaleReport.code, detail="", subject="j"
    )

    assert busy.sees(refused, command="r1") == []
    assert busy.standing.held["j"].grant.fencing_token == 8


def test_a_worker_that_was_declared_lost_drops_all_that_it_holds(busier: Worker):
    lost = events.WorkerLost(worker_id="w", incarnation="i1", reason="")

    assert busier.sees(lost) == [Drop(job_id="j"), Drop(job_id="k"), JoinAgain()]
    assert busier.standing.held == {}


def test_joining_again_as_itself_drops_nothing(busier: Worker):
    assert busier.sees(joined()) == []
    assert set(busier.standing.held) == {"j", "k"}


def test_a_worker_that_was_declared_lost_joins_again(busy: Worker):
    lost = events.WorkerLost(worker_id="w", incarnation="i1", reason="")

    assert [Drop(job_id="j"), JoinAgain()] == busy.sees(lost)


def test_a_second_process_under_the_same_id_ends_the_first(busy: Worker):
    assert [Drop(job_id="j"), GiveUp()] == busy.sees(joined(incarnation="i2"))


def test_incarnations_from_before_the_join_are_of_no_concern():
    assert Worker().sees(joined(incarnation="i0")) == []


@pytest.mark.parametrize(("ttl_s", "expected"), [(720.0, 30.0), (80.0, 10.0), (4.0, 0.5)])
def test_the_margin_is_a_share_of_short_leases(ttl_s: float, expected: float):
    assert expected == margin(ttl_s)


def test_a_lease_outlives_an_outage_of_ten_minutes():
    """Renewed at worst a minute before the outage, and answered 10 s after its end."""
    assert 720 - margin(720) > 60 + 600 + 10
