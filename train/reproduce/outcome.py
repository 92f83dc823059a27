"""A pair of agents end to end: conversations turn by turn for the manager, then the questions for the answerer.

Both decide greedily, by the very steps of the graph's nodes (`rollout.py`), many conversations at a time.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

from langgraph_memory_r1 import scoring
from langgraph_memory_r1.evals.personaworld import Story, generate
from langgraph_memory_r1.jsonl import write_file
from langgraph_memory_r1.schemas import Answer
from langgraph_memory_r1.train.models import load_role_models
from langgraph_memory_r1.train.recipe import Recipe
from langgraph_memory_r1.train.reproduce.arms import LONG
from langgraph_memory_r1.train.reproduce.confusion import Matrix, confusion
from langgraph_memory_r1.train.rollout import RolePolicy, Rollout, answer_questions, episodes_of, roll_out


@dataclass(frozen=True, slots=True)
class ArmOutcome:
    """What a pair of agents came to."""

    em: float
    by_category: Mapping[str, float]
    conversations: int
    questions: int
    memories: float
    """In a bank at the end, on average."""
    matrix: Matrix
    seconds: float


def evaluate(
    recipe: Recipe, folders: Mapping[str, str | os.PathLike[str]], stories: Sequence[Story], *, reply_prefix: str = ""
) -> ArmOutcome:
    """Measure the exact match of the answers, and count what the manager did.

    Args:
        recipe: The base, and how it is asked.
        folders: The adapter of each role; for a role without one the base decides.
        stories: Conversations with questions.
        reply_prefix: What every answer begins with.
    """
    start = time.perf_counter()
    rollouts, answers = play(recipe, folders, stories, reply_prefix=reply_prefix)
    questions = [question for rollout in rollouts for question in rollout.episode.questions]
    scores: dict[str, list[float]] = {}
    for answer, question in zip(answers, questions, strict=True):
        score = scoring.em(answer.text, question.gold or "")
        scores.setdefault(question.category or "", []).append(float(score or 0))
    return ArmOutcome(
        mean(score for named in scores.values() for score in named),
        {category: mean(named) for category, named in sorted(scores.items())},
        len(stories), len(questions), mean(len(rollout.bank) for rollout in rollouts),
        confusion(rollouts, stories), round(time.perf_counter() - start, 2),
    )  # fmt: skip


def play(
    recipe: Recipe,
    folders: Mapping[str, str | os.PathLike[str]],
    stories: Sequence[Story],
    *,
    reply_prefix: str = "",
    salvage: bool = False,
) -> tuple[list[Rollout], list[Answer]]:
    """Return the conversations as they went, and the answers to their questions in order.

    Whole replies alone count, as in training, unless `salvage` says that they are read as in the graph.
    """
    models = load_role_models(recipe, "answer", folders, reply_prefix=reply_prefix)
    episodes = episodes_of([story.conversation for story in stories])
    rollouts = roll_out(episodes, RolePolicy(models.manage, recipe.style, recipe.related_k), salvage=salvage)
    asked = [(rollout.bank, question) for rollout in rollouts for question in rollout.episode.questions]
    return rollouts, answer_questions(asked, RolePolicy(models.answer, recipe.style, recipe.k))


def stories_for(split: str) -> list[Story]:
    """Return the conversations that an arm is evaluated on; of long ones more than the 12 of their split."""
    return generate(split, conversations=50, questions=8) if split == LONG else generate(split)


def write_outcome(file: Path, outcome: ArmOutcome) -> None:
    """Write an outcome as JSON; the file appears whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, [json.dumps(asdict(outcome), indent=2).encode()])


def read_outcome(file: Path) -> ArmOutcome:
    """Read what `write_outcome` wrote."""
    return ArmOutcome(**json.loads(file.read_text(encoding="utf-8")))
