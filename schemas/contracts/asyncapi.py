"""The log as an AsyncAPI 3.0 document, made from the code: channels, messages, Kafka's bindings."""

from typing import Any

import msgspec

from schemas.codec import CONTENT_TYPE, data_schema
from schemas.contracts import golden
from schemas.contracts.catalogue import json_schema
from schemas.topics import FOR_EVER, TOPICS, Topic, partitions

VERSION = "3.0.0"
BINDING = "0.5.0"  # of the Kafka bindings
PREFIX = "lifelog."
ABOUT = """\
Every record is a CloudEvents 1.0 event in Kafka's binary mode. Read with
`isolation.level=read_committed`: topics that a decider writes are written in transactions, so an
offset may be missing where no record is lost. Readers ignore fields that they do not know. Text of
a person stands in no record in the clear; fields of the type `Sealed` hold ciphertext."""


def document() -> dict[str, Any]:
    """The whole document; it names no server, for each installation has its own."""
    kinds = [kind for topic in TOPICS for kind in topic.types]
    parts: dict[str, Any] = {}
    for kind in kinds:
        parts.update(_parts(kind))
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Lifelog's log",
            "version": "1.0.0",
            "description": ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE.decode(),
        "channels": {_key(topic.name): _channel(topic) for topic in TOPICS},
        "operations": {f"read-{_key(topic.name)}": _operation(topic) for topic in TOPICS},
        "components": {
            "messages": {_name(kind): _message(kind) for kind in kinds},
            "messageTraits": {"cloudEvent": _trait()},
            "schemas": parts,
        },
    }


def _channel(topic: Topic) -> dict[str, Any]:
    by = "one partition" if topic.by == "one" else f"partitioned by the {topic.by}"
    gaps = " Written in transactions: offsets have gaps." if topic.transactional else ""
    return {
        "address": f"{PREFIX}{topic.name}",
        "title": topic.name,
        "description": f"Written by: {topic.author}; {by}.{gaps}",
        "messages": {
            _name(kind): {"$ref": f"#/components/messages/{_name(kind)}"} for kind in topic.types
        },
        "bindings": {
            "kafka": {
                "topic": f"{PREFIX}{topic.name}",
                "partitions": partitions(topic),
                "topicConfiguration": {
                    "cleanup.policy": ["delete"],
                    "retention.ms": FOR_EVER if topic.retention_ms < 0 else topic.retention_ms,
                },
                "bindingVersion": BINDING,
            }
        },
    }


def _operation(topic: Topic) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{_key(topic.name)}"},
        "summary": f"What stands on {topic.name}, for whoever reads it.",
        "description": "Consume with `isolation.level=read_committed`.",
    }


def _message(kind: type[msgspec.Struct]) -> dict[str, Any]:
    name = _name(kind)
    records = golden.corpus(name)
    return {
        "name": name,
        "title": kind.__name__,
        "summary": (kind.__doc__ or "").strip().partition("\n")[0],
        "contentType": CONTENT_TYPE.decode(),
        "traits": [{"$ref": "#/components/messageTraits/cloudEvent"}],
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "examples": [{"name": "golden", "payload": one.record} for one in records[-1:]],
        "x-dataschema": data_schema(name),
    }


def _trait() -> dict[str, Any]:
    text = {"type": "string"}
    required = ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "ce_dataschema"]
    rest = ["ce_subject", "owner", "traceparent", "issuer", "mac", "body-hash", "answers"]
    return {
        "headers": {
            "type": "object",
            "required": required,
            "properties": dict.fromkeys([*required, *rest, "command", "decider"], text),
        }
    }


def _parts(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The type's schema and those it is made of, with references into the document."""
    schema = json_schema(kind)
    schema.pop("$schema")
    schema.pop("$id")
    return {**_moved(schema.pop("$defs", {})), _name(kind): _moved(schema)}


def _moved(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: value.replace("#/$defs/", "#/components/schemas/")
            if key == "$ref" and isinstance(value, str)
            else _moved(value)
            for key, value in schema.items()
        }
    return [_moved(one) for one in schema] if isinstance(schema, list) else schema


def _key(name: str) -> str:
    return name.replace(".", "-")


def _name(kind: type[msgspec.Struct]) -> str:
    name: str = kind.TYPE  # type: ignore[attr-defined]
    return name
