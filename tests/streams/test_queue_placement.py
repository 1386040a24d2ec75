"""Where jobs go: bytes, GPUs, kinds, labels, disks, heat; and what no worker could hold."""

import pytest

from schemas import commands
from schemas.events import JobSubmitted, WorkerCooled, WorkerHot
from streams.queue.policy import Policy
from streams.queue.telling.position import waits_for
from tests.streams.queue_words import (
    configure,
    failed,
    gpu_worker,
    granted,
    grants,
    join,
    queue,
    submit,
    succeeded,
    wait_until,
)
from tests.streams.sentences import at

RECIPE = {"base": "b", "lora_rank": 16}


def test_several_jobs_share_a_gpu_while_their_bytes_fit():
    story = queue().given(gpu_worker("g", 24))
    for name in "abc":
        story.given(submit(name, memory_bytes=10))
    held = [lease.gpus for lease in (job.lease for job in story.state.jobs.values()) if lease]
    assert held == [(0,), (0,)]


def test_an_empty_gpu_is_taken_before_one_that_works():
    story = queue().given(gpu_worker("g", 24, 24), submit("a", memory_bytes=10))
    assert grants(story.when(submit("b", memory_bytes=10)))[0].gpus == (1,)


def test_the_tightest_gpu_is_taken_so_that_big_ones_stay_free():
    story = queue().given(gpu_worker("g", 80, 24)).when(submit("a", memory_bytes=10))
    assert grants(story)[0].gpus == (1,)


def test_a_job_gets_all_its_gpus_or_none():
    story = queue().given(gpu_worker("g", 24, 24), submit("one", memory_bytes=20, timeout_s=100))
    story.when(submit("two", memory_bytes=20, gpus=2)).then_kinds(JobSubmitted)
    lease = story.state.jobs["one"].lease
    again = {"job_id": "one", "attempt": 1, "worker_id": "g", "fencing_token": lease.token}
    story.when(commands.ReportStopped(**again, cancelled=False))
    assert story.state.jobs["two"].lease is None
    story.given(commands.CancelJob(job_id="one"))
    lease = story.state.jobs["one"].lease
    story.when(
        commands.ReportStopped(
            **again | {"attempt": 2, "fencing_token": lease.token}, cancelled=True
        )
    )
    assert grants(story)[0].gpus == (0, 1)


def test_gpus_of_one_job_are_on_one_worker():
    story = queue().given(gpu_worker("g", 24), gpu_worker("h", 24))
    story.when(submit("a", gpus=2, memory_bytes=1)).then_rejected("unsupported-config")


def test_a_job_goes_where_its_constraints_say():
    story = queue().given(
        join("c", slots=9),
        gpu_worker("a", gpu_kind="a100", labels=("berlin", "ecc")),
        gpu_worker("l", gpu_kind="l4", labels=("berlin",)),
    )
    wants = {
        "on-cpu": ({"device": "cpu"}, "c"),
        "on-a100": ({"gpu_kinds": ("a100", "h100")}, "a"),
        "with-ecc": ({"labels": ("ecc", "berlin")}, "a"),
        "on-l4": ({"device": "cuda", "gpu_kinds": ("l4",)}, "l"),
    }
    for name, (fields, worker) in wants.items():
        assert grants(story.when(submit(name, **fields)))[0].worker_id == worker
    assert story.state.jobs["on-cpu"].lease.gpus == ()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"memory_bytes": 25}, "at most 24 bytes"),
        ({"gpus": 3}, "2 GPUs on one worker"),
        ({"gpu_kinds": ("h100",)}, "there are l4"),
        ({"labels": ("moon",)}, "['berlin']"),
        ({"device": "cpu"}, "device cpu"),
        ({"kind": "publish"}, "kind publish"),
        ({"disk_bytes": 101}, "101 bytes of disk"),
    ],
)
def test_a_job_that_no_worker_could_hold_is_refused_and_told_what_would_fit(fields, says):
    worker = gpu_worker("g", 24, 24, gpu_kind="l4", labels=("berlin",), disk_bytes=100)
    story = queue().given(worker).when(submit("a", **fields))
    story.then_rejected("unsupported-config")
    assert says in story.said[0].detail


def test_with_no_worker_there_anything_is_taken_in():
    queue().when(submit("a", memory_bytes=10**15)).then_kinds(JobSubmitted)
    story = queue().given(join(), commands.LeavePool(worker_id="w1", incarnation="1"))
    story.when(submit("a", memory_bytes=10**15)).then_kinds(JobSubmitted)


def test_a_worker_that_does_more_kinds_of_job_says_so():
    story = queue().given(join(job_kinds=("dataset", "train", "validate")))
    assert granted(story.when(submit("a", kind="dataset"))) == ["a"]


