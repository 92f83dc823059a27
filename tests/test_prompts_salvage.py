"""What is kept of bad replies: whatever a manager writes, every fact is in the bank or in an operation, or marked."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage

from langgraph_memory_r1 import Add, Delete, Fact, Memory, Noop, Operation, Turn, Update
from langgraph_memory_r1.bank.base import MemoryFork
from langgraph_memory_r1.batches import Batch
from langgraph_memory_r1.prompts import (
    ExtractInput,
    ManageInput,
    OperationsRead,
    parse,
    read,
    salvage_facts,
    salvage_operations,
    write,
)
from langgraph_memory_r1.prompts.salvage import KNOWN
from langgraph_memory_r1.retrieval import Index
from langgraph_memory_r1.roles import manage
from langgraph_memory_r1.steps import Agent, RunMonitor, run_sync
from langgraph_memory_r1.testing import ScriptedChatModel

fuzz = settings(derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), max_examples=100)

FACTS = (
    Fact("Ana adopted another cat, Tofu.", "Ana", source=("t0",)),
    Fact("Ana moved to Porto.", "Ana", source=("t1",)),
    Fact("Ben does not play tennis.", "Ben", source=("t2",)),
)
MEMORIES = (
    Memory("a1", "Ana has a kitten called Miso.", "Ana"),
    Memory("a2", "Ana lives in Lisbon.", "Ana"),
    Memory("b1", "Ben plays tennis.", "Ben"),
)
HIDDEN = Memory("z9", "The harbour of Valparaíso was painted by Whistler.", "Zoe")
SHOWN = ManageInput(FACTS, MEMORIES)

numbers: st.SearchStrategy[Any] = st.integers(-1, 4) | st.sampled_from(["0", "[1]", "a1", None, True, [0, 1], 9, {}])
texts: st.SearchStrategy[Any] = st.sampled_from(
    [fact.text for fact in FACTS] + [memory.text for memory in MEMORIES]
    + ["Ana has two cats, Miso and Tofu.", "...", "", " ", "x", None, 7, ["Porto"], "</think>", 'a "quoted" {word}']
)  # fmt: skip
events = st.sampled_from(["ADD", "UPDATE", "DELETE", "NOOP", "NONE", "add", "WIPE", "ADD|UPDATE|DELETE|NOOP", None, 3])
items = st.fixed_dictionaries(
    {}, optional={"event": events, "fact": numbers, "id": numbers, "text": texts, "reason": texts}
)
shapes: st.SearchStrategy[Any] = st.lists(items | st.sampled_from([None, "ADD x", 7, []]), max_size=6)
valid = st.one_of(
    shapes.map(lambda made: {"operations": made}), shapes.map(lambda made: {"memory": made}), shapes, items
).map(json.dumps)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A reply in the right shape, cut off, with a piece gone, or wrapped up."""
    text = draw(valid)
    start = draw(st.integers(0, len(text)))
    return draw(
        st.sampled_from([
            text, text[:start], text[:start] + text[start + draw(st.integers(0, 9)) :], f"Sure:\n```json\n{text}\n```",
            f"<think>perhaps {text}</think>\n{text[:start]}", f"{text}\n{text[start:]}", text.replace('"', "'"),
        ])
    )  # fmt: skip


replies = mutated() | valid | st.text(max_size=80)


def decide(first: str, second: str, facts: Sequence[Fact] = FACTS) -> tuple[MemoryFork, list[Any], RunMonitor]:
    """What a manager with these replies makes of a bank that it is shown a part of."""
    bank = MemoryFork(Index([*MEMORIES, HIDDEN]))
    monitor = RunMonitor()
    turns = tuple(Turn("Ana", fact.text, id=fact.source[0]) for fact in facts)
    seen: list[ManageInput] = []
    script = [first, second]

    def reply(messages: list[BaseMessage]) -> str:
        shown = read(messages)
        assert isinstance(shown, ManageInput)
        seen.append(shown)
        return script[len(seen) - 1]

    agent = Agent("manage", ScriptedChatModel(reply))
    changes = run_sync(manage(bank, agent, Batch(turns, tuple(facts)), 1, monitor))
    shown_texts = {memory.text for shown in seen for memory in shown.memories}
    assert HIDDEN.text not in shown_texts
    hidden = [memory for memory in (*MEMORIES, HIDDEN) if memory.text not in shown_texts]
    assert hidden == [bank.get(memory.id) for memory in hidden]  # what was not shown is not touched
    return bank, changes, monitor


