"""The filter language of `BaseStore.search`, compiled to a predicate over an item's value.

    {"user.plan": {"$in": ["pro", "team"]}, "$or": [{"age": {"$gte": 18}}, {"guardian": {"$ne": None}}]}

Values are compared as JSON values: numbers with numbers, text with text, `true` is not 1, and a field that is missing
equals None and is neither greater nor less than anything. A filter never reaches SQL.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Predicate: TypeAlias = Callable[[Any], bool]

_MISSING = object()
_KEY = re.compile(r"[^\x00-\x1f\x7f'\"`\\;$]+")


def compile_filter(spec: Mapping[str, Any] | None) -> Predicate | None:
    """Turn a filter into a predicate over an item's value; None where there is nothing to filter.

    Raises:
        ValueError: an operator is unknown, takes another argument, or a key holds quotes or control characters.
    """
    if not spec:
        return None
    if not isinstance(spec, Mapping):
        raise ValueError(f"A filter is a mapping of fields to conditions, not {spec!r}.")
    return _all([_clause(key, condition) for key, condition in spec.items()])


def _clause(key: str, condition: Any) -> Predicate:
    if key in ("$and", "$or"):
        parts = [compile_filter(part) or _always for part in _list_of(key, condition)]
        return _all(parts) if key == "$and" else lambda value: any(part(value) for part in parts)
    if key == "$not":
        inner = compile_filter(condition) or _always
        return lambda value: not inner(value)
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ValueError(f"Invalid filter key: {key!r}. A key is a field name, with dots between levels.")
    test = _condition(condition)
    return lambda value: test(_field(value, key))


def _condition(condition: Any) -> Predicate:
    if not isinstance(condition, Mapping):
        return lambda field: _equal(field, condition)
    names = [str(name) for name in condition]
    if not any(name.startswith("$") for name in names):
        parts = [(name, _condition(part)) for name, part in condition.items()]
        return lambda field: isinstance(field, Mapping) and all(test(field.get(name, _MISSING)) for name, test in parts)
    if unknown := [name for name in names if name not in _OPERATORS]:
        raise ValueError(f"Unsupported operator: {unknown[0]}. The operators are {', '.join(_OPERATORS)}.")
    return _all([_OPERATORS[name](argument) for name, argument in condition.items()])


def _field(value: Any, key: str) -> Any:
    """Return the value at a dotted path; a field whose own name has dots comes first."""
    if not isinstance(value, Mapping):
        return _MISSING
    if key in value:
        return value[key]
    for cut in (i for i, char in enumerate(key) if char == "."):
        if key[:cut] in value:
            return _field(value[key[:cut]], key[cut + 1 :])
    return _MISSING


def _equal(field: Any, expected: Any) -> bool:
    if field is _MISSING:
        return expected is None
    if isinstance(expected, Mapping):
        if not isinstance(field, Mapping) or field.keys() != expected.keys():
            return False
        return all(_equal(field[key], part) for key, part in expected.items())
    if isinstance(expected, (list, tuple)):
        return isinstance(field, (list, tuple)) and len(field) == len(expected) and all(map(_equal, field, expected))
    if isinstance(field, bool) is not isinstance(expected, bool):  # Python says that True is 1; JSON does not.
        return False
    return bool(field == expected)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any], Predicate]:
    def build(expected: Any) -> Predicate:
        if isinstance(expected, bool) or not isinstance(expected, (int, float, str)):
            raise ValueError(f"Invalid filter value: {expected!r}. Only numbers and text are ordered.")
        kinds = str if isinstance(expected, str) else (int, float)
        return lambda field: isinstance(field, kinds) and not isinstance(field, bool) and compare(field, expected)

    return build


def _among(expected: Any) -> Predicate:
    choices = _list_of("$in / $nin", expected)
    return lambda field: any(_equal(field, choice) for choice in choices)


def _contains(expected: Any) -> Predicate:
    parts = list(expected) if isinstance(expected, (list, tuple)) else [expected]
    return lambda field: all(_holds(field, part) for part in parts)


def _holds(field: Any, part: Any) -> bool:
    if isinstance(field, str):
        return isinstance(part, str) and part in field
    return isinstance(field, (list, tuple)) and any(_equal(element, part) for element in field)


def _list_of(name: str, argument: Any) -> Sequence[Any]:
    if not isinstance(argument, (list, tuple, set, frozenset)):
        raise ValueError(f"Invalid filter value: {name} takes a list, not {argument!r}.")
    return list(argument)


def _negated(build: Callable[[Any], Predicate]) -> Callable[[Any], Predicate]:
    def negate(expected: Any) -> Predicate:
        test = build(expected)
        return lambda field: not test(field)

    return negate


def _equals(expected: Any) -> Predicate:
    return lambda field: _equal(field, expected)


def _all(parts: Sequence[Predicate]) -> Predicate:
    return parts[0] if len(parts) == 1 else lambda value: all(part(value) for part in parts)


def _always(_: Any) -> bool:
    return True


_OPERATORS: dict[str, Callable[[Any], Predicate]] = {
    "$eq": _equals,
    "$ne": _negated(_equals),
    "$gt": _ordered(operator.gt),
    "$gte": _ordered(operator.ge),
    "$lt": _ordered(operator.lt),
    "$lte": _ordered(operator.le),
    "$in": _among,
    "$nin": _negated(_among),
    "$contains": _contains,
    "$not": lambda condition: _negated(_condition)(condition),
}