def test_bytes_kept_for_inference_are_not_packed():
    story = queue().given(gpu_worker("g", 24, reserved_bytes=(8,)))
    story.when(submit("a", memory_bytes=17)).then_rejected("unsupported-config")
    assert granted(story.when(submit("b", memory_bytes=16))) == ["b"]


def test_the_limits_of_the_brief_hold():
    policy = Policy(max_concurrent_jobs=2, gpu_memory_bytes_max=24, disk_bytes_max=1_000)
    story = queue(policy).given(gpu_worker("g", 80))
    story.when(submit("big", memory_bytes=25)).then_rejected("unsupported-config")
    story.when(submit("wide", disk_bytes=1_001)).then_rejected("unsupported-config")
    story.given(submit("a"), submit("b"), submit("c"))
    assert len(story.state.leased) == 2


def test_disk_is_counted_while_a_job_runs():
    story = queue().given(gpu_worker("g", 24, disk_bytes=100), submit("a", disk_bytes=60))
    story.when(submit("b", disk_bytes=60)).then_kinds(JobSubmitted)
    assert granted(story.when(submit("c", disk_bytes=40, timeout_s=100))) == ["c"]


def test_a_hot_worker_is_given_nothing_until_it_has_cooled():
    story = queue().given(gpu_worker("g"))
    about = {"worker_id": "g", "incarnation": "1"}
    story.when(commands.NoteWorkerHot(**about, celsius=91.0)).then_kinds(WorkerHot)
    story.when(commands.NoteWorkerHot(**about, celsius=92.0)).then()
    story.when(submit("a")).then_kinds(JobSubmitted)
    story.when(commands.NoteWorkerCooled(**about, celsius=70.0))
    assert isinstance(story.said[0], WorkerCooled)
    assert granted(story) == ["a"]


def test_a_worker_that_is_heard_again_while_it_is_hot_stays_closed():
    story = queue().given(gpu_worker("g"))
    about = {"worker_id": "g", "incarnation": "1"}
    story.given(commands.NoteWorkerHot(**about, celsius=91.0))
    story.given(commands.NoteWorkerSilent(**about, last_heard=at(0)), submit("a"))
    assert not granted(story.when(commands.NoteWorkerHeard(**about)))


def test_jobs_are_packed_by_what_was_measured_once_it_was():
    story = queue().given(gpu_worker("g", 100))
    lease = grants(story.when(submit("a", memory_bytes=90, recipe=RECIPE)))[0]
    assert lease.memory_bytes == 90
    story.when(submit("b", memory_bytes=90, recipe=RECIPE)).then_kinds(JobSubmitted)
    story.given(submit("c", memory_bytes=90, recipe=RECIPE))
    story.given(submit("d", memory_bytes=90, recipe=RECIPE))
    second = grants(story.when(succeeded(lease, peak_bytes=40)))[0]
    assert (second.job_id, second.memory_bytes) == ("b", 90)  # it was decided before that was known
    story.when(succeeded(second, peak_bytes=30))
    assert [(one.job_id, one.memory_bytes) for one in grants(story)] == [("c", 42), ("d", 42)]


def test_a_peak_above_the_estimate_keeps_the_next_job_from_running_out_of_memory():
    story = queue().given(gpu_worker("g", 100))
    lease = grants(story.when(submit("a", memory_bytes=30, recipe=RECIPE)))[0]
    story.given(failed(lease, cause="out-of-memory", code="out-of-memory", peak_bytes=60))
    again = grants(story.when(submit("b", memory_bytes=30, recipe=RECIPE | {"seed": 4})))[0]
    assert again.memory_bytes == 63


def test_a_margin_alone_makes_no_job_too_big_for_a_gpu_that_held_it():
    story = queue().given(gpu_worker("g", 100))
    lease = grants(story.when(submit("a", memory_bytes=30, recipe=RECIPE)))[0]
    story.given(succeeded(lease, peak_bytes=98))
    assert grants(story.when(submit("b", recipe=RECIPE)))[0].memory_bytes == 100
    story.given(submit("c", memory_bytes=1))
    assert story.state.jobs["c"].lease is None  # nobody shares it


def test_a_job_that_filled_its_gpu_is_tried_in_smaller_parts_and_not_refused():
    story = queue().given(gpu_worker("g", 100))
    lease = grants(story.when(submit("a", memory_bytes=30, recipe=RECIPE)))[0]
    story.given(failed(lease, cause="out-of-memory", code="out-of-memory", peak_bytes=99))
    wait_until(story, 60)
    again = story.state.jobs["a"].lease
    assert again is not None
    assert (again.attempt, again.memory_bytes) == (2, 100)
    story.when(submit("too-big", recipe=RECIPE)).then_kinds(JobSubmitted)


