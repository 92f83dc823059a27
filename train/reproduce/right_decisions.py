"""Right decisions about PersonaWorld's conversations as rows: for supervised fine-tuning only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from langgraph_memory_r1 import roles
from langgraph_memory_r1.bank.base import MemoryFork
from langgraph_memory_r1.evals.personaworld import Story, demonstrate
from langgraph_memory_r1.retrieval import Index
from langgraph_memory_r1.schemas import Memory
from langgraph_memory_r1.train.recipe import Recipe
from langgraph_memory_r1.train.rows import AnswerRow, ManagerRow, write_rows
from langgraph_memory_r1.train.sources import stories_of


def write_labels(recipe: Recipe, folder: Path) -> None:
    """Write `manage.jsonl` and `answer.jsonl` about the recipe's conversations."""
    folder.mkdir(parents=True, exist_ok=True)
    stories = stories_of(recipe.train)
    write_rows(folder / "manage.jsonl", [row for story in stories for row in manager_rows(story, recipe.related_k)])
    write_rows(folder / "answer.jsonl", [row for story in stories for row in answer_rows(story, recipe.k)])


def manager_rows(story: Story, related_k: int) -> Iterator[ManagerRow]:
    """Yield every turn with the operation of a manager that makes no mistake, over the bank of such a one."""
    name = story.conversation.id
    for number, step in enumerate(demonstrate(story)):
        shown = roles.related(MemoryFork(Index(step.bank)), step.facts, related_k)
        yield ManagerRow(
            f"{name}/{number}", step.facts, step.bank, tuple(shown), (), name, number, step.operations, step.event.kind
        )


def answer_rows(story: Story, k: int) -> Iterator[AnswerRow]:
    """Yield every question over the right bank, with the memories that hold the answer."""
    bank = MemoryFork(Index())
    for _ in demonstrate(story, bank):
        pass
    for question in story.conversation.questions:
        memories = tuple(roles.retrieve(bank, question.text, k))
        if memories:  # without any, no node asks a model: there would be no reply to learn
            yield AnswerRow(
                question.id, question.text, question.gold or "", memories, question.at, story.conversation.id,
                evidence_of(memories, question.evidence), question.category or "",
            )  # fmt: skip


def evidence_of(memories: Sequence[Memory], evidence: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers of the memories that came from one of these turns."""
    return tuple(number for number, memory in enumerate(memories) if set(memory.source) & set(evidence))
