"""Replies of models: the JSON schemas that they are held to, and how the JSON is found in what they wrote.

It is found bare, fenced, in prose, behind thoughts, slightly broken.

Broken syntax is repaired only where that invents and cuts nothing: output that stops in the middle of a text or a
number is refused, because a memory would be overwritten with half of its text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import json_repair

from langgraph_memory_r1.errors import OutputError

REPAIRABLE = 20_000
"""Longest broken JSON, in characters, that is repaired; repairing takes more than linear time."""
_DEPTH = 32
"""Deeper nesting than this is not repaired."""
_TRIES = 200
"""So many brackets may open no JSON before the search is given up."""
_DECODER = json.JSONDecoder(strict=False)  # not strict: a text may hold bare line breaks
_OPENING = re.compile(r"[{\[]")
_NUMBER = re.compile(r"\[?(?:(?:fact|turn|memory) )?(\d{1,6})\]?")
_STRUCTURE = re.compile(r'\\.|["{}\[\]]', re.DOTALL)
_WORD = re.compile(r"\w+")
_THOUGHTS = re.compile(r"\s*<think>.*?</think>", re.IGNORECASE | re.DOTALL)
_END_ALONE = re.compile(r"^[ \t]*</think>[ \t]*$", re.IGNORECASE | re.MULTILINE)
_MARK = re.compile(r'\\.|["\n{\[]|</think>', re.IGNORECASE | re.DOTALL)
_REPLY_BEGINS = re.compile(r"\s*(?:\{|\[\s*[{\[\"\]]|```)")

Schema: TypeAlias = dict[str, Any]

NUMBER: Final[Schema] = {"type": "integer", "minimum": 0}
"""The number under which a turn, a fact or a memory is shown."""
TEXT: Final[Schema] = {"type": "string"}
"""Of any length: with a least length, vLLM's grammar allows control characters."""


def record(**fields: Schema) -> Schema:
    """Return the schema of an object with these fields, all of them required and in this order, and no other."""
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def list_of(item: Schema) -> Schema:
    """Return the schema of a list of any length."""
    return {"type": "array", "items": item}


def find_items(completion: str, keys: Sequence[str], item_keys: Sequence[str]) -> list[Any]:
    """Find the list that the model was asked for.

    Args:
        completion: What the model wrote.
        keys: Names under which an object may hold the list, e.g. `operations`.
        item_keys: A bare list counts if its items have one of these, and an object that has one is a list of one.

    Raises:
        OutputError: If no such list can be read.
    """
    text = without_thoughts(completion)
    opening = _OPENING.search(text)
    # In a reply that stops half-way, its complete objects are only a part of what was decided.
    complete = opening is None or _extent(text, opening.start()).closed
    items = _last_list(json_values(text), keys, item_keys, bare=complete)
    if items is None:
        items = _last_list(iter([repair(text)]), keys, item_keys, bare=True)
    if items is None:
        raise OutputError(f'The reply holds no JSON object with "{keys[0]}"; reply with that object and nothing else.')
    return items


def find_parts(completion: str, keys: Sequence[str], item_keys: Sequence[str]) -> tuple[list[Any], str | None]:
    """Find the list that the model was asked for, or as many of its items as are whole.

    Returns:
        The items, and why these are not all; None where they are.
    """
    try:
        return find_items(completion, keys, item_keys), None
    except OutputError as error:
        return _last_list(json_values(without_thoughts(completion)), keys, item_keys, bare=True) or [], str(error)


def without_thoughts(completion: str) -> str:
    """Return a reply without the thoughts before it, which may hold drafts of it.

    A tag that the reply itself quotes ("I wrote a parser for the </think> tag.") stays where it is.
    """
    if _REPLY_BEGINS.match(completion):
        return completion.strip()
    # Thoughts may quote the tag too: the one that counts has the reply behind it.
    before_json = [end for end in _unquoted_ends(completion) if _REPLY_BEGINS.match(completion, end)]
    first = _THOUGHTS.match(completion)
    # Some chat templates open the thoughts in the prompt: the reply shows only their end, on a line of its own.
    alone = [match.end() for match in _END_ALONE.finditer(completion)]
    ends = before_json[-1:] or ([first.end()] if first else alone[-1:])
    return completion[ends[0] if ends else 0 :].strip()


def json_values(text: str) -> Iterator[Any]:
    """Yield every complete JSON object and array in the text that is not inside another one."""
    position = tries = 0
    while tries < _TRIES and (opening := _OPENING.search(text, position)):
        try:
            value, position = _DECODER.raw_decode(text, opening.start())
        except (ValueError, RecursionError):  # 100 kB of brackets nest deeper than Python recurses
            tries, position = tries + 1, opening.end()
        else:
            yield value