def test_what_was_measured_on_a_cpu_says_nothing_of_gpus():
    story = queue().given(join("c", memory_bytes=100))
    lease = grants(story.when(submit("a", memory_bytes=30, recipe=RECIPE)))[0]
    story.given(succeeded(lease, peak_bytes=90), gpu_worker("g", 50))
    assert grants(story.when(submit("b", device="cuda", memory_bytes=30, recipe=RECIPE)))
    assert story.said[-1].memory_bytes == 30


def test_the_cheapest_place_is_taken_unless_the_deadline_needs_a_dearer_one():
    def told(**fields):
        story = queue().given(
            gpu_worker("cheap", gpu_kind="l4", price_per_gpu_hour=0.5),
            gpu_worker("dear", gpu_kind="h100", price_per_gpu_hour=4.0),
        )
        for kind, seconds in (("l4", 7_200), ("h100", 1_000)):
            lease = grants(story.when(submit(kind, recipe=RECIPE, gpu_kinds=(kind,))))[0]
            story.given(succeeded(lease, seconds=seconds))
        return grants(story.when(submit("a", recipe=RECIPE, **fields)))[0]

    assert told().worker_id == "cheap"
    assert told().expected_s == 7_200
    assert told(deadline=at(3_600)).worker_id == "dear"
    late = told(deadline=at(600))
    assert late.worker_id == "cheap"
    assert [why.code for why in late.why] == ["first-in-line", "misses-deadline"]


def test_a_worker_that_joins_twice_keeps_what_it_holds_out_of_the_packing():
    story = queue().given(gpu_worker("g", 24), submit("a", memory_bytes=20, timeout_s=100))
    story.given(gpu_worker("g", 24)).when(submit("b", memory_bytes=20)).then_kinds(JobSubmitted)
    assert story.state.jobs["a"].lease.gpus == (0,)


def test_as_many_jobs_run_as_may_share_the_gpus_whatever_slots_are_told():
    story = queue().given(gpu_worker("g", 24, slots=32))
    story.given(*(submit(name) for name in "abcde"))
    assert len(story.state.leased) == 4
    (why,) = waits_for(story.state, "e", at(story.seconds))
    assert (why.code, why.limit) == ("all-slots-taken", 4.0)
    assert granted(story.when(configure(jobs_per_gpu_max=5))) == []
    assert granted(wait_until(story, story.seconds + 1)) == ["e"]


def test_nothing_is_placed_on_a_gpu_that_does_not_answer():
    story = queue().given(gpu_worker("g", 24, 24), submit("a", memory_bytes=20))
    story.given(gpu_worker("g", 24, 24, lost_gpus=(1,)))
    assert story.state.jobs["a"].lease.gpus == (0,)  # it goes on
    story.when(submit("b", memory_bytes=20)).then_kinds(JobSubmitted)
    codes = [why.code for why in waits_for(story.state, "b", at(story.seconds))]
    assert codes == ["no-room", "gpu-lost"]
    assert grants(story.when(submit("c", timeout_s=10)))[0].gpus == (0,)
    assert [(one.job_id, one.gpus) for one in grants(story.when(gpu_worker("g", 24, 24)))] == [
        ("b", (1,))
    ]


def test_a_job_waits_for_gpus_that_do_not_answer_and_is_not_refused():
    story = queue().given(gpu_worker("g", 24, lost_gpus=(0,)))
    story.when(submit("a", memory_bytes=20)).then_kinds(JobSubmitted)
    codes = [why.code for why in waits_for(story.state, "a", at(story.seconds))]
    assert codes == ["fits-no-worker", "gpu-lost"]
    story.when(submit("b", memory_bytes=25)).then_rejected("unsupported-config")


def test_a_worker_that_tells_anew_what_it_has_is_as_hot_as_it_was():
    story = queue().given(gpu_worker("g", 24, 24))
    story.given(commands.NoteWorkerHot(worker_id="g", incarnation="1", celsius=91.0))
    assert not granted(story.given(submit("a")).when(gpu_worker("g", 24, 24, lost_gpus=(1,))))
    assert story.state.workers["g"].hot
    assert granted(story.when(gpu_worker("g", 24, 24, incarnation="2"))) == ["a"]


def test_the_pools_limit_is_of_what_inference_leaves():
    story = queue(Policy(gpu_memory_bytes_max=16)).given(gpu_worker("g", 24, reserved_bytes=(8,)))
    assert grants(story.when(submit("a", memory_bytes=16)))


def test_a_full_gpu_takes_no_more_jobs_than_the_pool_allows():
    story = queue().given(configure(jobs_per_gpu_max=2), gpu_worker("g", 24))
    story.given(submit("a"), submit("b")).when(submit("c"))
    assert not granted(story)
