"""What is new in a conversation, cut into batches that one model call can look at.

NewTurns ─► new_turns (not in the bank yet, no quotes from it) ─► batch_turns: Batch ─► extract ─► manage
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.bank.ledger import TurnMark
from langgraph_memory_r1.quotes import without_quotes
from langgraph_memory_r1.schemas import Fact, Turn
from langgraph_memory_r1.turns import NewTurns

log = logging.getLogger(__name__)

NOTHING = "nothing to remember"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much text is looked at, in characters."""

    batch_turns: int = 10
    """Turns that one model call looks at; 2 is the setting of Memory-R1, more is cheaper."""
    batch_chars: int = 8_000
    """Text that one model call looks at; a longer turn is cut into pieces of this size."""
    turn_chars: int = 64_000
    """Longest turn that is looked at as a whole; the rest is left out, with a warning."""

    @classmethod
    def as_trained(cls, source: str) -> Limits:
        """As in a training on rows of this source: conversations go turn by turn, traces as they were recorded."""
        return cls() if source == "traces" else cls(batch_turns=1)


@dataclass(frozen=True, slots=True)
class Batch:
    """Turns that one model call looked at, on their way to the manager."""

    turns: tuple[Turn, ...]
    facts: tuple[Fact, ...] = ()
    cursor: str | None = None
    """The last message that these turns cover."""
    reason: str = NOTHING
    """Why there are no facts, if there are none."""
    marks: tuple[TurnMark, ...] = ()
    """For each turn what the bank knows it by; none where no bank was asked."""
    edited: tuple[str, ...] = ()
    """Ids of the turns that the bank has heard with another text."""

    @property
    def source(self) -> tuple[str, ...]:
        """Ids of the turns."""
        return tuple(dict.fromkeys(turn.id for turn in self.turns))

    def without(self, keys: Collection[str]) -> Batch:
        """Return the batch without the turns of these marks' keys, and without what they said."""
        if not keys:
            return self
        kept = [(turn, mark) for turn, mark in zip(self.turns, self.marks, strict=True) if mark.key not in keys]
        ids = {turn.id for turn, _ in kept}
        return replace(
            self,
            turns=tuple(turn for turn, _ in kept),
            marks=tuple(mark for _, mark in kept),
            facts=tuple(fact for fact in self.facts if ids & set(fact.source)),
            edited=tuple(turn_id for turn_id in self.edited if turn_id in ids),
        )


_BATCH = TypeAdapter(Batch)


def new_turns(bank: MemoryBank, turns: NewTurns, limits: Limits, memory: str | None = None) -> NewTurns:
    """Return the turns that the bank does not know, cut up where too long, without what they quote from the bank.

    Those before the cursor count only where they were edited since, and those of a thread only where the thread was
    the bank's when they were said.

    Args:
        bank: The bank.
        turns: What was said.
        limits: How long a turn may be.
        memory: Which memory of the application it is, see `ThreadClaims`; without it whatever was said counts.
    """
    before = [(turn, bank.mark(turn)) for turn in turns.before]
    looked_at: list[tuple[Turn, str | None]] = []
    if before:
        looked_at = [(turn, None) for (turn, _), state in zip(before, bank.known(before), strict=True) if state is None]
    looked_at += zip(turns.turns, turns.cursors, strict=True)
    parts: dict[str, tuple[Turn, TurnMark, str | None]] = {}
    wholes: dict[str, Turn] = {}
    for turn, cursor in looked_at:
        cut = pieces(turn, limits)
        # The cursor moves with the last piece only: a run that dies between two pieces must look at the turn again.
        for part, each in zip(cut, [None] * (len(cut) - 1) + [cursor], strict=True):
            mark = bank.mark(part, turn.text)
            parts[mark.key], wholes[mark.key] = (part, mark, each), turn
    answers = dict(
        zip(parts, bank.known([(part, mark) for part, mark, _ in parts.values()], turns.replayed_since), strict=True)
    )
    new = dict.fromkeys(wholes[key] for key, answer in answers.items() if not answer)
    own = set(said_to(bank, replace(turns, turns=tuple(new)), turns.thread, memory))
    unseen = [part for key, part in parts.items() if not answers[key] and wholes[key] in own]
    edited = {mark.key for _, mark, _ in unseen if answers[mark.key] is None}
    of_assistant = turns.own | turns.own_before
    # Reading all texts of a bank is dear; only what the assistant says can quote them.
    memories = bank.texts() if any(part.id in of_assistant for part, _, _ in unseen) else []
    unquoted = [
        replace(part, text=without_quotes(part.text, memories)) if part.id in of_assistant else part
        for part, _, _ in unseen
    ]
    counts = {
        "known": sum(bool(answer) for answer in answers.values()),
        "of_others": len(new) - len(own),
        "quoted": sum(part.text != left.text for (part, _, _), left in zip(unseen, unquoted, strict=True)),
        "cut_short": sum(len(turn.text) > limits.turn_chars for turn in turns.turns),
    }
    return replace(
        turns,
        turns=tuple(unquoted),
        cursors=tuple(cursor for _, _, cursor in unseen),
        skipped=Counter(turns.skipped) + Counter(counts),
        marks=tuple(bank.edited(mark) if mark.key in edited else mark for _, mark, _ in unseen),
        # What an assistant says otherwise takes nothing back: much of it are quotes, which were left out just now.
        edited=frozenset(part.id for part, mark, _ in unseen if mark.key in edited and part.id not in of_assistant),
    )


