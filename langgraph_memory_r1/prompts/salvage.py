"""What can be kept of a reply that cannot be read as a whole: its good items, and what it leaves open.

    facts       a bad item is left out, a bad number of a turn passed over
    operations  a bad one is left out; a fact that no good one decides is open

What is open is asked for once more, by the complaint, and the second reply is read for that alone: the first one's good
items stand. `parse` takes a reply whole or not at all; training rewards by it what a model wrote, not what could be
made of it.

A fact is decided by an operation that names its number, by the text of one that says it, or by a NOOP for all that is
left. To leave a fact out is no decision: small models forget, and what is forgotten here would never be asked again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from langgraph_memory_r1.errors import OutputError
from langgraph_memory_r1.prompts.extract import MOST_FACTS, ExtractInput, read_fact
from langgraph_memory_r1.prompts.manage import DELETES_PER_FACT, UPDATES_PER_FACT, ManageInput, event_of, read_operation
from langgraph_memory_r1.prompts.replies import find_parts, shown_numbers
from langgraph_memory_r1.schemas import Add, Delete, Fact, Noop, Operation, Update
from langgraph_memory_r1.tokenizer import terms

KNOWN = "known already"
"""The reason of a NOOP where the bank says already what an operation or a fact says."""

_WORD = re.compile(r"\w+")
_PLACEHOLDER = re.compile(r"[.\u2026\s]+")
_SENTENCE_END = re.compile(r"[.!?;\u3002\uff01\uff1f\uff1b\n]+")
_STAYS = "a memory that stays as it is"
_MOST_NAMED = 20
"""So many open facts are named to the model."""
_CAPS = ((Delete, DELETES_PER_FACT), (Update, UPDATES_PER_FACT))


@dataclass(frozen=True, slots=True)
class FactsRead:
    """The facts of one reply, or of two."""

    facts: tuple[Fact, ...] = ()
    problem: str | None = None
    """What could not be read, in a sentence for the model."""
    complaint: str | None = None
    """How the rest is asked for; None where nothing is missing."""


@dataclass(frozen=True, slots=True)
class Decided:
    """An operation, and the numbers of the facts that it decides."""

    operation: Operation
    facts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OperationsRead:
    """The operations of one reply, or of two, and what they leave open."""

    decided: tuple[Decided, ...] = ()
    undecided: tuple[int, ...] = ()
    """Numbers of the facts about which nothing is decided."""
    asked: tuple[int, ...] = ()
    """Numbers of the facts that the complaint asks about: those, and the ones that a bad item named."""
    problem: str | None = None
    complaint: str | None = None

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations alone."""
        return tuple(each.operation for each in self.decided)


def salvage_facts(completion: str, role_input: ExtractInput, earlier: FactsRead | None = None) -> FactsRead:
    """Return the facts of a reply that can be read.

    Args:
        completion: What the model wrote.
        role_input: What it was shown.
        earlier: What was kept of its first reply; that stands.
    """
    items, problem = find_parts(completion, ("facts",), ("text", "fact"))
    missing = problem is not None
    facts = dict.fromkeys(earlier.facts if earlier else ())
    earlier_texts = {fact.text for fact in facts}
    fact: Fact | None
    for item in items:
        try:
            fact = read_fact(item, role_input.turns)
            if _PLACEHOLDER.fullmatch(fact.text):
                raise OutputError('"..." stands for the text of a fact; write the fact itself.')
        except OutputError as error:
            problem = problem or str(error)
            try:  # The text is good, which turn says it was not: it is found by its words.
                text, turns = item.get("text", item.get("fact")), item.get("turns", item.get("turn"))
                numbers = shown_numbers(turns, len(role_input.turns), "turn")
                fact = read_fact({"text": text, "turns": numbers}, role_input.turns)
            except (OutputError, AttributeError):
                fact = None
        if fact is None or _PLACEHOLDER.fullmatch(fact.text):
            missing = True
        elif fact.text not in earlier_texts:
            facts[fact] = None
    if len(facts) > MOST_FACTS:
        # Each is counted once, so this is no loop over the same few; asking again would not end it.
        problem = f"These are {len(facts)} facts; the first {MOST_FACTS} of them are kept."
    kept = tuple(facts)[:MOST_FACTS]
    complaint = problem if missing else None
    if complaint and kept:
        complaint += f" The facts that can be read are kept, {len(kept)} in all: reply with the others alone."
    return FactsRead(kept, problem, complaint)


