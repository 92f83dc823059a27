"""From what a recipe names to rows and episodes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path

from langgraph_memory_r1.conversations import dated, read_conversations
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.personaworld import QUESTIONS, Story, generate
from langgraph_memory_r1.models import load_chat_model
from langgraph_memory_r1.schemas import Conversation
from langgraph_memory_r1.train.from_traces import rows_from_traces
from langgraph_memory_r1.train.models import ChatPolicy
from langgraph_memory_r1.train.recipe import Data, Recipe, TrainedRole
from langgraph_memory_r1.train.rollout import Deciding, episodes_of
from langgraph_memory_r1.train.rows import ManagerRow, Row, read_rows
from langgraph_memory_r1.train.sources import Material, answer_rows, is_gold, manager_rows

logger = logging.getLogger(__name__)


def material(data: Data, recipe: Recipe, role: TrainedRole, manager: Deciding) -> Material:
    """The rows of a role.

    Args:
        data: What the recipe names.
        recipe: How rows are built.
        role: Whose rows.
        manager: Builds the banks that rows start from, where the data are conversations.

    Raises:
        InputError: The data cannot be read.
    """
    if data.source == "rows":
        return _usable(row for row in read_rows(_path(data), strict=True) if row.node == role)
    if data.source == "traces":
        return rows_from_traces(_path(data), role)
    left_out = Counter[str]()
    conversations = _shortened(_conversations(data, left_out), data, left_out)
    episodes = episodes_of(conversations, _extractor(recipe))
    if role == "manage":
        built = manager_rows(episodes, manager, window=data.window, link=data.link)
    else:
        built = answer_rows(episodes, manager, k=recipe.top_k)
    built.skipped.update(+left_out)
    return Material([*built.manager, *built.answer], episodes, built.skipped)


def _usable(rows: Iterable[Row]) -> Material:
    """Rows of a file, without what nothing can be judged by."""
    found, left_out = list[Row](), Counter[str]()
    for row in rows:
        if isinstance(row, ManagerRow):
            probes = tuple(probe for probe in row.probes if is_gold(probe.gold))
            left_out["no gold answer"] += len(row.probes) - len(probes)
            row = row if len(probes) == len(row.probes) else replace(row, probes=probes)
        if row.probes or row.gold if isinstance(row, ManagerRow) else is_gold(row.gold):
            found.append(row)
        else:
            left_out["no question that can be judged" if isinstance(row, ManagerRow) else "no gold answer"] += 1
    return Material(found, skipped=+left_out)


def first_sessions(conversation: Conversation, count: int) -> Conversation:
    """A conversation as it was after so many sessions, with the questions whose evidence lies in them."""
    kept = set(list(dict.fromkeys(turn.session for turn in conversation.turns))[:count])
    turns = tuple(turn for turn in conversation.turns if turn.session in kept)
    known = {turn.id for turn in turns}
    questions = tuple(one for one in conversation.questions if one.evidence and set(one.evidence) <= known)
    return replace(conversation, turns=turns, questions=questions)


def _shortened(conversations: list[Conversation], data: Data, left_out: Counter[str]) -> list[Conversation]:
    """The first sessions where a recipe wants only these; how many questions that leaves out is counted."""
    if data.sessions is None:
        return conversations
    short = [first_sessions(conversation, data.sessions) for conversation in conversations]
    left_out["questions about later sessions"] += sum(map(_asked, conversations)) - sum(map(_asked, short))
    return short


def _asked(conversation: Conversation) -> int:
    return len(conversation.questions)


def _conversations(data: Data, left_out: Counter[str]) -> list[Conversation]:
    found = _source(data, left_out)
    if data.only is not None:
        known = {conversation.id: conversation for conversation in found}
        if missing := [name for name in data.only if name not in known]:
            raise InputError(f"There is no conversation {missing[0]!r}; there are {', '.join(known)}.")
        found = [known[name] for name in data.only]
    return found[: data.limit]


def _source(data: Data, left_out: Counter[str]) -> list[Conversation]:
    if data.source == "personaworld":
        return [story.conversation for story in stories_of(data)]
    if data.source == "locomo":
        from langgraph_memory_r1.evals.locomo import load

        return load(_path(data))

    def skip(error: InputError) -> None:
        left_out["broken lines"] += 1
        logger.warning(error)

    read = read_conversations(_path(data), on_skip=skip)
    return [dated(each) for each in islice(read, None if data.only else data.limit)]


def stories_of(data: Data) -> list[Story]:
    """The stories behind conversations of PersonaWorld."""
    asked = QUESTIONS if data.questions is None else data.questions
    return generate(data.split, seed=data.seed, conversations=data.limit, questions=asked, difficulty=data.world)


def _extractor(recipe: Recipe) -> Deciding | None:
    if recipe.extractor == "rules":
        return None
    return Deciding(ChatPolicy(load_chat_model(recipe.extractor)), style="full")


def _path(data: Data) -> Path:
    if data.path is None:
        raise InputError(f"Data of the source {data.source!r} needs a path.")
    return Path(data.path)
