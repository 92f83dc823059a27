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
        return lambda found: _equal(found, condition)
    names = [str(name) for name in condition]
    if not any(name.startswith("$") for name in names):
        parts = [(name, _condition(part)) for name, part in condition.items()]
        return lambda found: isinstance(found, Mapping) and all(test(found.get(name, _MISSING)) for name, test in parts)
    if unknown := [name for name in names if name not in _OPERATORS]:
        raise ValueError(f"Unsupported operator: {unknown[0]}. The operators are {', '.join(_OPERATORS)}.")
    return _all([_OPERATORS[name](argument) for name, argument in condition.items()])


def _field(value: Any, key: str) -> Any:
    """The value at a dotted path; a field whose own name has dots comes first."""
    if not isinstance(value, Mapping):
        return _MISSING
    if key in value:
        return value[key]
    for cut in (i for i, char in enumerate(key) if char == "."):
        if key[:cut] in value:
            return _field(value[key[:cut]], key[cut + 1 :])
    return _MISSING


def _equal(found: Any, wanted: Any) -> bool:
    if found is _MISSING:
        return wanted is None
    if isinstance(wanted, Mapping):
        return (
            isinstance(found, Mapping) and found.keys() == wanted.keys() and all(map(_equal, *_paired(found, wanted)))
        )
    if isinstance(wanted, (list, tuple)):
        return isinstance(found, (list, tuple)) and len(found) == len(wanted) and all(map(_equal, found, wanted))
    if isinstance(found, bool) is not isinstance(wanted, bool):
        return False
    return bool(found == wanted)


def _paired(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    return [found[key] for key in wanted], list(wanted.values())


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any], Predicate]:
    def build(wanted: Any) -> Predicate:
        if isinstance(wanted, bool) or not isinstance(wanted, (int, float, str)):
            raise ValueError(f"Invalid filter value: {wanted!r}. Only numbers and text are ordered.")
        kinds = str if isinstance(wanted, str) else (int, float)
        return lambda found: isinstance(found, kinds) and not isinstance(found, bool) and compare(found, wanted)

    return build


def _among(wanted: Any) -> Predicate:
    choices = _list_of("$in / $nin", wanted)
    return lambda found: any(_equal(found, choice) for choice in choices)


def _contains(wanted: Any) -> Predicate:
    parts = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
    return lambda found: all(_holds(found, part) for part in parts)


def _holds(found: Any, part: Any) -> bool:
    if isinstance(found, str):
        return isinstance(part, str) and part in found
    return isinstance(found, (list, tuple)) and any(_equal(element, part) for element in found)


def _list_of(name: str, argument: Any) -> Sequence[Any]:
    if not isinstance(argument, (list, tuple, set, frozenset)):
        raise ValueError(f"Invalid filter value: {name} takes a list, not {argument!r}.")
    return list(argument)


def _negated(build: Callable[[Any], Predicate]) -> Callable[[Any], Predicate]:
    def negate(wanted: Any) -> Predicate:
        test = build(wanted)
        return lambda found: not test(found)

    return negate


def _equals(wanted: Any) -> Predicate:
    return lambda found: _equal(found, wanted)


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