def salvage_operations(
    completion: str, role_input: ManageInput, earlier: OperationsRead | None = None
) -> OperationsRead:
    """Return the operations of a reply that can be read, and which facts they leave open.

    Args:
        completion: What the model wrote.
        role_input: What it was shown.
        earlier: What was kept of its first reply; that stands, and of this one only what was asked for counts.
    """
    items, cut = find_parts(completion, ("operations", "memory"), ("event", "operation"))
    if earlier is not None and not earlier.decided:
        earlier = None  # nothing stands: the second reply is read as the first one was
    scope = earlier.asked if earlier else tuple(range(len(role_input.facts)))
    problems = [cut] if cut else []
    failed: set[int] = set()
    new: list[Decided] = []
    noops: list[Noop] = []
    """Without the number of a fact; in mem0's shape one for each memory that stays."""
    for item in items:
        facts = _facts_of(item, role_input, scope)
        try:
            operation = _read_item(item, facts, role_input)
        except OutputError as error:
            problems.append(str(error))
            failed.update(facts)
        else:
            if isinstance(operation, Noop) and not facts:
                noops.append(operation)
            else:
                new.append(Decided(operation, facts))
    only_noops = not problems and bool(noops) and all(isinstance(each.operation, Noop) for each in new)
    if earlier:
        new = _asked_for(new, earlier)
        failed |= set(earlier.asked) - {number for each in new for number in each.facts}
        new = [*earlier.decided, *new]
    decided = _within_limits(new, role_input, problems, failed)
    decided = [_with_all_it_says(each, role_input.facts) for each in _without_copies(decided, role_input)]
    undecided = _open(decided, failed, role_input)
    if undecided:  # of most replies nothing is open, and the sentences of all memories need not be compared
        decided += _known(undecided, decided, role_input)
        undecided = _open(decided, failed, role_input)
    # A NOOP for the whole batch is a decision; so are as many as there are facts without one. The lines of mem0's
    # shape are about memories, and are a decision about the facts only where there is nothing else.
    reasons = [noop.reason for noop in noops if noop.reason != _STAYS]
    if undecided and (only_noops or len(reasons) >= len(undecided)):
        source = _source(undecided, role_input.facts)
        decided.append(Decided(Noop(reasons[0] if reasons else KNOWN, source), undecided))
        undecided = ()
    in_memory = {
        number for each in decided if each.operation == Noop(KNOWN, each.operation.source) for number in each.facts
    }
    asked = tuple(sorted({*undecided, *(failed - in_memory)}))
    complaint = _complaint(problems, asked, kept=bool(decided)) if asked else None
    return OperationsRead(tuple(decided), undecided, asked, problems[0] if problems else None, complaint)


def _facts_of(item: Any, role_input: ManageInput, scope: Sequence[int]) -> tuple[int, ...]:
    """Return the numbers of the facts that an item of a reply is about, as far as it can be told.

    They are those that it names. Of several facts an item without a number is about those that its text says.
    """
    facts = role_input.facts
    fields: dict[str, Any] = item if isinstance(item, dict) else {"text": item}
    named = tuple(shown_numbers(fields.get("fact"), len(facts), "fact"))
    if event_of(fields) == "NOOP":
        reason = str(fields.get("reason", ""))
        return named or tuple(number for number in scope if _mostly_says(reason, facts[number].text))
    text = fields.get("text", fields.get("content"))
    if named:
        return _corrected(named, text, facts) if isinstance(text, str) else named
    if len(scope) == 1:
        return tuple(scope)
    if not isinstance(text, str):
        ids = shown_numbers(fields.get("id", fields.get("memory_id")), len(role_input.memories), "memory")
        text = role_input.memories[ids[0]].text if ids else ""
    return tuple(number for number in scope if _mostly_says(text, facts[number].text))