def repair(text: str, *, cut: bool = False) -> Any:
    """Return the first JSON value of the text with its syntax mended, None where it cannot be.

    Args:
        text: What the model wrote.
        cut: Take JSON that stops in the middle of a text or a number for as much as it is.

    Raises:
        OutputError: If the JSON stops in the middle of a text or a number and may not.
    """
    opening = _OPENING.search(text)
    if opening is None:
        return None
    extent = _extent(text, opening.start())
    body = text[opening.start() : extent.end].rstrip("` \n\t")
    if extent.depth > _DEPTH or len(body) > REPAIRABLE:
        return None
    if not cut and (extent.in_text or body[-1] not in '}]",'):
        raise OutputError("The JSON stops before its end; reply again with the whole object, and keep it short.")
    try:
        return json_repair.loads(body)
    except (ValueError, RecursionError):
        return None


def number_of(value: Any, shown: int, noun: str) -> int:
    """Return the number of a shown entry, given as 0, "0" or "[0]".

    Raises:
        OutputError: If it is no number, or one that was not shown.
    """
    match = _NUMBER.fullmatch(value.strip()) if isinstance(value, str) else None
    number = int(match[1]) if match else value
    # JSON's true would pass for 1.
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < shown:
        return number
    allowed = f"use one of 0 to {shown - 1}" if shown else f"no {noun} was shown"
    raise OutputError(f"There is no {noun} {str(value)[:40]!r}; {allowed}.")


def shown_numbers(value: Any, shown: int, noun: str) -> list[int]:
    """Return the numbers of shown entries in a value, given as one or a list; what names none is passed over."""
    numbers: set[int] = set()
    for each in value if isinstance(value, list) else [value]:
        with suppress(OutputError):
            numbers.add(number_of(each, shown, noun))
    return sorted(numbers)


def closest(text: str, candidates: Sequence[str]) -> list[int]:
    """Return which of the shown texts a model meant when it did not say.

    That is the position of the candidate that shares most of its words with the text; all positions if none shares any.
    """
    words = set(_WORD.findall(text.lower()))
    overlaps: list[float] = []
    for candidate in candidates:
        other = set(_WORD.findall(candidate.lower()))
        # Dice's coefficient, so that a long candidate does not win by its length.
        overlaps.append(2 * len(words & other) / max(1, len(words) + len(other)))
    best = max(overlaps, default=0.0)
    return [overlaps.index(best)] if best > 0 else list(range(len(candidates)))


def _unquoted_ends(text: str) -> Iterator[int]:
    """Yield where thoughts may end: behind every closing tag that does not stand between the quotes of JSON."""
    opened = in_text = False
    for match in _MARK.finditer(text):
        sign = match[0]
        if sign in "{[":
            opened = True
        elif sign in '"\n':  # a quote that prose leaves open ends with its line
            in_text = sign == '"' and opened and not in_text
        elif sign[0] == "<" and not in_text:
            yield match.end()


def _last_list(values: Iterator[Any], keys: Sequence[str], item_keys: Sequence[str], *, bare: bool) -> list[Any] | None:
    """Return the last list that counts: models that think aloud write drafts first."""
    items: list[Any] | None = None
    for value in values:
        key = next((key for key in keys if key in value), None) if isinstance(value, dict) else None
        if key is not None:
            items = value[key] if isinstance(value[key], list) else [value[key]]
        elif bare and _is_item(value, item_keys):
            items = [*(items or []), value]
        elif bare and isinstance(value, list) and (not value or any(_is_item(item, item_keys) for item in value)):
            items = value
    return items


def _is_item(value: Any, item_keys: Sequence[str]) -> bool:
    return isinstance(value, dict) and any(key in value for key in item_keys)


@dataclass(frozen=True, slots=True)
class _Extent:
    """Where the JSON that starts somewhere in a text ends, judged by its quotes and brackets."""

    end: int
    depth: int
    in_text: bool
    closed: bool


def _extent(text: str, start: int) -> _Extent:
    depth = deepest = 0
    in_text = False
    for match in _STRUCTURE.finditer(text, start):
        sign = match[0]
        if sign == '"':
            in_text = not in_text
        elif not in_text and sign in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif not in_text and sign in "}]":
            depth -= 1
            if depth <= 0:
                return _Extent(match.end(), deepest, in_text=False, closed=True)
    return _Extent(len(text), deepest, in_text=in_text, closed=False)
