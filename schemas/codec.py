"""Records to bytes and back: CloudEvents 1.0 binary mode for Kafka, JSON payloads.

Attributes stand in `ce_*` headers (cloudevents/spec, kafka-protocol-binding, section 3.2); our own
headers have plain names. Payload fields that a reader does not know are ignored, so that a newer
writer may add optional ones. A payload of an older version is put in the words of today first
(`schemas.upcasters`); one of a version that is not known yet stays `Unknown`.
"""

import datetime
import functools
from collections.abc import Iterable, Sequence

import msgspec

from schemas.envelope import Envelope, Unknown
from schemas.errors import RecordCorrupt
from schemas.topics import TOPICS
from schemas.upcasters import upcast, version_of

Headers = Sequence[tuple[str, bytes]]

SPEC_VERSION = b"1.0"
CONTENT_TYPE = b"application/json"
SCHEMA_URN = "urn:lifelog:schema:"

_PLAIN = {
    "owner": "owner",
    "traceparent": "traceparent",
    "issuer": "issuer",
    "mac": "mac",
    "body_hash": "body-hash",
    "command": "command",
    "decider": "decider",
}


def _types(kinds: Iterable[type[msgspec.Struct]]) -> dict[str, type[msgspec.Struct]]:
    return {kind.TYPE: kind for kind in kinds}  # type: ignore[attr-defined]


TYPES: dict[str, type[msgspec.Struct]] = _types(kind for topic in TOPICS for kind in topic.types)
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in TYPES.items()}
_ENCODER = msgspec.json.Encoder()


def type_of(data: msgspec.Struct) -> str:
    """The `ce_type` of a payload."""
    if isinstance(data, Unknown):
        return data.type
    name: str = data.TYPE  # type: ignore[attr-defined]
    return name


def data_schema(kind: str) -> str:
    """The name of the JSON Schema of a type, as `ce_dataschema` carries it."""
    return f"{SCHEMA_URN}{kind}:{version_of(kind)}"


def encode(data: msgspec.Struct) -> bytes:
    """A payload as JSON; equal payloads give equal bytes."""
    if isinstance(data, Unknown):
        return data.value
    return _ENCODER.encode(data)


def encode_headers(envelope: Envelope) -> list[tuple[str, bytes]]:
    """The headers of a record."""
    headers = [
        ("ce_specversion", SPEC_VERSION),
        ("ce_id", envelope.id.encode()),
        ("ce_type", envelope.type.encode()),
        ("ce_source", envelope.source.encode()),
        ("ce_time", envelope.time.astimezone(datetime.UTC).isoformat().encode()),
        ("ce_dataschema", data_schema(envelope.type).encode()),
        ("content-type", CONTENT_TYPE),
    ]
    if envelope.subject is not None:
        headers.append(("ce_subject", envelope.subject.encode()))
    if envelope.answers is not None:
        headers.append(("answers", str(envelope.answers).encode()))
    for field, header in _PLAIN.items():
        value = getattr(envelope, field)
        if value is not None:
            headers.append((header, value.encode()))
    return headers


def decode_headers(headers: Headers) -> Envelope:
    """The envelope that a record's headers hold.

    Raises:
        RecordCorrupt: If a required attribute is missing or cannot be read.
    """
    try:
        # Spelled out, and what few values have is decoded once: a third of a fold's time was here.
        found = dict(headers)
        value = found.get
        answers, subject, body_hash = value("answers"), value("ce_subject"), value("body-hash")
        trace, mac, command = value("traceparent"), value("mac"), value("command")
        return Envelope(
            id=found["ce_id"].decode(),
            type=_word(found["ce_type"]) or "",
            source=_word(found["ce_source"]) or "",
            time=datetime.datetime.fromisoformat(found["ce_time"].decode()),
            subject=None if subject is None else subject.decode(),
            owner=_word(value("owner")),
            traceparent=None if trace is None else trace.decode(),
            issuer=_word(value("issuer")),
            mac=None if mac is None else mac.decode(),
            body_hash=None if body_hash is None else body_hash.decode(),
            answers=None if answers is None else int(answers),
            command=None if command is None else command.decode(),
            decider=_word(value("decider")),
            version=_version(value("ce_dataschema")),
        )
    except KeyError as error:
        raise RecordCorrupt(f"The record has no {error.args[0]} header.") from error
    except (AttributeError, UnicodeDecodeError, ValueError) as error:
        raise RecordCorrupt(f"A header of the record cannot be read: {error}") from error


@functools.lru_cache(maxsize=4_096)
def _word(value: bytes | None) -> str | None:
    """A value that many records share."""
    return None if value is None else value.decode()


@functools.lru_cache(maxsize=1_024)
def _version(value: bytes | None) -> int | None:
    """Which version of a type one of our schemas is; None for a name that is not ours."""
    name = "" if value is None else value.decode()
    if not name.startswith(SCHEMA_URN):
        return None
    version = int(name.rpartition(":")[2])
    if version < 1:
        raise ValueError(f"{name} names no version: they count from 1")
    return version


def decode(kind: str, value: bytes, version: int | None = None) -> msgspec.Struct:
    """The payload of a record; `Unknown` where no schema of this version of ours reads it.

    Args:
        kind: Its `ce_type`.
        value: The payload as JSON.
        version: Of the schema that it was written with; by default the newest.

    Raises:
        RecordCorrupt: If the payload does not fit its schema.
    """
    decoder = _DECODERS.get(kind)
    newest = version_of(kind)
    version = newest if version is None else version
    if decoder is None or version > newest:
        return Unknown(type=kind, value=value)
    try:
        if version < newest:
            value = _ENCODER.encode(upcast(kind, version, msgspec.json.decode(value)))
        payload: msgspec.Struct = decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise RecordCorrupt(f"A {kind} record does not fit its schema: {error}") from error
    return payload