def _corrected(named: tuple[int, ...], text: str, facts: Sequence[Fact]) -> tuple[int, ...]:
    """Return the facts that a text is about where the number is wrong: small models copy `"fact":0` everywhere.

    A fact is not what the text is about if the text says another one whole, and nothing of this one beyond that.
    """
    words = _words(text)
    others = [number for number in range(len(facts)) if number not in named and _says(words, facts[number])]
    right = [
        number
        for number in named
        if not any(_words(facts[number].text) & words <= _words(facts[other].text) for other in others)
    ]
    return tuple(right or others)


def _read_item(item: Any, facts: tuple[int, ...], role_input: ManageInput) -> Operation:
    """Read one item as an operation that comes from these facts.

    Raises:
        OutputError: It is none, or nobody knows what it comes from; an addition may name a fact that was not shown.
    """
    if isinstance(item, dict) and facts:
        values = item.get("fact")
        values = [value for value in (values if isinstance(values, list) else [values]) if value is not None]
        shown = all(shown_numbers(value, len(role_input.facts), "fact") for value in values)
        # What changes or removes a memory has to say rightly why.
        if shown or event_of(item) == "ADD":
            item = {**item, "fact": list(facts)}
    operation = read_operation(item, role_input)
    if operation is None:
        return Noop(_STAYS)
    text = operation.text if isinstance(operation, Add | Update) else None
    # "..." is copied from the instructions; a fact of nothing but emoji is its own memory.
    if text is not None and not _words(text) and any(_words(role_input.facts[number].text) for number in facts):
        raise OutputError('ADD and UPDATE need a "text" that is a non-empty string.')
    if not facts and not isinstance(operation, Noop):
        raise OutputError('Every operation needs "fact", the number of the fact that it comes from.')
    return operation


def _asked_for(new: Iterable[Decided], earlier: OperationsRead) -> list[Decided]:
    """Return what of a second reply was asked for: models repeat the first one, or decide what stands once more."""
    touched = {each.operation.id for each in earlier.decided if isinstance(each.operation, Update | Delete)}
    answers = []
    for each in new:
        facts = tuple(number for number in each.facts if number in earlier.asked)
        changes = isinstance(each.operation, Update | Delete)
        # A fact that stands in the bank by the first reply was asked about only for a change that could not be read.
        needed = any(number in earlier.undecided for number in facts) or (facts and changes)
        if needed and not (isinstance(each.operation, Update | Delete) and each.operation.id in touched):
            answers.append(Decided(each.operation, facts))
    return answers


def _within_limits(
    decided: Sequence[Decided], role_input: ManageInput, problems: list[str], failed: set[int]
) -> list[Decided]:
    """Return what can be applied together: one operation on a memory, no more of a kind than the facts can justify.

    Args:
        decided: In the order of the reply.
        role_input: What the model was shown.
        problems: Grows by what is wrong with the others.
        failed: Grows by the facts of the others.
    """
    merged: dict[tuple[str, ...], Decided] = {}
    clashing: set[str] = set()
    for each in decided:
        operation = each.operation
        text = operation.text if isinstance(operation, Add | Update) else operation.reason
        key = ("NOOP", str(each.facts)) if isinstance(operation, Noop) else ("ADD", text)
        if isinstance(operation, Update | Delete):
            key = ("memory", operation.id)
        same = merged.setdefault(key, each)
        if same is each:
            continue
        # Models that run in circles say the same again and again, with the number of every fact.
        more = [n for n in each.facts if isinstance(operation, Noop) or _mostly_says(text, role_input.facts[n].text)]
        numbers = tuple(dict.fromkeys([*same.facts, *more]))
        source = _source(numbers, role_input.facts)
        merged[key] = Decided(replace(same.operation, source=source), numbers)
        if isinstance(operation, Update | Delete):
            other = same.operation
            if operation.event != other.event or (isinstance(other, Update) and text != other.text):
                clashing.add(operation.id)
    for number, memory in enumerate(role_input.memories):
        if memory.id in clashing:
            problems.append(f"Memory {number} has two operations; join them into one.")
            failed.update(merged.pop(("memory", memory.id)).facts)
    for kind, cap in _CAPS:
        counts = Counter(each.facts for each in merged.values() if isinstance(each.operation, kind))
        for facts in [facts for facts, count in counts.items() if count > cap * len(facts)]:
            name = kind.__name__.upper()
            problems.append(f"{counts[facts]} {name}s are more than the facts can justify; keep those that they need.")
            failed.update(facts)
            merged = {
                key: each for key, each in merged.items() if each.facts != facts or not isinstance(each.operation, kind)
            }
    return list(merged.values())