@fuzz
@given(first=replies, second=replies)
def test_every_fact_is_in_the_bank_or_in_an_operation_or_marked(first: str, second: str) -> None:
    bank, changes, monitor = decide(first, second)
    undecided = [change.after.text for change in changes if change.after and change.reason.startswith("undecided: ")]
    assert monitor.usage["undecided"] == len(undecided)
    said_nothing = not any(word in (first + second).upper() for word in ("NOOP", "NONE", "NULL"))
    for fact in FACTS:
        about = [change for change in changes if set(fact.source) & set(change.source)]
        assert about, fact
        if all(change.event == "NOOP" for change in about) and said_nothing:
            assert any(fact.text.strip(".") in memory.text for memory in bank.all()) or any(
                change.reason == KNOWN for change in about
            )
        if fact.text in undecided:
            assert fact.text in [memory.text for memory in bank.all()]
    assert sum(change.event in ("UPDATE", "DELETE") for change in changes) <= len(MEMORIES)


@fuzz
@given(first=replies, second=replies)
def test_no_number_that_was_not_shown_changes_an_empty_bank(first: str, second: str) -> None:
    bank = MemoryFork(Index())
    agent = Agent("manage", ScriptedChatModel([first, second]))
    turn = Turn("Ana", FACTS[0].text, id="t0")
    changes = run_sync(manage(bank, agent, Batch((turn,), FACTS[:1]), 3, RunMonitor()))
    assert {change.event for change in changes} <= {"ADD", "NOOP"}
    assert len(bank) or [change.event for change in changes] == ["NOOP"]
    if not any(word in (first + second).upper() for word in ("NOOP", "NONE")):
        assert len(bank)


@fuzz
@given(data=st.data())
def test_a_good_reply_is_read_as_parse_reads_it_and_not_asked_about(data: st.DataObject) -> None:
    operations: list[Operation] = []
    for fact, memory in zip(FACTS, data.draw(st.permutations(MEMORIES)), strict=True):
        text = data.draw(st.sampled_from([fact.text, f"As of now: {fact.text}", f"{memory.id} \u5b8c\u5168"]))
        operations.append(data.draw(st.sampled_from([
            Add(text, fact.speaker, fact.at, fact.source), Update(memory.id, text, fact.source, fact.at),
            Delete(memory.id, fact.source, "gone"), Noop("known", fact.source),
        ])))  # fmt: skip
    reply = write(tuple(operations), SHOWN)
    reading = salvage_operations(reply, SHOWN)
    assert (reading.undecided, reading.complaint, reading.problem) == ((), None, None)
    assert reading.operations == parse(reply, SHOWN)


def reading_of(*items: dict[str, Any] | str, shown: ManageInput = SHOWN, again: str | None = None) -> OperationsRead:
    reply = json.dumps({"operations": [json.loads(item) if isinstance(item, str) else item for item in items]})
    reading = salvage_operations(reply, shown)
    return reading if again is None else salvage_operations(again, shown, reading)


TOFU = {"event": "UPDATE", "fact": 0, "id": 0, "text": "Ana has two cats, Miso and Tofu."}
PORTO = {"event": "UPDATE", "fact": 1, "id": 1, "text": "Ana lives in Porto."}
TENNIS = {"event": "DELETE", "fact": 2, "id": 2}


