"""MSC: one question about four earlier chats of two people (MSC-Self-Instruct, "deep memory retrieval").

Data: https://huggingface.co/datasets/MemGPT/MSC-Self-Instruct (Packer et al., 2023; questions Apache-2.0) over the
Multi-Session Chat dialogues (Xu et al., 2022). Read in three shapes, a JSON list or one record a line:

- as published: `previous_dialogs` whose turns alternate without names, `self_instruct: {B: question, A: answer}`;
- as Memory-R1's authors cleaned it: named speakers, `qa: {question, answer}`, asked in the third person;
- as a joined sample: `sessions`, `question`, `answer`.

Only the earlier sessions are remembered. Personas and summaries are left out: they hold the answers word for word. The
data gives times only as "5 days 4 hours ago"; they are counted back from `NOW`. No evidence turns are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from langgraph_memory_r1.evals.benchmark import Benchmark, Licence, Skipped, Source
from langgraph_memory_r1.evals.data_file import parse_json, required, typed
from langgraph_memory_r1.schemas import Conversation, Question, Turn

__all__ = ["MSC", "NOW"]

NOW: Final = datetime(2021, 7, 15, 12, tzinfo=UTC)
"""When the questions are asked: an arbitrary time, the day on which the dialogues were published."""

_HOURS = {"hour": 1, "day": 24, "week": 7 * 24, "month": 30 * 24, "year": 365 * 24}
_SPAN = re.compile(r"(\d+) (hour|day|week|month|year)s?")


class MSC(Benchmark):
    """The 500 questions of MSC-Self-Instruct."""

    name = "msc"
    title = "MSC-Self-Instruct (Packer et al., 2023)"
    licence = Licence(
        "Apache-2.0",
        "https://huggingface.co/datasets/MemGPT/MSC-Self-Instruct",
        "For the questions; the dialogues of Multi-Session Chat state no licence.",
    )
    sources = (
        Source(
            "msc_self_instruct.jsonl",
            "d3dbea36848b41dc46c0f1548d0ebf74eeaf6390d6f3fe9318e8480dc984495e",
            8_560_000,
            "https://huggingface.co/datasets/MemGPT/MSC-Self-Instruct/resolve/5138f416f8fa76b75b2e080da87e8a8e346e1500/msc_self_instruct.jsonl",
        ),
        Source(
            "msc_dmr_sample_40.jsonl",
            "d1460695049a8fabf76347fe5bfc8a401812f94037a2de3cf4759d277d157d94",
            336_908,
            sample=True,
        ),
    )
    splits = ("test",)
    default_split = "test"
    categories = ("session-recall",)
    metric = "f1_mem0"
    judge = "strict"

    def parse(self, content: bytes, location: str, skipped: Skipped) -> Iterator[Conversation]:
        """Yield one conversation for each record; a record without a question is passed over."""
        for number, (where, raw) in enumerate(_records(content, location)):
            record = typed(raw, dict, where)
            name = f"msc-{record.get('idx', number)}"
            texts = _question_and_answer(record)
            if texts is None:
                skipped("no question", name)
                continue
            question = Question(*texts, (), self.categories[0], name, NOW)
            yield Conversation(name, tuple(_turns(record, where, name, skipped)), (question,))

    def notes(self, source: Source | None) -> tuple[str, ...]:
        """Say that nothing is known about evidence and dates."""
        return (
            *super().notes(source),
            "the data names no evidence turns, so evidence recall cannot be computed; "
            f"its times are relative and count back from {NOW:%d %B %Y}",
        )


def _records(content: bytes, location: str) -> Iterator[tuple[str, Any]]:
    """Yield the records of a JSON list or of JSON lines, each with its place."""
    if content.lstrip().startswith(b"["):
        for number, record in enumerate(typed(parse_json(content, location), list, location)):
            yield f"{location}: record {number}", record
        return
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            yield f"{location}:{number}", parse_json(line, f"{location}:{number}")


def _question_and_answer(record: dict[str, Any]) -> tuple[str, str] | None:
    """Return the question and its answer, wherever this shape keeps them."""
    cleaned, published = (
        value if isinstance(value := record.get(key), dict) else {} for key in ("qa", "self_instruct")
    )
    pairs = ((cleaned.get("question"), cleaned.get("answer")), (published.get("B"), published.get("A")))
    for text, answer in (*pairs, (record.get("question"), record.get("answer"))):
        if isinstance(text, str) and text.strip() and isinstance(answer, (str, int, float)):
            return text.strip(), str(answer).strip()
    return None


def _turns(record: dict[str, Any], location: str, name: str, skipped: Skipped) -> Iterator[Turn]:
    """Yield the turns of the earlier sessions; one without a time has that of the session before it."""
    key = "sessions" if "sessions" in record else "previous_dialogs"
    speakers = record.get("speaker_a", "Speaker 1"), record.get("speaker_b", "Speaker 2")
    at = NOW
    for number, raw in enumerate(required(record, key, list, location), 1):
        where = f"{location} session {number}"
        session = typed(raw, dict, where)
        time_back = session.get("time_back") or session.get("time_back_from_session3")
        ago = _ago(time_back)
        if ago is None:
            skipped("session without a time", name, repr(time_back))
        at = at if ago is None else NOW - ago
        for index, raw_turn in enumerate(required(session, "dialog", list, where)):
            turn = typed(raw_turn, dict, f"{where} turn {index}")
            speaker = str(turn.get("speaker") or turn.get("id") or speakers[index % 2])
            text = required(turn, "text", str, f"{where} turn {index}")
            yield Turn(speaker, text, at, f"D{number}:{index + 1}", f"session_{number}")


def _ago(time_back: object) -> timedelta | None:
    """Return how long ago "5 days 4 hours ago" is; None where it is no time."""
    text = str(time_back).strip()
    spans = _SPAN.findall(text)
    if not spans and text != "0":
        return None
    return timedelta(hours=sum(int(count) * _HOURS[unit] for count, unit in spans))