def _without_copies(decided: Sequence[Decided], role_input: ManageInput) -> list[Decided]:
    """Turn what only copies a shown memory into a NOOP for the facts that this memory says; it decides no others."""
    texts = {memory.id: memory.text for memory in role_input.memories}
    changed = {
        each.operation.id
        for each in decided
        if isinstance(each.operation, Delete)
        or (isinstance(each.operation, Update) and each.operation.text != texts[each.operation.id])
    }
    standing = {text for memory_id, text in texts.items() if memory_id not in changed}
    different = []
    for each in decided:
        operation = each.operation
        if not isinstance(operation, Add | Update) or operation.text not in standing:
            different.append(each)
        elif facts := tuple(n for n in each.facts if _mostly_says(operation.text, role_input.facts[n].text)):
            different.append(Decided(Noop(KNOWN, _source(facts, role_input.facts)), facts))
    return different


def _open(decided: Sequence[Decided], failed: Collection[int], role_input: ManageInput) -> tuple[int, ...]:
    """Return the numbers of the facts about which nothing is decided.

    A DELETE alone decides nothing about a fact of which another operation could not be read: of a move it may be the
    half that takes the old address away.
    """
    by_number = {
        number for each in decided for number in each.facts if number not in failed or each.operation.event != "DELETE"
    }
    return tuple(number for number in range(len(role_input.facts)) if number not in by_number)


def _with_all_it_says(decided: Decided, facts: Sequence[Fact]) -> Decided:
    """Return an operation with the facts that its text says whole, whether it names them or not."""
    if not isinstance(decided.operation, Add | Update):
        return decided
    words = _words(decided.operation.text)
    more = (number for number, fact in enumerate(facts) if _says(words, fact))
    numbers = tuple(dict.fromkeys([*decided.facts, *more]))
    if numbers == decided.facts:
        return decided
    return Decided(replace(decided.operation, source=_source(numbers, facts)), numbers)


def _known(numbers: Sequence[int], decided: Sequence[Decided], role_input: ManageInput) -> list[Decided]:
    """Return a NOOP for every fact that a memory which stays says word for word."""
    changed = {each.operation.id for each in decided if isinstance(each.operation, Update | Delete)}
    texts = [memory.text for memory in role_input.memories if memory.id not in changed]
    sentences = {tuple(_WORD.findall(part.lower())) for text in texts for part in [text, *_SENTENCE_END.split(text)]}
    return [
        Decided(Noop(KNOWN, fact.source), (number,))
        for number in numbers
        if (fact := role_input.facts[number]) and tuple(_WORD.findall(fact.text.lower())) in sentences - {()}
    ]


def _complaint(problems: Sequence[str], asked: Sequence[int], *, kept: bool) -> str:
    """Return how the model is asked for what is open."""
    names = " and ".join(f"fact {number}" for number in asked[:_MOST_NAMED])
    names = names if len(asked) <= _MOST_NAMED else f"{names} and {len(asked) - _MOST_NAMED} more"
    if not problems:
        return f"There is no operation for {names}; reply with one for each, be it a NOOP, and leave out all others."
    return f"{problems[0]} The rest is kept: reply with the operations for {names} alone." if kept else problems[0]


def _source(numbers: Sequence[int], facts: Sequence[Fact]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(turn for number in numbers for turn in facts[number].source))


def _says(words: frozenset[str], fact: Fact) -> bool:
    """Return whether a text of these words holds all words of a fact; "not" is one of them."""
    fact_words = _words(fact.text)
    return bool(fact_words) and fact_words <= words


def _mostly_says(text: str, fact: str) -> bool:
    """Return whether a text holds more than half of a fact's telling words.

    Half is too little: "Ana has a cat." shares that much with all that is said about Ana.
    """
    fact_terms = _terms(fact)
    return 2 * len(fact_terms & _terms(text)) > len(fact_terms) if fact_terms else text == fact


@lru_cache(maxsize=1_024)
def _terms(text: str) -> frozenset[str]:
    return frozenset(terms(text))


@lru_cache(maxsize=1_024)
def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))
