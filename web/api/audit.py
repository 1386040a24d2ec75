"""The audit's proofs: its latest checkpoint, that an entry stands in it, that it continues another.

Bundles are what `lifelog audit verify` reads: everything for an admin, one's own trail for anybody.
"""

import datetime
from typing import Annotated

import anyio.to_thread
from msgspec import Meta
from starlette.responses import Response, StreamingResponse

from projections import audit
from schemas.errors import InvalidBody, NotFound
from vault.audit import bundles, merkle, notes, stored
from vault.audit.notes import Checkpoint, Signer
from web.callers import owned
from web.routing import Body, Operation, WebRequest, Wire, answer, caller, queried, services
from web.services import Services

BUNDLE = "application/jsonl"
LARGEST = 2**52
Leaves = Annotated[int, Meta(ge=0, le=LARGEST)]


class SignedCheckpoint(Wire, frozen=True, kw_only=True):
    """The tree as it was last signed. Keep `note` where nobody who writes here can write."""

    origin: str
    size: int
    root_hash: str  # base64
    signed_at: datetime.datetime
    note: str  # C2SP's signed note
    public_key: str  # of the signature, as signed notes write keys


class Inclusion(Wire, frozen=True, kw_only=True):
    """That an entry stands in a tree: RFC 9162, section 2.1.3."""

    index: int
    size: int
    leaf_hash: str
    root_hash: str
    proof: tuple[str, ...]


class Consistency(Wire, frozen=True, kw_only=True):
    """That a tree begins with all of an older one: RFC 9162, section 2.1.4."""

    first: int
    second: int
    first_root_hash: str
    second_root_hash: str
    proof: tuple[str, ...]


class InclusionQuery(Body, frozen=True, kw_only=True):
    """Which entry, counted from 0, in a tree of which size; left out: the last signed."""

    index: Leaves
    size: Leaves | None = None


class ConsistencyQuery(Body, frozen=True, kw_only=True):
    """Of which two sizes; the second left out: the last signed."""

    first: Annotated[int, Meta(ge=1, le=LARGEST)]
    second: Leaves | None = None


class TrailQuery(Body, frozen=True, kw_only=True):
    """From which entry on, and the size of a held checkpoint that it is to be compared with."""

    since: Leaves = 0
    held: Leaves = 0


async def checkpoint(request: WebRequest) -> Response:
    """The latest checkpoint."""
    signed, note, signs = await anyio.to_thread.run_sync(_signed, services(request))
    told = SignedCheckpoint(
        origin=signed.origin,
        size=signed.size,
        root_hash=_text(signed.root),
        signed_at=datetime.datetime.fromisoformat(bundles.signed_at(signed)),
        note=note,
        public_key=str(signs.verifier),
    )
    return answer(request, told)


async def inclusion(request: WebRequest) -> Response:
    """That an entry stands in the tree."""
    wanted, held = queried(request, InclusionQuery), services(request)

    def proved() -> Inclusion:
        size = _size(held, wanted.size)
        if wanted.index >= size:
            raise NotFound(f"There is no entry {wanted.index} among the first {size:,}.")
        path = merkle.inclusion_path(wanted.index, size)
        leaf = (wanted.index, wanted.index + 1)
        one, root, *proof = stored.hashes_of(held.database, [leaf, (0, size), *path])
        return Inclusion(
            index=wanted.index,
            size=size,
            leaf_hash=_text(one),
            root_hash=_text(root),
            proof=notes.proof_lines(proof),
        )

    return answer(request, await anyio.to_thread.run_sync(proved))


async def consistency(request: WebRequest) -> Response:
    """That a tree begins with all of an older one."""
    wanted, held = queried(request, ConsistencyQuery), services(request)

    def proved() -> Consistency:
        second = _size(held, wanted.second)
        if wanted.first > second:
            raise InvalidBody(f"first: at most {second:,}, the newer size.", field="first")
        path = merkle.consistency_path(wanted.first, second)
        old, new, *proof = stored.hashes_of(held.database, [(0, wanted.first), (0, second), *path])
        return Consistency(
            first=wanted.first,
            second=second,
            first_root_hash=_text(old),
            second_root_hash=_text(new),
            proof=notes.proof_lines(proof),
        )

    return answer(request, await anyio.to_thread.run_sync(proved))


async def whole(request: WebRequest) -> Response:
    """Everything up to the latest checkpoint, as a bundle."""
    held = services(request)
    _, _, signs = await anyio.to_thread.run_sync(_signed, held)
    lines = stored.whole(held.database, signs.verifier)
    return StreamingResponse(lines, media_type=BUNDLE, headers=_named("audit"))


async def trail(request: WebRequest) -> Response:
    """What a person did, and what was done with what is theirs, as a bundle."""
    person_id = owned(caller(request), request.path_params["person_id"])
    wanted, held = queried(request, TrailQuery), services(request)

    def lines() -> bytes:
        _, _, signs = _signed(held)
        return b"".join(
            stored.trail(held.database, signs, person_id, held=wanted.held, since=wanted.since)
        )

    content = await anyio.to_thread.run_sync(lines)
    return Response(content, media_type=BUNDLE, headers=_named("my-audit"))


def _signed(held: Services) -> tuple[Checkpoint, str, Signer]:
    """The latest checkpoint, its note and what signed it. Blocks: call it in a thread."""
    note = stored.checkpoint(held.database)
    signs = stored.signer(held.database, held.vault.keys)
    return signs.verifier.opened(note), note, signs


def _size(held: Services, wanted: int | None) -> int:
    """A size that was folded; the last signed one where none is asked for."""
    if wanted is None:
        return _signed(held)[0].size
    size = audit.tree(held.database).size
    if wanted > size:
        raise NotFound(f"The audit has {size:,} entries so far.")
    return wanted


def _text(hashed: bytes) -> str:
    return notes.proof_lines([hashed])[0]


def _named(name: str) -> dict[str, str]:
    return {
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{name}.jsonl"',
    }


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/api/audit/checkpoint",
        endpoint=checkpoint,
        access="member",
        summary="The audit's latest signed checkpoint, to be kept elsewhere",
        answers={200: SignedCheckpoint},
    ),
    Operation(
        method="GET",
        path="/api/audit/inclusion",
        endpoint=inclusion,
        access="admin",
        summary="The proof that an entry stands in the audit's tree",
        query=InclusionQuery,
        answers={200: Inclusion},
    ),
    Operation(
        method="GET",
        path="/api/audit/consistency",
        endpoint=consistency,
        access="member",
        summary="The proof that the audit's tree begins with all of an older one",
        query=ConsistencyQuery,
        answers={200: Consistency},
    ),
    Operation(
        method="GET",
        path="/api/audit/bundle",
        endpoint=whole,
        access="admin",
        summary="The whole audit, to be verified offline",
        answers={200: None},
        media_type=BUNDLE,
        audited=True,
    ),
    Operation(
        method="GET",
        path="/api/people/{person_id}/audit",
        endpoint=trail,
        access="member",
        summary="A person's own trail with its proofs, to be verified offline",
        query=TrailQuery,
        answers={200: None},
        media_type=BUNDLE,
        audited=True,
    ),
)
