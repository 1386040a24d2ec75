from schemas.prompts import ABSTENTION, Memory, Message, cited, layout, template_digest


def memory(number: int, date: str | None = "1974-05-03") -> Memory:
    return Memory(
        entry_id=f"e{number}", title=f"Title {number}", date=date, text=f"Text\n\n{number}."
    )


def test_a_closed_book_prompt_is_the_name_and_the_question_alone():
    assert layout("Ada Moreno", "Where?") == [
        Message("system", "You are Ada Moreno."),
        Message("user", "Where?"),
    ]


def test_memories_are_numbered_dated_and_stand_before_the_question():
    system, asked = layout("Ada", "Where?", [memory(1), memory(2, None)])
    assert ABSTENTION in system.content
    assert asked.content.index("[1] Title 1 (1974-05-03): Text 1.") < asked.content.index(
        "[2] Title 2: Text 2."
    )
    assert asked.content.endswith("Where?")


def test_earlier_turns_stand_between_the_system_message_and_the_question():
    turns = [Message("user", "Hello?"), Message("assistant", "Hello.")]
    assert layout("Ada", "Where?", turns=turns)[1:3] == turns


def test_a_title_with_braces_is_shown_as_it_stands():
    odd = Memory(entry_id="e", title="{name}", date=None, text="{question} {0}")
    assert "{name}: {question} {0}" in layout("Ada", "Where?", [odd])[-1].content


def test_only_numbers_that_were_shown_are_citations():
    assert cited("Yes. [2] [9]", [memory(1), memory(2)]) == [memory(2)]


def test_the_template_digest_is_the_same_for_the_same_layout():
    assert template_digest() == template_digest()
    assert len(template_digest()) == 64
