"""The chat page: ask a person's model, watch the answer come, and see what it was made of."""

import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from uuid import uuid4

import msgspec
from markupsafe import escape
from sse_starlette.sse import EventSourceResponse
from starlette.responses import RedirectResponse, Response

from projections import versions
from projections.versions import VersionNamed
from schemas.errors import InvalidBody, LifelogError, NotFound
from web import answers
from web.answers import CURRENT, Question, Turn
from web.api.chat import QUERY_LENGTH
from web.errors import status_of
from web.inference import Piece
from web.pages import forms, turns
from web.pages.shell import is_partial, page, rendered, view
from web.pages.turns import Talk, TurnShown
from web.pages.whose import Whose, whose
from web.routing import Operation, WebRequest, caller, services
from web.services import Services

BASE = "base"
MEMORIES = "memories"
_LINES = re.compile(r"\r\n|\r|\n")


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What may answer."""

    value: str  # "base", "base memories" or "VERSION memories"
    label: str


async def shown(request: WebRequest) -> Response:
    """The page, with one conversation or the beginning of a new one."""
    about, held = await whose(request), services(request)
    given = request.path_params.get("conversation_id")
    if about.life is None:
        return page("chat.html", about=about, here="chat", talks=[], turns=[], chat=None)
    person_id, asker = about.life.person_id, caller(request).person_id
    said: list[TurnShown] = []
    if given is not None:
        said = await turns.of_conversation(held, person_id, answers.conversation(given), asker)
        if not said:
            raise NotFound("There is no such conversation.")
    choices = await _choices(held, person_id)
    wanted = f"{request.query_params.get('with')} {MEMORIES}"
    known = {one.value for one in choices}
    return page(
        "chat.html",
        about=about,
        here="chat",
        talks=await turns.talks(held, person_id, asker),
        turns=said,
        chat={
            "conversation": given or str(uuid4()),
            "is_new": given is None,
            "choices": choices,
            "chosen": wanted if wanted in known else choices[0].value,
        },
        longest=QUERY_LENGTH,
    )


async def ask(request: WebRequest) -> Response:
    """Take a question; the answer comes as a stream, or without scripts as the page anew."""
    form = await forms.fields(request)
    about, held = await whose(request, form=form), services(request)
    if about.life is None:
        raise NotFound("There is nobody to talk to yet.")
    try:
        question = await _question(request, held, about.life.person_id, form)
    except LifelogError as error:
        if not is_partial(request):
            raise
        return page("parts/unanswered.html", status_of(error), problem=error.detail)
    if is_partial(request):
        return EventSourceResponse(
            _streamed(held, about, question, is_new=form.get("new") == "yes"),
            headers={"Cache-Control": "no-store"},
        )
    await answers.answered(held, question)
    address = f"/chat/{question.conversation_id}{about.query}"
    return RedirectResponse(address, HTTPStatus.SEE_OTHER)


async def _question(
    request: WebRequest, held: Services, person_id: str, form: dict[str, str]
) -> Question:
    text = form.get("question", "").strip()
    if not text:
        raise InvalidBody("question: write something first.", field="question")
    if len(text) > QUERY_LENGTH:
        raise InvalidBody(f"question: at most {QUERY_LENGTH:,} characters.", field="question")
    who = caller(request)
    conversation_id = answers.conversation(form.get("conversation"))
    model, _, memories = form.get("with", f"{BASE} {MEMORIES}").partition(" ")
    model_id = f"{person_id}/{BASE}" if model == BASE else model
    _, version = await held.query(lambda found: answers.chosen(found, who, person_id, model_id))
    earlier = await answers.before(held, person_id, conversation_id, who.person_id)
    return Question(
        person_id=person_id,
        asked_by=who.person_id,
        text=text,
        conversation_id=conversation_id,
        asked=await answers.asked_of(held, person_id, version, memories=memories == MEMORIES),
        request={
            "model": "lifelog",
            "messages": [*earlier, {"role": "user", "content": text}],
        },
    )


async def _streamed(
    held: Services, about: Whose, question: Question, *, is_new: bool
) -> AsyncIterator[bytes]:
    """The turn without its answer, then the answer's text, then the whole turn in its place."""
    place = f"coming-{uuid4()}"
    yield _message(rendered("parts/coming.html", place=place, question=question.text))
    try:
        async for part in answers.written(held, question):
            if isinstance(part, Piece):
                if part.text:
                    yield _message(_partial(f"#{place}-text", "beforeend", escape(part.text)))
                continue
            yield _message(await _finished(held, about, question, part, place, is_new=is_new))
    except LifelogError as error:
        notice = rendered("parts/unanswered.html", problem=error.detail)
        yield _message(_partial(f"#{place}-answer", "innerHTML", notice))


async def _finished(
    held: Services, about: Whose, question: Question, turn: Turn, place: str, *, is_new: bool
) -> str:
    made = await turns.just_made(
        held, question.person_id, turn.turn_id, question.text, turn.answer, turn.receipt
    )
    html = rendered("parts/turn.html", turn=made, about=about)
    parts = _partial(f"#{place}", "outerHTML", html)
    if is_new:
        talk = Talk(
            conversation_id=question.conversation_id,
            title=turns.short(question.text),
            turns=1,
            last_at=held.clock(),
        )
        parts += _partial(
            "#talks", "afterbegin", rendered("parts/talk.html", talk=talk, about=about, now=True)
        )
        parts += _partial("#is-new", "outerHTML", '<input type="hidden" id="is-new">')
    return parts


def _partial(target: str, swap: str, html: str) -> str:
    return f'<hx-partial hx-target="{target}" hx-swap="{swap}">{html}</hx-partial>'


def _message(html: str) -> bytes:
    """HTML as one message without a name: htmx puts it where it says."""
    lines = "".join(f"data: {line}\n" for line in _LINES.split(html.replace("\0", "")))
    return f"{lines}\n".encode("utf-8", "replace")


async def _choices(held: Services, person_id: str) -> list[Choice]:
    """What may answer, the best first."""
    found = await held.query(lambda connection: versions.of_person(connection, person_id))
    current = [one for one in found if CURRENT in one.aliases]
    others = [one for one in found if CURRENT not in one.aliases]
    return [
        *(_choice(one) for one in current),
        Choice(value=f"{BASE} {MEMORIES}", label="Base, with memories"),
        Choice(value=BASE, label="Base alone"),
        *(_choice(one) for one in others),
    ]


def _choice(one: VersionNamed) -> Choice:
    return Choice(
        value=f"{one.version_id} {MEMORIES}", label=f"Version {one.number}, with memories"
    )


OPERATIONS: tuple[Operation, ...] = (
    view("GET", "/chat", shown, "The chat page"),
    view("POST", "/chat/ask", ask, "A question", rate="chat"),
    view("GET", "/chat/{conversation_id}", shown, "The chat page with one conversation"),
)
