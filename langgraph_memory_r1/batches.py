"""What is new in a conversation, cut into batches that one model call can look at.

NewTurns ─► new_turns (not in the bank yet, no quotes from it) ─► batch_turns: Batch ─► extract ─► manage
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from langgraph_memory_r1.bank import MemoryBank
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

    @property
    def source(self) -> tuple[str, ...]:
        """Ids of the turns."""
        return tuple(dict.fromkeys(turn.id for turn in self.turns))


_BATCH = TypeAdapter(Batch)


def new_turns(bank: MemoryBank, turns: NewTurns, limits: Limits) -> NewTurns:
    """Return the turns that the bank does not know, cut up where too long, without what they quote from the bank."""
    cursors: dict[Turn, str | None] = {}
    for turn, cursor in zip(turns.turns, turns.cursors, strict=True):
        parts = pieces(turn, limits)
        # The cursor moves with the last piece only: a run that dies between two pieces must look at the turn again.
        cursors.update(dict.fromkeys(parts[:-1]))
        cursors[parts[-1]] = cursor
    seen = bank.seen()
    unseen = [part for part in cursors if part.id not in seen]
    # Reading all texts of a bank is dear; only what the assistant says can quote them.
    memories = bank.texts() if turns.own and unseen else []
    unquoted = [
        replace(part, text=without_quotes(part.text, memories)) if part.id in turns.own else part for part in unseen
    ]
    counts = {
        "known": len(cursors) - len(unseen),
        "quoted": sum(before.text != after.text for before, after in zip(unseen, unquoted, strict=True)),
        "cut_short": sum(len(turn.text) > limits.turn_chars for turn in turns.turns),
    }
    return replace(
        turns,
        turns=tuple(unquoted),
        cursors=tuple(cursors[part] for part in unseen),
        skipped=Counter(turns.skipped) + Counter(counts),
    )


def batch_turns(new: NewTurns, limits: Limits) -> list[Batch]:
    """Group turns, in their order, into batches for one model call each; still without facts."""
    batches: list[Batch] = []
    size = 0
    for turn, cursor in zip(new.turns, new.cursors, strict=True):
        full = batches and len(batches[-1].turns) == limits.batch_turns
        if not batches or full or size + len(turn.text) > limits.batch_chars:
            batches.append(Batch((turn,), cursor=cursor))
            size = len(turn.text)
        else:
            batches[-1] = replace(batches[-1], turns=(*batches[-1].turns, turn), cursor=cursor)
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
