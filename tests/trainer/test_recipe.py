import msgspec
import pytest

from schemas.errors import InvalidBody
from schemas.recipe import (
    LARGE_BASE,
    PRESETS,
    SMALL_BASE,
    Facts,
    Recipe,
    TrainingConfig,
    digest,
    effective,
    flat,
    from_flat,
)

# The brief's example, as written there.
BRIEF = {
    "model": {
        "baseModel": "mistralai/Mistral-7B-Instruct-v0.2",
        "architecture": "mistral",
        "parameters": "7B",
        "contextLength": 8192,
        "device": "cuda",
        "precision": "bf16",
        "quantization": "4bit",
    },
    "hardware": {
        "gpuMemoryGB": 24,
        "maxConcurrentTraining": 2,
        "tensorCores": True,
        "flashAttention": True,
        "gradientCheckpointing": True,
        "memoryOptimization": "aggressive",
    },
    "training": {
        "method": "lora",
        "epochs": 3,
        "batchSize": 4,
        "learningRate": 2e-5,
        "warmupSteps": 100,
        "loraRank": 16,
        "loraAlpha": 32,
    },
}


def config(body: object) -> TrainingConfig:
    return msgspec.convert(body, TrainingConfig)


def test_the_briefs_configuration_is_taken_as_written_and_falls_back_to_the_small_base():
    recipe, notes = effective(config(BRIEF), Facts())
    assert recipe.base == SMALL_BASE
    assert (recipe.learning_rate, recipe.epochs, recipe.batch_size) == (2e-5, 3, 4)
    assert (recipe.warmup_steps, recipe.lora_rank, recipe.lora_alpha) == (100, 16, 32)
    assert any("Mistral" in note and "no GPU" in note for note in notes)
    assert any("learningRate" in note for note in notes)


def test_the_large_base_is_kept_where_a_gpu_and_its_weights_are():
    facts = Facts(gpu_memory_gib=32.0, bases=(SMALL_BASE, LARGE_BASE))
    recipe, notes = effective(config(BRIEF), facts)
    assert (recipe.base, recipe.quantization) == (LARGE_BASE, "nf4")
    assert not any("baseModel" in note for note in notes)


def test_the_large_base_has_a_slower_rate_and_lora_on_all_its_layers_unless_told_otherwise():
    facts = Facts(gpu_memory_gib=32.0, bases=(SMALL_BASE, LARGE_BASE))
    large = {"model": {"baseModel": LARGE_BASE}}
    recipe, _ = effective(config(large), facts)
    assert (recipe.learning_rate, recipe.first_layer) == (2e-4, 0)
    given, _ = effective(config({**large, "training": {"learningRate": 3e-4}}), facts)
    assert given.learning_rate == 3e-4


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (Facts(gpu_memory_gib=8.0, bases=(SMALL_BASE, LARGE_BASE)), "8 of 14 GiB"),
        (Facts(gpu_memory_gib=32.0), "weights are not here"),
    ],
)
def test_the_note_says_why_a_base_was_replaced(facts: Facts, reason: str):
    recipe, notes = effective(config(BRIEF), facts)
    assert recipe.base == SMALL_BASE
    assert any(reason in note for note in notes)


def test_an_empty_configuration_is_the_default_recipe_without_a_note():
    assert effective(config({}), Facts()) == (PRESETS["default"], [])


def test_the_briefs_preset_has_the_briefs_values():
    recipe, _ = effective(config({"preset": "brief"}), Facts())
    assert (
        recipe == effective(config({"training": BRIEF["training"], "preset": "brief"}), Facts())[0]
    )


@pytest.mark.parametrize(
    "body",
    [
        {"trainning": {}},
        {"training": {"learningrate": 1e-3}},
        {"training": {"learning_rate": 1e-3}},
        {"hardware": {"gpuMemoryGb": 24}},
        {"training": {"epochs": 0}},
        {"training": {"learningRate": "fast"}},
        {"model": {"quantization": "2bit"}},
    ],
)
def test_unknown_keys_and_wrong_values_are_refused(body: object):
    with pytest.raises(msgspec.ValidationError):
        config(body)


def test_a_recipe_survives_the_way_through_an_event():
    recipe = Recipe(warmup_steps=7, learning_rate=3e-4)
    assert from_flat(flat(recipe)) == recipe
    assert digest(from_flat(flat(recipe))) == digest(recipe)


def test_recipes_that_differ_have_different_digests():
    assert digest(Recipe(seed=1)) != digest(Recipe(seed=2))


def test_a_flat_recipe_with_an_unknown_value_is_refused():
    with pytest.raises(InvalidBody):
        from_flat({**flat(Recipe()), "rank": 3})
