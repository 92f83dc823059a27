"""An evaluation as a LangGraph graph: each system remembers each conversation, and answers its questions.

    ingest ─► retrieve ─► answer ─► score       one run of the graph for each system and conversation;
       ▲       (all questions at once)  │       with --every it goes round until the conversation ends
       └────────────────────────────────┘

What is done is kept (`cells.py`) under a hash of all that determines it. So the same command goes on where it stopped,
a new score needs no new answer, and nothing of another configuration is ever mixed in.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Send
from typing_extensions import TypedDict  # pydantic makes no schema of typing's own before Python 3.12

from langgraph_memory_r1.evals.cells import Cell, Failure, FilledBank, Job, QuestionOutcome
from langgraph_memory_r1.evals.scorer import Scorer, cost_lines
from langgraph_memory_r1.evals.systems.system import Retrieved
from langgraph_memory_r1.schemas import Question

__all__ = ["Outcome", "evaluate"]

CellGraph: TypeAlias = CompiledStateGraph[Any, Any, Any, Any]
_SUPERSTEPS = 5
"""Of the graph, for each time that it goes round."""


class CellState(TypedDict, total=False):
    """What flows through the graph."""

    step: int
    remembered: FilledBank
    asked: Annotated[list[QuestionOutcome], operator.add]
    results: list[dict[str, Any]]
    """Of the last step."""
    curve: Annotated[list[dict[str, Any]], operator.add]


class Task(TypedDict, total=False):
    """One question on its way."""

    question: Question
    remembered: FilledBank
    found: Retrieved | Failure | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an evaluation gave."""

    results: list[dict[str, Any]]
    banks: list[dict[str, Any]]
    curve: list[dict[str, Any]]
    costs: list[dict[str, Any]]
    missing: int
    """Questions that have not been asked yet, where only failed ones were to be, or none."""


async def evaluate(job: Job, scorer: Scorer) -> Outcome:
    """Evaluate all systems on all conversations.

    Raises:
        MemoryR1Error: models failed too often in a row, or an option or a package is missing.
    """
    graph, gate = create_cell_graph(scorer), asyncio.Semaphore(job.concurrency)
    cells = [Cell(job, system, each) for system in job.systems for each in job.dataset.conversations]
    states = await _together([_run(graph, cell, gate) for cell in cells])
    job.failures.flush()
    results = [line for state in states for line in state["results"]]
    return Outcome(
        results=results,
        banks=[scorer.bank_line(cell, state["remembered"]) for cell, state in zip(cells, states, strict=True)],
        curve=[point for state in states for point in state["curve"]],
        costs=cost_lines(
            [(cell, state["remembered"], state["asked"]) for cell, state in zip(cells, states, strict=True)],
            scorer.judged,
        ),
        missing=sum(len(cell.conversation.questions) for cell in cells) - len(results),
    )


def create_cell_graph(scorer: Scorer) -> CellGraph:
    """The graph of one system and one conversation, which are its run's context."""

    async def score(state: CellState, runtime: Runtime[Cell]) -> Command[Any]:
        return await _score(scorer, state, runtime.context)

    builder = StateGraph(CellState, context_schema=Cell)
    builder.add_node("ingest", _ingest, destinations=("retrieve", "score"))
    builder.add_node("retrieve", _retrieve, input_schema=Task, destinations=("answer",))
    builder.add_node("answer", _answer, input_schema=Task)
    builder.add_node("score", score, destinations=("ingest", END))
    builder.add_edge(START, "ingest")
    builder.add_edge("answer", "score")
    return builder.compile(name="evaluation")


async def _run(graph: CellGraph, cell: Cell, gate: asyncio.Semaphore) -> dict[str, Any]:
    async with gate, cell:
        limit = _SUPERSTEPS * (len(cell.stops) + 1)
        state: dict[str, Any] = await graph.ainvoke({"step": 0}, {"recursion_limit": limit}, context=cell)
    return state


async def _ingest(state: CellState, runtime: Runtime[Cell]) -> Command[Any]:
    cell, step = runtime.context, runtime.context.stops[state["step"]]
    remembered = await cell.remember(step)
    asked = [Send("retrieve", Task(question=each, remembered=remembered)) for each in step.questions]
    return Command(update={"remembered": remembered}, goto=asked or "score")


async def _retrieve(state: Task, runtime: Runtime[Cell]) -> Command[Any]:
    found = await runtime.context.find(state["question"], state["remembered"])
    return Command(goto=Send("answer", {**state, "found": found}))


async def _answer(state: Task, runtime: Runtime[Cell]) -> CellState:
    return {"asked": [await runtime.context.ask(state["question"], state["remembered"], state["found"])]}


async def _score(scorer: Scorer, state: CellState, cell: Cell) -> Command[Any]:
    """Scores the answers of this step; once the conversation has ended they are the results."""
    step = cell.stops[state["step"]]
    order = {question.id: place for place, question in enumerate(step.questions)}
    asked = [each for each in state.get("asked", []) if each.step == step.number and not each.missing]
    asked.sort(key=lambda each: order[each.question.id])
    results = await scorer.lines(cell, state["remembered"], asked)
    point = scorer.curve_point(cell, step, state["remembered"], results)
    update = {"results": results, "curve": [point], "step": step.number + 1}
    return Command(update=update, goto="ingest" if step.number + 1 < len(cell.stops) else END)


async def _together(runs: Sequence[Coroutine[Any, Any, dict[str, Any]]]) -> list[dict[str, Any]]:
    """The results of all; as soon as one fails the others are stopped."""
    tasks = [asyncio.ensure_future(run) for run in runs]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
