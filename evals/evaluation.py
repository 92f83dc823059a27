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
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Send
from typing_extensions import TypedDict  # pydantic makes no schema of typing's own before Python 3.12

from langgraph_memory_r1.evals.cells import Cell, EvaluationJob, Failure, FilledBank, QuestionOutcome
from langgraph_memory_r1.evals.scorer import Scorer, cost_lines
from langgraph_memory_r1.evals.systems.system import Retrieved
from langgraph_memory_r1.schemas import Question

__all__ = ["Evaluation", "evaluate"]

CellGraph: TypeAlias = CompiledStateGraph[Any, Any, Any, Any]
_SUPERSTEPS = 5
"""Of the graph, for each time that it goes round."""


class CellState(TypedDict, total=False):
    """What flows through the graph."""

    stop: int
    filled: FilledBank
    asked: Annotated[list[QuestionOutcome], operator.add]
    results: list[dict[str, Any]]
    """Of the last stop."""
    curve: Annotated[list[dict[str, Any]], operator.add]


class Task(TypedDict, total=False):
    """One question on its way."""

    question: Question
    filled: FilledBank
    retrieved: Retrieved | Failure | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation gave."""

    results: list[dict[str, Any]]
    banks: list[dict[str, Any]]
    curve: list[dict[str, Any]]
    costs: list[dict[str, Any]]
    missing: int
    """Questions that have not been asked yet, where only failed ones were to be, or none."""


async def evaluate(job: EvaluationJob, scorer: Scorer) -> Evaluation:
    """Evaluate all systems on all conversations.

    Raises:
        MemoryR1Error: models failed too often in a row, or an option or a package is missing.
    """
    graph, gate = create_cell_graph(scorer), asyncio.Semaphore(job.concurrency)

    async def run(cell: Cell) -> dict[str, Any]:
        async with gate, cell:
            limit = _SUPERSTEPS * (len(cell.stops) + 1)
            state: dict[str, Any] = await graph.ainvoke({"stop": 0}, {"recursion_limit": limit}, context=cell)
        return state

    cells = [Cell(job, system, each) for system in job.systems for each in job.dataset.conversations]
    tasks = [asyncio.ensure_future(run(cell)) for cell in cells]
    try:
        states = await asyncio.gather(*tasks)
    finally:
        # gather lets the others go on when one fails: they would make calls that nobody waits for, and write into a
        # folder that the caller closes.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    job.failures.flush()
    results = [line for state in states for line in state["results"]]
    pairs = list(zip(cells, states, strict=True))
    return Evaluation(
        results=results,
        banks=[scorer.bank_line(cell, state["filled"]) for cell, state in pairs],
        curve=[point for state in states for point in state["curve"]],
        costs=cost_lines([(cell, state["filled"], state["asked"]) for cell, state in pairs], scorer.judge_costs),
        missing=sum(len(cell.conversation.questions) for cell in cells) - len(results),
    )


def create_cell_graph(scorer: Scorer) -> CellGraph:
    """Return the graph of one system and one conversation, which are its run's context."""

    async def ingest(state: CellState, runtime: Runtime[Cell]) -> Command[Any]:
        stop = runtime.context.stops[state["stop"]]
        filled = await runtime.context.remember(stop)
        tasks = [Send("retrieve", Task(question=each, filled=filled)) for each in stop.questions]
        return Command(update={"filled": filled}, goto=tasks or "score")

    async def retrieve(state: Task, runtime: Runtime[Cell]) -> Command[Any]:
        retrieved = await runtime.context.retrieve(state["question"], state["filled"])
        return Command(goto=Send("answer", {**state, "retrieved": retrieved}))

    async def answer(state: Task, runtime: Runtime[Cell]) -> CellState:
        return {"asked": [await runtime.context.ask(state["question"], state["filled"], state["retrieved"])]}

    async def score(state: CellState, runtime: Runtime[Cell]) -> Command[Any]:
        """Score the answers of this stop; at the end of the conversation they are the results."""
        cell, filled = runtime.context, state["filled"]
        stop = cell.stops[state["stop"]]
        order = {question.id: number for number, question in enumerate(stop.questions)}
        asked = [each for each in state.get("asked", []) if each.stop == stop.number and not each.missing]
        asked.sort(key=lambda each: order[each.question.id])
        results = await scorer.lines(cell, filled, asked)
        point = scorer.curve_point(cell, stop, filled, results)
        update = {"results": results, "curve": [point], "stop": stop.number + 1}
        return Command(update=update, goto="ingest" if stop.number + 1 < len(cell.stops) else END)

    builder = StateGraph(CellState, context_schema=Cell)
    builder.add_node("ingest", ingest, destinations=("retrieve", "score"))
    builder.add_node("retrieve", retrieve, input_schema=Task, destinations=("answer",))
    builder.add_node("answer", answer, input_schema=Task)
    builder.add_node("score", score, destinations=("ingest", END))
    builder.add_edge(START, "ingest")
    builder.add_edge("answer", "score")
    return builder.compile(name="evaluation")
