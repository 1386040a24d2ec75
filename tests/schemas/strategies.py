"""Hypothesis strategies for payloads, made from the types themselves."""

import datetime
from typing import Any

import msgspec
from hypothesis import strategies as some
from msgspec import inspect


def payloads(kind: type[msgspec.Struct]) -> some.SearchStrategy[Any]:
    """Any payload of one type."""
    return some.builds(
        lambda values: kind(**values),
        some.fixed_dictionaries(
            {field.name: _of(field.type) for field in inspect.type_info(kind).fields}  # type: ignore[union-attr]
        ),
    )


def _of(kind: inspect.Type) -> some.SearchStrategy[Any]:
    match kind:
        case inspect.Metadata():
            return _of(kind.type)
        case inspect.StrType():
            if kind.pattern:
                return some.from_regex(kind.pattern.removesuffix("$") + r"\Z")
            return some.text(some.characters(codec="utf-8"), max_size=12)
        case inspect.BoolType():
            return some.booleans()
        case inspect.IntType():
            low = kind.ge if kind.ge is not None else -(2**53)
            return some.integers(low, 2**53)
        case inspect.FloatType():
            low = float(kind.ge) if kind.ge is not None else None
            return some.floats(low, allow_nan=False, allow_infinity=False)
        case inspect.NoneType():
            return some.none()
        case inspect.BytesType():
            return some.binary(max_size=12)
        case inspect.DateTimeType():
            return some.datetimes(datetime.datetime(1900, 1, 1), timezones=some.just(datetime.UTC))
        case inspect.DateType():
            return some.dates(datetime.date(1000, 1, 1))
        case inspect.LiteralType():
            return some.sampled_from(kind.values)
        case inspect.UnionType():
            return some.one_of(*map(_of, kind.types))
        case inspect.VarTupleType():
            return some.lists(_of(kind.item_type), max_size=2).map(tuple)
        case inspect.TupleType():
            return some.tuples(*map(_of, kind.item_types))
        case inspect.DictType():
            return some.dictionaries(_of(kind.key_type), _of(kind.value_type), max_size=2)
        case inspect.StructType():
            return payloads(kind.cls)
        case _:
            raise TypeError(f"no strategy for {kind}")
