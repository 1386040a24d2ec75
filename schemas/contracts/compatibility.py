"""Whether two versions of a type read each other's records: FULL_TRANSITIVE, rule by rule.

Confluent's Schema Registry names the mode: every version reads what every other one wrote. For our
records that comes to four rules over JSON Schemas as `schemas.catalogue` makes them: a field is
never removed, an added field is not required, a field's type stays the same, and a word is never
added to or taken from an enumeration (a reader of before would refuse it).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]

# What documents a schema and constrains nothing.
_WORDS = frozenset({"title", "description", "default", "$schema", "$id", "$defs", "examples"})


def breaks(old: Schema, new: Schema) -> list[str]:
    """Why records of one version cannot be read by the other; empty if they can.

    Args:
        old: The JSON Schema of a type as some version published it, with its `$defs`.
        new: The same type's schema of a later version.
    """
    both = _Both(old.get("$defs", {}), new.get("$defs", {}))
    return list(both.schemas(old, new, "", frozenset()))


@dataclass(frozen=True, slots=True)
class _Both:
    """Two versions, with the parts that each is made of."""

    olds: Schema
    news: Schema

    def schemas(self, old: Schema, new: Schema, at: str, inside: frozenset[str]) -> Iterator[str]:
        """What differs between two schemas of one place; `inside` names the parts around it."""
        name = _name(old) or _name(new)
        if name in inside:
            return  # a type within itself was compared already
        inside |= {name} if name else frozenset()
        old, new = _resolved(old, self.olds), _resolved(new, self.news)
        if "properties" in old and "properties" in new:
            yield from self.fields(old, new, at, inside)
        for key in sorted(_constraints(old) | _constraints(new)):
            yield from self.constraint(key, old.get(key), new.get(key), at, inside)

    def constraint(
        self, key: str, old: Any, new: Any, at: str, inside: frozenset[str]
    ) -> Iterator[str]:
        """What differs in one keyword, which may hold schemas of its own."""
        if key == "format" and (old is None or new is None):
            return  # an annotation that one of them has: another format would be another meaning
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from self.schemas(old, new, f"{at}[]", inside)
        elif key in {"anyOf", "prefixItems"} and old and new and len(old) == len(new):
            below = at if key == "anyOf" else f"{at}[]"
            for one, other in zip(old, new, strict=True):
                yield from self.schemas(one, other, below, inside)
        elif (sorted(old) != sorted(new)) if key == "enum" and old and new else old != new:
            yield f"{at or 'the record'}: {key} was {old} and is {new}"

    def fields(self, old: Schema, new: Schema, at: str, inside: frozenset[str]) -> Iterator[str]:
        """What differs in the fields of one object."""
        before, after = old["properties"], new["properties"]
        needed, needs = set(old.get("required", ())), set(new.get("required", ()))
        for field in before:
            if field not in after:
                yield f"{at}.{field}: removed"
            else:
                yield from self.schemas(before[field], after[field], f"{at}.{field}", inside)
        for field in sorted(needs - needed):
            yield f"{at}.{field}: required, and was {'not' if field in before else 'not there'}"
        for field in sorted((needed - needs) & after.keys()):
            yield f"{at}.{field}: no longer required, so a reader of before may miss it"


def _constraints(schema: Schema) -> set[str]:
    return schema.keys() - _WORDS - {"properties", "required"}


def _name(schema: Schema) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _resolved(schema: Schema, parts: Schema) -> Any:
    return parts[_name(schema)] if "$ref" in schema else schema
