"""The report as one HTML page that loads nothing: numbers and plots stand in it, questions come from embedded JSON.

Only the page's own script may run: its hash is in the page's policy.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template

from langgraph_memory_r1 import __version__
from langgraph_memory_r1.evals.report.question_data import questions_json
from langgraph_memory_r1.evals.report.result_tables import Row, Table, rule_of
from langgraph_memory_r1.evals.report.results import BenchmarkRun
from langgraph_memory_r1.evals.report.run_description import licence_of, overview, title_of, warnings_of
from langgraph_memory_r1.evals.report.sections import Section

__all__ = ["page"]

_NUMBER = re.compile(r"[\d.,–%-]+( \(.*\)| s| min)?")
_INTERVAL = re.compile(r"([\d.,]+) (\(.*\))")


def page(run: BenchmarkRun, sections: Sequence[Section]) -> str:
    """Return the whole page."""
    links = [(section.id, section.title) for section in sections] + [("questions", "Questions")]
    script = _part("page.js")
    warnings = "".join(f"<li>{escape(sentence)}</li>" for sentence in warnings_of(run))
    if warnings:
        warnings = f'<aside class="warnings" aria-label="Before you read the numbers"><ul>{warnings}</ul></aside>'
    return Template(_part("page.html")).substitute(
        title=escape(title_of(run)),
        version=__version__,
        facts=escape(" · ".join(overview(run))),
        warnings=warnings,
        nav="".join(f'<li><a href="#{id}">{escape(title)}</a></li>' for id, title in links),
        sections="\n".join(_section(section) for section in sections),
        rule=escape(rule_of(run)),
        licence=escape(licence_of(run)),
        style=_part("page.css"),
        script=script,
        script_hash=f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}",
        data=questions_json(run),
    )


def _part(name: str) -> str:
    return (files("langgraph_memory_r1.evals.report") / name).read_text("utf-8")


def _section(section: Section) -> str:
    note = f'<p class="note">{escape(section.note)}</p>' if section.note else ""
    figures = "".join(
        f"<figure>{figure.svg}<figcaption>{escape(figure.caption)}</figcaption></figure>" for figure in section.figures
    )
    plots = f'<div class="figures">{figures}</div>' if figures else ""
    shown = "".join(_table(table) for table in section.tables)
    heading = f'<h2 id="{section.id}-title">{escape(section.title)}</h2>'
    return f'<section id="{section.id}" aria-labelledby="{section.id}-title">{heading}{note}{plots}{shown}</section>'


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col"{_numeric(table.rows, column)}>{escape(title)}</th>'
        for column, title in enumerate(table.titles)
    )
    body = "".join(_row(table, number) for number in range(len(table.rows)))
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    title = escape(table.title)
    return (
        f'<h3>{title}</h3><div class="scroll" role="region" aria-label="{title}" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}"
    )


def _row(table: Table, number: int) -> str:
    first, *cells = table.rows[number]
    html = f'<th scope="row">{escape(first)}</th>'
    for column, cell in enumerate(cells, 1):
        # The mean of "51.2 (48.0–54.4)" is what a reader looks for: its interval is small print, and no part of a link.
        interval = _INTERVAL.fullmatch(cell)
        value, rest = (interval[1], f" <small>{escape(interval[2])}</small>") if interval else (cell, "")
        link = table.links.get((number, column))
        shown = f'<a href="{escape(link)}">{escape(value)}</a>' if link else escape(value)
        html += f"<td{_numeric(table.rows, column)}>{shown}{rest}</td>"
    kind = ' class="paper"' if number >= len(table.rows) - table.quoted else ""
    return f"<tr{kind}>{html}</tr>"


def _numeric(rows: Sequence[Row], column: int) -> str:
    cells = [row[column] for row in rows]
    return ' class="n"' if column and cells and all(_NUMBER.fullmatch(cell) for cell in cells) else ""
