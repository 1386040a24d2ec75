"""What a training should take, counted from its recipe; the numbers measured elsewhere agree."""

import pytest

from schemas.events import JobSubmitted
from schemas.recipe import LARGE_BASE, LARGE_BASE_GIB, SMALL_BASE, Recipe
from streams.queue.estimate import (
    ARCHITECTURES,
    NF4_BYTES,
    lora_parameters,
    tokens_at_once,
    training_bytes,
)
from streams.queue.policy import Policy
from streams.queue.telling.history import in_words
from tests.streams.queue_words import gpu_worker, granted, grants, join, queue, submit, succeeded

GIB = 2**30
SMALL, LARGE = ARCHITECTURES[SMALL_BASE], ARCHITECTURES[LARGE_BASE]
LARGE_RECIPE = Recipe(base=LARGE_BASE, quantization="nf4", batch_tokens=1_024)
ESTIMATED = {
    "recipe": {"base": "b", "lora_rank": 16},
    "memory_bytes": 30,
    "cpu_memory_bytes": 60,
    "memory_estimated": True,
}


def test_the_weights_are_those_of_the_models():
    assert SMALL.layers * SMALL.linear + SMALL.other == 134_515_008
    assert LARGE.layers * LARGE.linear + LARGE.other == 7_241_732_096


def test_as_many_parameters_are_trained_as_were_counted():
    assert lora_parameters(SMALL, Recipe()) == 4_884_480  # 4.88 M, as peft told
    assert lora_parameters(SMALL, Recipe(first_layer=27)) == 488_448


def test_four_bits_take_what_bitsandbytes_told():
    """A footprint of 110 MB, in which it does not count the scales."""
    packed = SMALL.layers * SMALL.linear * (NF4_BYTES - 4 / 64) + 2 * SMALL.other
    assert packed == pytest.approx(110e6, rel=0.01)


def test_the_large_base_in_four_bits_fits_where_it_is_let_run():
    found = training_bytes(LARGE_RECIPE, "cuda")
    assert found is not None
    assert 0.8 * LARGE_BASE_GIB * GIB < found < LARGE_BASE_GIB * GIB


@pytest.mark.parametrize("device", ["cuda", "cpu"])
@pytest.mark.parametrize(
    "less",
    [
        {"lora_rank": 8},
        {"first_layer": 15},
        {"batch_tokens": 1_024},
        {"batch_size": 1},
        {"max_length": 128},
    ],
)
def test_whatever_takes_less_is_estimated_to_take_less(device, less):
    whole, part = (training_bytes(one, device) for one in (Recipe(), Recipe(**less)))
    assert part < whole


def test_four_bits_are_estimated_to_take_less():
    plain = Recipe(base=LARGE_BASE, batch_tokens=1_024)
    assert training_bytes(LARGE_RECIPE, "cuda") < training_bytes(plain, "cuda") - 8 * GIB


def test_batches_in_parts_take_less_and_never_less_than_an_example():
    sizes = [training_bytes(Recipe(), "cuda", micro_batches=parts) for parts in (1, 2, 4)]
    assert sizes[0] > sizes[1] == sizes[2]
    assert [tokens_at_once(Recipe(max_length=256, batch_size=8), parts) for parts in (1, 4, 8)] == [
        2_048,
        512,
        256,
    ]


def test_nothing_is_estimated_of_a_base_that_nobody_counted():
    assert training_bytes(Recipe(base="somebody/else"), "cuda") is None


def test_an_estimate_packs_gpus_until_a_run_was_measured():
    story = queue().given(gpu_worker("g", 100))
    leases = [grants(story.when(submit(name, **ESTIMATED)))[0] for name in "abc"]
    assert [lease.memory_bytes for lease in leases] == [30, 30, 30]
    assert not granted(story.when(submit("d", **ESTIMATED)))
    story.given(succeeded(leases[0], peak_bytes=20))
    story.given(succeeded(leases[1], peak_bytes=20))
    assert [job.lease.memory_bytes for job in story.state.jobs.values() if job.lease] == [30, 30]
    assert grants(story.when(submit("e", **ESTIMATED)))[0].memory_bytes == 21


def test_a_machine_without_gpus_is_asked_for_its_own_estimate():
    story = queue().given(join("c", memory_bytes=100, slots=4))
    assert grants(story.when(submit("a", **ESTIMATED)))[0].memory_bytes == 60
    assert not granted(story.when(submit("b", **ESTIMATED)))


def test_an_estimate_refuses_nothing_on_a_machine_without_gpus():
    story = queue(Policy(gpu_memory_bytes_max=20)).given(join("c", memory_bytes=50, slots=2))
    lease = grants(story.when(submit("a", **ESTIMATED)))[0]
    assert lease.memory_bytes == 20  # all that there is
    assert not granted(story.when(submit("b", **ESTIMATED)))  # it runs alone
    asked = ESTIMATED | {"memory_estimated": False}
    story.when(submit("c", **asked)).then_rejected("unsupported-config")


def test_what_no_gpu_should_hold_is_refused_and_told_what_to_lower():
    story = queue().given(gpu_worker("g", 24)).when(submit("a", **ESTIMATED))
    story.then_rejected("unsupported-config")
    said = story.said[0].detail
    assert "30 bytes (estimated)" in said
    assert "at most 24 bytes" in said
    assert "training.batchSize" in said


def test_what_was_measured_is_not_called_an_estimate():
    story = queue().given(gpu_worker("g", 100))
    lease = grants(story.when(submit("a", **ESTIMATED)))[0]
    story.given(succeeded(lease, peak_bytes=90), gpu_worker("g", 40, incarnation="2"))
    story.when(submit("b", **ESTIMATED)).then_rejected("unsupported-config")
    assert "(estimated)" not in story.said[0].detail


def test_a_jobs_history_tells_the_estimate():
    told = {"job_id": "j", "person_id": "ann", "pool": "default", "priority": "low"}
    sizes = {"memory_bytes": 3 * 10**9, "cpu_memory_bytes": 65 * 10**8}
    event = JobSubmitted(**told, recipe={}, requested={}, memory_estimated=True, **sizes)
    assert in_words(event) == (
        "ann submitted it with priority low, estimated to need 3 GB of a GPU or 6.5 GB of a"
        " machine without one."
    )
