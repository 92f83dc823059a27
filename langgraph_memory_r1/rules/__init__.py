"""The no-model baseline `rules`: facts, operations and answers by rules over English sentences. A baseline to beat.

    turns ─► extract_facts ─► facts ─► decide (operations.py) ─► operations
    question, memories ─► answer (answers.py)

What it does: keeps the sentences of both speakers that say something, in the third person and with absolute dates;
adds, merges, supersedes and removes memories by the words that they share and by markers such as "another", "actually"
or "stopped"; answers with the best sentence, a part of it, its date or a count. Deterministic, and free of any model.

What it cannot do: read between the lines, resolve "he" or "there" beyond the sentence before, see that two wordings
mean the same ("puppy" and "dog"), combine memories except to count them, or understand another language (such sentences
are kept as they are). Where it is not sure it adds: a memory too many is better than one lost.
"""

from __future__ import annotations

from collections.abc import Sequence

from langgraph_memory_r1.rules.answers import answer
from langgraph_memory_r1.rules.dates import resolve
from langgraph_memory_r1.rules.markers import takes_back
from langgraph_memory_r1.rules.operations import decide
from langgraph_memory_r1.rules.sentences import (
    is_question,
    is_worth_keeping,
    leans_on_previous,
    needs_question,
    sentences,
    statement_of,
    third_person,
)
from langgraph_memory_r1.schemas import Fact, Turn
from langgraph_memory_r1.tokenizer import terms

__all__ = ["answer", "decide", "extract_facts"]


def extract_facts(turns: Sequence[Turn]) -> list[Fact]:
    """Extract the sentences of these turns that are worth remembering, each made to stand alone.

    A sentence that begins with "it", "she" and the like joins the one before it; a short answer joins its question.
    """
    facts: list[Fact] = []
    asker, question = "", ""
    for turn in turns:
        speaker, parts = turn.speaker, sentences(turn.text)
        answered = question if asker != speaker and terms(question) else ""
        pieces: list[str] = []
        for number, sentence in enumerate(parts):
            statement = statement_of(sentence)
            if not statement or not (is_worth_keeping(statement) or takes_back(statement)):
                continue
            if pieces and leans_on_previous(statement):
                pieces[-1] += f" {third_person(statement, speaker).removeprefix(f'{speaker}: ')}"
            elif answered and number == 0 and needs_question(statement):
                pieces.append(f'{speaker}, asked "{answered}": {statement}')
            else:
                pieces.append(third_person(statement, speaker))
        source = (turn.id,) if turn.id else ()
        facts += [Fact(resolve(piece, turn.at), speaker, turn.at, source, turn.session) for piece in pieces]
        asker, question = speaker, parts[-1] if parts and is_question(parts[-1]) else ""
    return facts