@pytest.mark.parametrize(
    ("items", "undecided", "events_kept"),
    [
        ([TOFU, PORTO, TENNIS], (), "UPDATE UPDATE DELETE"),
        ([TOFU, PORTO], (2,), "UPDATE UPDATE"),
        ([{**TOFU, "fact": [0, 1, 2]}], (), "UPDATE"),
        # The number of every fact copied as 0, the texts those of the facts: what they say counts.
        ([{"event": "ADD", "fact": 0, "text": fact.text} for fact in FACTS], (), "ADD ADD ADD"),
        ([{"event": "ADD", "fact": 0, "text": FACTS[1].text}], (0, 2), "ADD"),
        # One text for all facts is about that one which it says.
        ([{"event": "ADD", "fact": n, "text": "Ana now has another cat, it is Tofu"} for n in range(3)], (1, 2), "ADD"),
        # A copied memory says nothing about a new fact.
        ([{**TOFU, "text": MEMORIES[0].text}, PORTO, TENNIS], (0,), "UPDATE DELETE"),
        ([{"event": "ADD", "fact": 0, "text": MEMORIES[1].text}, PORTO, TENNIS], (), "ADD UPDATE DELETE"),
        ([{"event": "ADD", "fact": 0, "text": MEMORIES[0].text}, PORTO, TENNIS], (0,), "UPDATE DELETE"),
        # Two for one memory: neither is better than the other.
        ([TOFU, {**PORTO, "id": 0}, TENNIS], (0, 1), "DELETE"),
        ([TOFU, TOFU, TOFU, PORTO, TENNIS], (), "UPDATE UPDATE DELETE"),
        # Half of a move: the old address goes, the new one cannot be read.
        ([{"event": "DELETE", "fact": 1, "id": 1}, {"event": "ADD", "fact": 1}, TOFU, TENNIS], (1,),
         "DELETE UPDATE DELETE"),
        # Nobody knows what it comes from.
        ([{"event": "DELETE", "id": 1}, TOFU, TENNIS], (1,), "UPDATE DELETE"),
        ([{"event": "ADD", "text": "Ana has moved: to Porto"}, TOFU, TENNIS], (), "ADD UPDATE DELETE"),
        ([TOFU, {"event": "NOOP", "reason": "the rest is known"}, {"event": "NOOP"}], (), "UPDATE NOOP"),
        ([TOFU, {"event": "NOOP", "reason": "the rest is known"}], (1, 2), "UPDATE"),
        ([TOFU, {"event": "NONE", "id": 1, "text": MEMORIES[1].text}], (1, 2), "UPDATE"),
    ],
)  # fmt: skip
def test_what_decides_about_a_fact(items: list[dict[str, Any]], undecided: tuple[int, ...], events_kept: str) -> None:
    reading = reading_of(*items)
    assert (reading.undecided, " ".join(operation.event for operation in reading.operations)) == (
        undecided,
        events_kept,
    )
    assert (reading.complaint is None) == (not undecided)


def test_a_fact_that_a_memory_says_word_for_word_is_known() -> None:
    shown = ManageInput(
        (Fact("Ben plays tennis", source=("t",)), FACTS[2]), (Memory("m", "Ben is tall. Ben plays tennis."),)
    )
    reading = salvage_operations('{"operations":[]}', shown)
    assert (reading.operations, reading.undecided) == ((Noop(KNOWN, ("t",)),), (1,))  # "not" makes another fact of it


def test_deletes_and_updates_are_capped_for_each_fact() -> None:
    memories = tuple(Memory(f"m{number}", f"memory {number}") for number in range(12))
    shown = ManageInput((Fact("Forget everything!", source=("t0",)), *FACTS[1:]), memories)
    for event in ("DELETE", "UPDATE"):
        clearing = [{"event": event, "fact": 0, "id": number, "text": f"gone {number}"} for number in range(4)]
        good = [{**PORTO, "id": 10}, {**TENNIS, "id": 11}]
        reading = reading_of(*clearing, *good, shown=shown)
        assert [operation.event for operation in reading.operations] == ["UPDATE", "DELETE"]
        assert reading.undecided == (0,) and f"4 {event}s" in str(reading.complaint)
        assert len(reading_of(*clearing[:3], *good, shown=shown).operations) == 5


