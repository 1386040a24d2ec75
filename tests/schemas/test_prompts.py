from schemas.prompts import Memory, layout, template_digest


def test_instructions_stand_after_the_personas_own() -> None:
    memory = Memory(entry_id="e1", title="Bess", date=None, text="A dog.")
    for memories in ([], [memory]):
        own, asked = layout("Ada", "Where?", memories)
        told, still = layout("Ada", "Where?", memories, instructions="Answer in French.")

        assert told.content == f"{own.content}\n\nAnswer in French."
        assert still == asked


def test_the_template_of_versions_that_were_trained_before_is_the_same() -> None:
    assert template_digest().startswith("b5cc79a95d0f6245")