def said_to(bank: MemoryBank, new: NewTurns, thread: str | None, memory: str | None) -> list[Turn]:
    """Return the turns that were said to a bank: what an earlier owner of the thread said is none of its business.

    Of a memory that cannot be told from another one of the thread it is not known whose turns were claimed for it.
    """
    of_thread = [turn for turn in new.turns if thread is not None and turn.session == thread]
    if thread is None or memory is None or not of_thread:
        return list(new.turns)
    own = dict(zip(of_thread, bank.claim(thread, memory, of_thread, new.run), strict=True))
    return [turn for turn in new.turns if own.get(turn, True)]


def batch_turns(new: NewTurns, limits: Limits) -> list[Batch]:
    """Group turns, in their order, into batches for one model call each; still without facts."""
    batches: list[Batch] = []
    size = 0
    for number, (turn, cursor) in enumerate(zip(new.turns, new.cursors, strict=True)):
        full = batches and len(batches[-1].turns) == limits.batch_turns
        if not batches or full or size + len(turn.text) > limits.batch_chars:
            batches.append(Batch(()))
            size = 0
        batch, edited = batches[-1], (turn.id,) if turn.id in new.edited else ()
        marks = new.marks[number : number + 1]
        batches[-1] = replace(
            batch,
            turns=(*batch.turns, turn),
            cursor=cursor,
            marks=(*batch.marks, *marks),
            edited=(*batch.edited, *edited),
        )
        size += len(turn.text)
    if batches:
        # The newest message may be no turn at all (a picture, a tool's result); it is dealt with all the same.
        batches[-1] = replace(batches[-1], cursor=new.last)
    return batches


def batch_as_dict(batch: Batch) -> dict[str, Any]:
    """A batch as it stands in the graph's state, on its way from node to node."""
    return {**_BATCH.dump_python(batch, mode="json")}


def as_batch(pending: dict[str, Any]) -> Batch:
    """The batch behind a dictionary."""
    return _BATCH.validate_python(pending)


def pieces(turn: Turn, limits: Limits) -> list[Turn]:
    """The turn, cut up if it is too long for one model call; the pieces after the first have ids of their own."""
    text = turn.text
    if len(text) > limits.turn_chars:
        log.warning(
            "Turn %r has %d characters; memory looks at the first %d. Split it, or raise Limits(turn_chars=...).",
            turn.id, len(text), limits.turn_chars,
        )  # fmt: skip
        text = text[: limits.turn_chars]
    parts = enumerate(_split(text, limits.batch_chars), 1)
    return [replace(turn, text=part, id=turn.id if number == 1 else f"{turn.id}#{number}") for number, part in parts]


def _split(text: str, size: int) -> Iterator[str]:
    """Pieces of at most `size` characters, cut at white space where there is any in the second half."""
    while len(text) > size:
        cut = max(text.rfind(" ", size // 2, size), text.rfind("\n", size // 2, size))
        cut = cut if cut > 0 else size
        yield text[:cut].rstrip()
        text = text[cut:].lstrip()
    yield text
