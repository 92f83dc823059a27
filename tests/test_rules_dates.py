from __future__ import annotations

from datetime import UTC, datetime

import pytest

from langgraph_memory_r1.rules.dates import day, mentioned, resolve

AT = datetime(2023, 7, 15, 13, 51, tzinfo=UTC)  # a Saturday


@pytest.mark.parametrize(
    ("said", "date"),
    [
        ("I ran yesterday", "14 July 2023"),
        ("I read yesterday's", "14 July 2023"),
        ("I ran last night", "14 July 2023"),
        ("I ran the day before yesterday", "13 July 2023"),
        ("I am here today", "15 July 2023"),
        ("I leave tomorrow", "16 July 2023"),
        ("I ran last Friday", "14 July 2023"),
        ("I ran last Saturday", "8 July 2023"),
        ("I ran last Tues", "11 July 2023"),
        ("We meet next Friday", "21 July 2023"),
        ("I ran two days ago", "13 July 2023"),
        ("I ran 10 years ago", "2013"),
        ("I ran a couple of months ago", "May 2023"),
        ("I ran last week", "the week before 15 July 2023"),
        ("I ran two weekends ago", "two weekends before 15 July 2023"),
        ("I ran this past weekend", "the weekend before 15 July 2023"),
        ("I go next month", "August 2023"),
        ("I went last year", "2022"),
        ("I went last summer", "summer 2022"),
        ("I went last May", "May 2023"),
        ("I'll fly in three weeks", "three weeks after 15 July 2023"),
    ],
)
def test_a_relative_date_gets_its_absolute_one(said: str, date: str):
    resolved = resolve(said, AT)
    assert resolved == f"{said} ({date})"
    assert mentioned(resolved) == [date]
    assert resolve(resolved, AT) == resolved


@pytest.mark.parametrize("said", ["I read it in three weeks", "Lasting memories", "9999 years ago"])
def test_what_names_no_day_stays_as_it_is(said: str):
    assert resolve(said, AT) == said


def test_without_a_time_nothing_is_resolved():
    assert resolve("I ran yesterday", None) == "I ran yesterday"


def test_a_month_turns_the_year():
    assert resolve("last month", datetime(2024, 1, 3, tzinfo=UTC)) == "last month (December 2023)"


def test_dates_as_people_write_them_are_found():
    assert mentioned("Born on May 7, 1990, moved on 8 June and again in 2022") == ["May 7, 1990", "8 June", "2022"]
    assert day(AT) == "15 July 2023"
