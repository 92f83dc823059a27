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
from langgraph_memory_r1.evals.report.figures import Figure
from langgraph_memory_r1.evals.report.question_data import questions_json
from langgraph_memory_r1.evals.report.result_tables import Row, Table, rule_of
from langgraph_memory_r1.evals.report.results import Run
from langgraph_memory_r1.evals.report.run_description import licence_of, overview, title_of, warnings_of
from langgraph_memory_r1.evals.report.sections import Section

__all__ = ["page"]

_NUMBER = re.compile(r"[\d.,–%-]+( \(.*\)| s| min)?")
_INTERVAL = re.compile(r"([\d.,]+) (\(.*\))")


def page(run: Run, sections: Sequence[Section]) -> str:
    """The whole page."""
    links = [(section.id, section.title) for section in sections] + [("questions", "Questions")]
    script = _part("page.js")
    return Template(_part("page.html")).substitute(
        title=escape(title_of(run)),
        version=__version__,
        facts=escape(" · ".join(overview(run))),
        warnings=_warnings(warnings_of(run)),
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


def _warnings(sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<aside class="warnings" aria-label="Before you read the numbers"><ul>{items}</ul></aside>' if items else ""


def _section(section: Section) -> str:
    note = f'<p class="note">{escape(section.note)}</p>' if section.note else ""
    figures = "".join(_figure(figure) for figure in section.figures)
    plots = f'<div class="figures">{figures}</div>' if figures else ""
    shown = "".join(_table(table) for table in section.tables)
    heading = f'<h2 id="{section.id}-title">{escape(section.title)}</h2>'
    return f'<section id="{section.id}" aria-labelledby="{section.id}-title">{heading}{note}{plots}{shown}</section>'


def _figure(figure: Figure) -> str:
    return f"<figure>{figure.svg}<figcaption>{escape(figure.caption)}</figcaption></figure>"


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col"{_numeric(table.rows, place)}>{escape(title)}</th>' for place, title in enumerate(table.titles)
    )
    body = "".join(_row(table, place) for place in range(len(table.rows)))
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    title = escape(table.title)
    return (
        f'<h3>{title}</h3><div class="scroll" role="region" aria-label="{title}" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}"
    )


def _row(table: Table, place: int) -> str:
    first, *rest = table.rows[place]
    kind = ' class="paper"' if place >= len(table.rows) - table.quoted else ""
    cells = "".join(
        _cell(cell, _numeric(table.rows, column), table.links.get((place, column)))
        for column, cell in enumerate(rest, 1)
    )
    return f'<tr{kind}><th scope="row">{escape(first)}</th>{cells}</tr>'


def _cell(text: str, kind: str, link: str | None) -> str:
    found = _INTERVAL.fullmatch(text)
    number, rest = (found[1], f" <small>{escape(found[2])}</small>") if found else (text, "")
    shown = f'<a href="{escape(link)}">{escape(number)}</a>' if link else escape(number)
    return f"<td{kind}>{shown}{rest}</td>"


def _numeric(rows: Sequence[Row], column: int) -> str:
    cells = [row[column] for row in rows]
    return ' class="n"' if column and cells and all(_NUMBER.fullmatch(cell) for cell in cells) else ""
