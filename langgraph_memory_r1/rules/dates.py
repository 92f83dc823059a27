"""Dates in English text: "yesterday" against the day it was said becomes "yesterday (7 May 2023)".

    resolve("I ran last Friday", at)  ->  "I ran last Friday (14 July 2023)"
    mentioned("Ann ran last Friday (14 July 2023)")  ->  ["14 July 2023"]

Days, months and years come out exact. A week or a weekend, which has no one date, is named by the day of speaking
("the week before 9 June 2023"). "Next Friday" is the first Friday after that day. What is not understood stays as it
was said.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from langgraph_memory_r1.tokenizer import MONTHS

__all__ = ["day", "mentioned", "resolve"]

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKDAY = r"mon(?:day)?|tue(?:s(?:day)?)?|wed(?:nesday)?|thu(?:r(?:s(?:day)?)?)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?"
NUMBERS = "one two three four five six seven eight nine ten eleven twelve".split()
_COUNTS = {word: count for count, word in enumerate(NUMBERS, 1)}
_COUNTS |= {"a": 1, "an": 1, "a couple of": 2, "a couple": 2, "couple of": 2}
_COUNT = rf"a couple(?: of)?|a few|few|several|an?|{'|'.join(NUMBERS)}|\d{{1,3}}"
_SEASON = r"spring|summer|autumn|fall|winter"
_SEASON_END = {"spring": 5, "summer": 8, "autumn": 11, "fall": 11, "winter": 2}

_MONTH = "|".join(MONTHS)
_DATE = re.compile(
    rf"(?:the |a few |\w+ )?(?:weekends?|weeks?|days) (?:before|after|of) \d{{1,2}} (?:{_MONTH}) \d{{4}}"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?(?: of)? (?:{_MONTH})\b,?(?: \d{{4}})?"
    rf"|\b(?:{_MONTH}) \d{{1,2}}\b(?:st|nd|rd|th)?(?:,? \d{{4}})?"
    rf"|(?:\b(?:{_MONTH}|spring|summer|autumn|fall|winter|early|late|mid),? )?\b(?:19|20)\d\d\b"
)


def day(at: datetime) -> str:
    """Format a day as people write it: 7 May 2023."""
    return f"{at.day} {MONTHS[at.month - 1]} {at.year}"


def mentioned(text: str) -> list[str]:
    """Return the absolute dates that a text names, those that `resolve` wrote first."""
    resolved = [inner for inner in re.findall(r"\(([^()]*)\)", text) if _DATE.fullmatch(inner)]
    return resolved + [date for date in _DATE.findall(text) if date not in resolved]


def resolve(text: str, at: datetime | None) -> str:
    """Write the absolute date behind every relative one of a text; unchanged where `at` is unknown."""
    if at is None:
        return text

    def annotated(match: re.Match[str], absolute: _Absolute) -> str:
        try:
            date = absolute(match, at)
        except (OverflowError, ValueError):  # a year that the calendar does not have
            date = None
        return f"{match[0]} ({date})" if date else match[0]

    for pattern, absolute in _RULES:
        text = pattern.sub(partial(annotated, absolute=absolute), text)
    return text


def _shifted(days: int) -> _Absolute:
    return lambda match, at: day(at + timedelta(days=days))


def _distant(sign: int, *, future_only: bool = False) -> _Absolute:
    """Return the rule for so many days, weeks, months or years before (-1) or after (1) the day of speaking."""
    side = "before" if sign < 0 else "after"

    def absolute(match: re.Match[str], at: datetime) -> str | None:
        # "in two weeks" is a date in a sentence about the future, and a duration elsewhere ("I read it in two weeks").
        if future_only and not _FUTURE.search(match.string, 0, match.start()):
            return None
        word, unit = match["count"].lower(), match["unit"]
        count = int(word) if word.isdigit() else _COUNTS.get(word)
        if count is None:
            return f"a few {unit} {side} {day(at)}" if unit in ("days", "weeks", "weekends") else None
        if unit.startswith("day"):
            return day(at + timedelta(days=sign * count))
        if unit.startswith("week"):
            return f"{'the' if count == 1 else word} {unit} {side} {day(at)}"
        if unit.startswith("month"):
            return _month(at, sign * count)
        return str(at.year + sign * count)

    return absolute


def _month(at: datetime, shift: int) -> str:
    index = at.year * 12 + at.month - 1 + shift
    return f"{MONTHS[index % 12]} {index // 12}"


def _near(match: re.Match[str], at: datetime) -> str | None:
    """Return the week, month, year, season or weekday beside this one: "last May", "next Friday"."""
    which, unit = match["which"].lower(), match["unit"].lower()
    step = {"next": 1, "coming": 1, "upcoming": 1, "following": 1, "this": 0}.get(which, -1)
    if unit in ("week", "weekend"):
        return f"the {unit} {'before' if step < 0 else 'after' if step else 'of'} {day(at)}"
    if unit in ("month", "year"):
        return _month(at, step) if unit == "month" else str(at.year + step)
    if unit.capitalize() in MONTHS:
        return f"{unit.capitalize()} {_year(MONTHS.index(unit.capitalize()) + 1, step, at)}"
    if unit in _SEASON_END:
        return f"{unit} {_year(_SEASON_END[unit], step, at)}"
    days_ahead = (_WEEKDAYS.index(unit[:3]) - at.weekday()) % 7
    if step < 0:
        return day(at - timedelta(days=(7 - days_ahead) % 7 or 7))
    return day(at + timedelta(days=days_ahead or (7 if step else 0)))


def _year(month: int, step: int, at: datetime) -> int:
    """Return the year of the last (-1), this (0) or next (1) time that this month ends."""
    if step < 0:
        return at.year if at.month > month else at.year - 1
    return at.year + 1 if step and at.month >= month else at.year


_FUTURE = re.compile(r"'(?:ll|m|re)\b|\b(?:will|going to|gonna|is|are|due|starts?|leaves?|begins?)\b", re.IGNORECASE)
_Absolute = Callable[[re.Match[str], datetime], str | None]


def _rule(pattern: str, absolute: _Absolute) -> tuple[re.Pattern[str], _Absolute]:
    # Not inside a longer word, and not where an absolute date follows already.
    return re.compile(rf"(?<![\w-])(?:{pattern})(?:'s)?+(?![\w-])(?! ?\()", re.IGNORECASE), absolute


_UNITS = "days?|weeks?|weekends?|months?|years?"
# The longer phrase first. What a rule has annotated no later one matches: a date in brackets follows it.
_RULES = (
    _rule(r"the day before yesterday", _shifted(-2)),
    _rule(r"the day after tomorrow", _shifted(2)),
    _rule(r"(?<!day before )yesterday|last night", _shifted(-1)),
    _rule(r"(?<!day after )tomorrow", _shifted(1)),
    _rule(r"today|tonight|this (?:morning|afternoon|evening)", _shifted(0)),
    _rule(rf"(?P<count>{_COUNT}) (?P<unit>{_UNITS}) (?:ago|back)", _distant(-1)),
    _rule(rf"in (?P<count>{_COUNT}) (?P<unit>{_UNITS})", _distant(1, future_only=True)),
    _rule(rf"(?P<count>{_COUNT}) (?P<unit>{_UNITS}) from (?:now|today)", _distant(1)),
    _rule(
        rf"(?:this )?(?P<which>last|past|previous|next|coming|upcoming|following|this)"
        rf" (?P<unit>week|weekend|month|year|{_SEASON}|{_MONTH}|{_WEEKDAY})",
        _near,
    ),
)
