"""The event catalogue and the JSON Schemas, made from the types: never written by hand."""

import inspect
from collections.abc import Iterator
from typing import Any

import msgspec

from schemas.authority import MAY_SEND
from schemas.codec import data_schema
from schemas.contracts.times import schemas_of
from schemas.topics import FOR_EVER, TOPICS, Topic, partitions

DIALECT = "https://json-schema.org/draft/2020-12/schema"
HEAD = """\
# Events and commands

Made by `python -m schemas.contracts` from the code: do not edit.

Every record is a CloudEvents 1.0 event in Kafka's binary mode: the attributes are headers
(`ce_id`, `ce_type`, `ce_source`, `ce_time`, `ce_subject`, `ce_dataschema`), the value is JSON.
Our own headers are `owner` (whose it is), `traceparent`, on commands `issuer`, `mac` and
`body-hash`, and on a decider's events `answers` (the command's offset), `command` (its id) and
`decider` (the version that decided). Fields are only ever added, with a default; a reader ignores
those that it does not know.

Read with `isolation.level=read_committed`. Topics that a decider writes are written in
transactions: their offsets have gaps, and an offset that is missing is not a record that is lost.

Text of a person never stands in a record in the clear: fields of the type `Sealed` hold
AES-256-GCM ciphertext, opened with keys that are not on the log.
"""


def json_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema of one type, with the types that it is made of."""
    (reference,), parts = schemas_of([kind], "#/$defs/{name}")
    name = reference["$ref"].rpartition("/")[2]
    own = dict(parts.pop(name))
    schema = {"$schema": DIALECT, "$id": data_schema(_type(kind)), **own}
    return {**schema, "$defs": parts} if parts else schema


def catalogue() -> str:
    """The catalogue as Markdown: every topic, and every type on it."""
    return "\n".join([HEAD, *_overview(), *(line for topic in TOPICS for line in _topic(topic))])


def _overview() -> Iterator[str]:
    yield "## Topics\n"
    yield "| topic | its one author | partitioned by | partitions | kept |"
    yield "|---|---|---|---|---|"
    for topic in TOPICS:
        by = f"the {topic.by}" if topic.by != "one" else "not at all"
        link = f"[`{topic.name}`](#{_anchor(topic.name)})"
        yield f"| {link} | {topic.author} | {by} | {partitions(topic)} | {_kept(topic)} |"
    yield ""


def _topic(topic: Topic) -> Iterator[str]:
    yield f"## `{topic.name}`\n"
    answers = f" Its events answer the commands of `{topic.answers}`." if topic.answers else ""
    yield f"Written by: {topic.author}. Kept: {_kept(topic)}.{answers}\n"
    for kind in topic.types:
        yield from _kind(kind)


def _kind(kind: type[msgspec.Struct]) -> Iterator[str]:
    yield f"### `{_type(kind)}`\n"
    yield f"{inspect.cleandoc(kind.__doc__ or '')}\n"
    if kind in MAY_SEND:
        yield f"Sent by: {', '.join(sorted(MAY_SEND[kind]))}.\n"
    yield f"Schema: [`{data_schema(_type(kind))}`](schemas/{_type(kind)}.json)\n"
    yield "| field | type | default |"
    yield "|---|---|---|"
    for field in msgspec.structs.fields(kind):
        yield f"| `{field.name}` | {_shown(field.type)} | {_default(field)} |"
    yield ""


def _shown(kind: Any) -> str:
    (schema,), _ = schemas_of([kind], "{name}")
    return _words(schema).replace("|", "\\|")


def _words(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"])
    if "enum" in schema:
        return " \\| ".join(f"`{one}`" for one in schema["enum"]).replace("\\|", "or")
    if "anyOf" in schema:
        return " or ".join(_words(one) for one in schema["anyOf"])
    name = str(schema.get("type", "any"))
    if name == "array":
        inner: dict[str, Any] = schema.get("items") or next(iter(schema.get("prefixItems", [])), {})
        return f"list of {_words(inner)}" if inner else "list"
    if name == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map to {_words(schema['additionalProperties'])}"
    detail = schema.get("format") or schema.get("description") or schema.get("contentEncoding")
    least = f" ≥ {schema['minimum']}" if "minimum" in schema else ""
    return f"{name}{least} ({detail})" if detail else f"{name}{least}"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is not msgspec.NODEFAULT:
        return f"`{field.default!r}`"
    if field.default_factory is not msgspec.NODEFAULT:
        return "empty"
    return "required"


def _kept(topic: Topic) -> str:
    if topic.retention_ms == FOR_EVER:
        return "for ever"
    days = topic.retention_ms // 86_400_000
    return "1 day" if days == 1 else f"{days} days"


def _anchor(name: str) -> str:
    return name.replace(".", "")


def _type(kind: type[msgspec.Struct]) -> str:
    name: str = kind.TYPE  # type: ignore[attr-defined]
    return name