def test_a_second_reply_is_read_for_what_was_asked_alone() -> None:
    tenth = {**PORTO, "id": 9}
    whole = json.dumps(
        {"operations": [{**TOFU, "text": "Ana has cats."}, PORTO, {"event": "ADD", "fact": 2, "text": "x"}]}
    )
    reading = reading_of(TOFU, tenth, TENNIS, again=whole)
    assert [getattr(operation, "text", None) for operation in reading.operations] == [TOFU["text"], None, PORTO["text"]]
    clash = json.dumps({"operations": [{**PORTO, "id": 0}]})  # the first reply has changed that memory already
    assert reading_of(TOFU, tenth, TENNIS, again=clash).undecided == (1,)
    assert reading_of(TOFU, tenth, TENNIS, again="no").undecided == (1,)
    assert reading_of(TOFU, tenth, TENNIS, again='{"operations":[]}').undecided == (1,)
    assert reading_of(TOFU, tenth, TENNIS, again='[{"event":"NOOP"}]').undecided == ()
    # Beside a good addition a deletion with a bad number is asked for, and nothing is added twice.
    added = {"event": "ADD", "fact": 1, "text": "Ana lives in Porto."}
    gone = {"event": "DELETE", "fact": 1, "id": 1}
    reading = reading_of(TOFU, added, {**gone, "id": 9}, TENNIS, again=json.dumps([added, gone]))
    assert [operation.event for operation in reading.operations] == ["UPDATE", "ADD", "DELETE", "DELETE"]
    assert reading.undecided == ()


@pytest.mark.parametrize("cut", range(1, 50, 7))
def test_of_a_reply_that_stops_half_way_the_whole_items_are_kept(cut: int) -> None:
    reply = json.dumps({"operations": [TOFU, PORTO, TENNIS]})[: -60 - cut]
    reading = salvage_operations(reply, SHOWN)
    assert [operation.event for operation in reading.operations] == ["UPDATE"]
    assert reading.undecided == (1, 2)
    assert "facts" not in str(reading.complaint) or "fact 1 and fact 2" in str(reading.complaint)


def test_many_facts_of_one_reply() -> None:
    turns = ExtractInput((Turn("Ana", "I own books.", id="t"),))
    same = json.dumps({"facts": ["Ana owns a book."] * 500})
    assert [len(read_.facts) for read_ in [salvage_facts(same, turns)]] == [1]
    both = ExtractInput((Turn("Ana", "I like tea.", id="a"), Turn("Ben", "I like tea.", id="b")))
    likes = salvage_facts('{"facts":[{"text":"likes tea","turns":[0]},{"text":"likes tea","turns":[1]}]}', both)
    assert [fact.speaker for fact in likes.facts] == ["Ana", "Ben"]
    copied = salvage_facts('{"facts":[{"text":"...","turns":[0]}]}', turns)  # from the instructions
    assert copied.facts == () and copied.complaint
    many = salvage_facts(json.dumps({"facts": [f"Ana owns book {number}." for number in range(500)]}), turns)
    assert len(many.facts) == 100 and "500 facts" in str(many.problem)


@pytest.mark.parametrize(
    "unit",
    ['{"event":"ADD","text":"x"},', '{"event":"ADD","fact":0,"text":"Ana"}', "</think>{", '</think>"{', "[{", "\\"],
)
def test_100_kb_of_anything_is_salvaged_quickly(unit: str) -> None:
    facts = tuple(Fact(f"Ana owns book number {number}.", source=(str(number),)) for number in range(50))
    reply = unit * (100_000 // len(unit))
    start = time.perf_counter()
    first = salvage_operations(reply, ManageInput(facts, MEMORIES))
    salvage_operations(reply, ManageInput(facts, MEMORIES), first)
    salvage_facts(reply, ExtractInput((Turn("Ana", "x", id="t"),)))
    assert time.perf_counter() - start < 5
