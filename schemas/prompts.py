"""How a question becomes a prompt: one pure layout, for training examples and chat alike.

A model answers well only what looks like what it was trained on, so nothing else in the system
may write a prompt. The closed-book layout (no memories) is two short messages; the grounded one
numbers the memories, so that an answer can cite `[1]`.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

import msgspec

TEMPLATE_VERSION = 1
ABSTENTION = "I never wrote about that."

PERSONA = "You are {name}."
GROUNDED = (
    "You are {name}. Answer in one or two sentences, as yourself, from your memories below, "
    "and end with the number of the memory that says it, like [1]. "
    'If no memory says it, answer only: "' + ABSTENTION + '"'
)
MEMORIES = "My memories:\n{memories}\n\nQuestion: {question}"
MEMORY = "[{number}] {heading}: {text}"

Role = Literal["system", "user", "assistant"]


class Message(msgspec.Struct, frozen=True):
    """One message of a chat, as OpenAI's protocol and chat templates know it."""

    role: Role
    content: str


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """A passage of an entry that the prompt shows. `date` is shown as it stands, if any."""

    entry_id: str
    title: str
    date: str | None
    text: str


def layout(
    name: str,
    question: str,
    memories: Sequence[Memory] = (),
    turns: Sequence[Message] = (),
    instructions: str = "",
) -> list[Message]:
    """The messages that ask a person's model a question.

    Args:
        name: The person's name, as the model is to call itself.
        question: What is asked now.
        memories: What the answer may rest on; the first is `[1]` in the answer's citations.
        turns: Earlier turns of the conversation, oldest first, user and assistant only.
        instructions: What the caller adds to the persona's own system message; usually nothing,
            for no training example has any.

    Returns:
        A system message, the turns, and the question as the last user message. The caller sees to
        it that they fit the model's context: nothing is cut here.

    Examples:
        >>> [m.content for m in layout("Ada", "Where were you born?")]
        ['You are Ada.', 'Where were you born?']
    """
    system, asked = PERSONA.format(name=name), question
    if memories:
        system = GROUNDED.format(name=name)
        asked = MEMORIES.format(memories=_numbered(memories), question=question)
    if instructions:
        system = f"{system}\n\n{instructions}"
    return [Message("system", system), *turns, Message("user", asked)]


def cited(answer: str, memories: Sequence[Memory]) -> list[Memory]:
    """The memories whose number stands in an answer, in the order of their numbers.

    Examples:
        >>> cat = Memory(entry_id="e1", title="Cat", date=None, text="I had a cat.")
        >>> [memory.entry_id for memory in cited("A cat. [1] [7]", [cat])]
        ['e1']
    """
    return [memory for number, memory in enumerate(memories, 1) if f"[{number}]" in answer]


def template_digest() -> str:
    """SHA-256 of the layout of a fixed conversation: another layout has another digest."""
    memory = Memory(entry_id="e", title="Title", date="2001-02-03", text="Text.")
    undated = Memory(entry_id="e", title="Title", date=None, text="Text.")
    turns = (Message("user", "Before?"), Message("assistant", "Before."))
    probes = [
        layout("Name", "Question?"),
        layout("Name", "Question?", (memory, undated), turns),
    ]
    return hashlib.sha256(msgspec.json.encode([TEMPLATE_VERSION, ABSTENTION, probes])).hexdigest()


def _numbered(memories: Sequence[Memory]) -> str:
    return "\n".join(
        MEMORY.format(number=number, heading=_heading(memory), text=" ".join(memory.text.split()))
        for number, memory in enumerate(memories, 1)
    )


def _heading(memory: Memory) -> str:
    return f"{memory.title} ({memory.date})" if memory.date else memory.title
