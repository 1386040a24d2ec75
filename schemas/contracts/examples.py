"""An example of each type, made from its JSON Schema: equal schemas give equal examples.

Golden records are such examples: written once for each version of a schema, and read ever after.
"""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

IDENTITY = "018f3c5e-7a64-5e7b-9c1d-2f6a4b8c0d1e"
AT = "2026-11-23T08:15:00Z"
# Schemas of before did not say which texts are times: these fields are.
_TIMES = ("_at", "_before", "_heard", "deadline", "due", "until")
# By the end of a field's name: what a reader would expect to see there.
_TEXTS = {
    "_id": IDENTITY,
    "worker": "worker-1",
    "pool": "default",
    "topic": "lifelog.jobs.commands",
    "record": f"entry:{IDENTITY}",
    "alias": "current",
    "base": "smollm2-135m-instruct",
    "language": "en",
    "code": "first-in-line",
}
_NUMBERS = {"_bytes": 3_000_000_000, "_s": 90, "_ms": 1500, "_c": 71, "attempts_max": 3}


def example(schema: Schema) -> dict[str, Any]:
    """One record that fits a schema, every field of it in place.

    Args:
        schema: The JSON Schema of a type, with its `$defs`.
    """
    return {
        name: _value(name, field, schema.get("$defs", {}))
        for name, field in schema.get("properties", {}).items()
    }


def _value(name: str, schema: Schema, parts: Schema) -> Any:
    if "$ref" in schema:
        return _value(name, parts[str(schema["$ref"]).rpartition("/")[2]], parts)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        choices = [one for one in schema["anyOf"] if one.get("type") != "null"]
        return _value(name, choices[0], parts)
    match schema.get("type"):
        case "object":
            return _object(name, schema, parts)
        case "array":
            items = schema.get("prefixItems") or [schema.get("items", {})]
            return [_value(name.removesuffix("s"), one, parts) for one in items]
        case "boolean":
            return True
        case "integer" | "number" as kind:
            return _number(name, schema, whole=kind == "integer")
        case _:
            return _text(name, schema)


def _object(name: str, schema: Schema, parts: Schema) -> dict[str, Any]:
    if "properties" in schema:
        return {one: _value(one, field, parts) for one, field in schema["properties"].items()}
    inner = schema.get("additionalProperties")
    return {"name": _value(name, inner, parts)} if isinstance(inner, Mapping) else {}


def _text(name: str, schema: Schema) -> str:
    if name == "at" or name.endswith(_TIMES) or schema.get("format") == "date-time":
        return AT
    if name == "dated":
        return AT[:10]
    if schema.get("contentEncoding") == "base64":
        return "TGlmZWxvZyBleGFtcGxl"
    if "64" in schema.get("pattern", ""):
        return "5f" * 32
    return next((text for end, text in _TEXTS.items() if name.endswith(end)), "text")


def _number(name: str, schema: Schema, *, whole: bool) -> float:
    usual = next((number for end, number in _NUMBERS.items() if name.endswith(end)), 1)
    least = schema.get("minimum", schema.get("exclusiveMinimum", usual))
    most = schema.get("maximum", schema.get("exclusiveMaximum", usual))
    number = min(max(usual, least), most)
    return int(number) if whole else number
