"""JSON Schemas that say which texts are times: msgspec does so only for those that need a zone.

`format` is an annotation: a reader that does not know it loses nothing, and no record is refused
for it that was taken before.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import inspect

FORMAT = "date-time"  # RFC 3339, as JSON Schema names it

Schema = dict[str, Any]


def schemas_of(kinds: Sequence[Any], template: str) -> tuple[list[Schema], Schema]:
    """What `msgspec.json.schema_components` gives, with the format of every time.

    Args:
        kinds: Types.
        template: How a schema refers to another, with `{name}` in it.
    """
    found, parts = msgspec.json.schema_components(kinds, ref_template=template)
    seen: set[type] = set()
    for schema, kind in zip(found, inspect.multi_type_info(kinds), strict=True):
        _tell(schema, kind, parts, seen)
    return list(found), parts


def _tell(schema: Schema, kind: inspect.Type, parts: Schema, seen: set[type]) -> None:
    """Put the format where a type has a time, and in all that it is made of."""
    if isinstance(kind, inspect.DateTimeType):
        schema["format"] = FORMAT
        return
    if isinstance(kind, inspect.StructType):
        if kind.cls in seen:
            return
        seen.add(kind.cls)
    for inner, of in _within(schema, kind, parts):
        _tell(inner, of, parts, seen)


def _within(
    schema: Schema, kind: inspect.Type, parts: Schema
) -> Iterator[tuple[Schema, inspect.Type]]:
    match kind:
        case inspect.Metadata():
            yield schema, kind.type
        case inspect.UnionType():
            for one in kind.types:
                yield _choice(schema, one), one
        case inspect.CollectionType():
            yield schema.get("items", {}), kind.item_type
        case inspect.TupleType():
            yield from zip(schema.get("prefixItems", ()), kind.item_types, strict=False)
        case inspect.DictType():
            yield schema.get("additionalProperties", {}), kind.value_type
        case inspect.StructType():
            properties = parts[kind.cls.__name__]["properties"]
            yield from ((properties[one.encode_name], one.type) for one in kind.fields)
        case _:
            return


def _choice(schema: Schema, kind: inspect.Type) -> Schema:
    """The schema of one type of a union: they stand in msgspec's order, not in the union's."""
    match kind:
        case inspect.DateTimeType():
            word = "string"
        case inspect.CollectionType() | inspect.TupleType():
            word = "array"
        case inspect.DictType():
            word = "object"
        case _:
            return {}
    choices = schema.get("anyOf", [])
    return next((one for one in choices if one.get("type") == word and "enum" not in one), {})
