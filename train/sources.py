"""From what a recipe names to rows: conversations with questions, PersonaWorld, LoCoMo, recorded traces, files of rows.

    training_data(recipe.train, recipe, "manage", manager)      whatever the source
    manager_rows(episodes, manager)              the bank as a manager has made it from the beginning
    manager_rows(episodes, manager, window=50)   the bank of the 50 turns before
    answer_rows(episodes, manager)               every question over the memories that are retrieved at the end

Rows from conversations are built as in the paper (Memory-R1, section 4.1, appendix B). It contradicts itself on the
bank that a manager's row starts from: Algorithm 1 says the 50 turns before, the text of appendix B 24, and what is
deployed has the whole past. So the window is a setting.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from langgraph_memory_r1 import roles
from langgraph_memory_r1.conversations import dated, read_conversations
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.personaworld import QUESTIONS, Story, generate
from langgraph_memory_r1.models import load_chat_model
from langgraph_memory_r1.schemas import Conversation
from langgraph_memory_r1.train.from_traces import rows_from_traces
from langgraph_memory_r1.train.models import ChatPolicy
from langgraph_memory_r1.train.recipe import Data, Link, Recipe, TrainedRole
from langgraph_memory_r1.train.rollout import RolePolicy, episodes_of, final_banks, roll_out
from langgraph_memory_r1.train.rows import (
    AnswerRow,
    Episode,
    ManagerRow,
    Probe,
    Row,
    TrainingData,
    is_gold,
    probe_of,
    read_rows,
)

logger = logging.getLogger(__name__)


def training_data(data: Data, recipe: Recipe, role: TrainedRole, manager: RolePolicy) -> TrainingData:
    """Return the rows of a role, and the episodes that they come from where the data are conversations.

    Args:
        data: What the recipe names.
        recipe: How rows are built.
        role: Whose rows.
        manager: Builds the banks that rows start from, where the data are conversations.

    Raises:
        InputError: The data cannot be read.
    """
    if data.source == "rows":
        return _rows_of_file(_path(data), role)
    if data.source == "traces":
        return rows_from_traces(_path(data), role)
    skipped = Counter[str]()
    conversations = _conversations(data, skipped)
    extractor = None
    if recipe.extractor != "rules":
        extractor = RolePolicy(ChatPolicy(load_chat_model(recipe.extractor)), style="full")
    episodes = episodes_of(conversations, extractor)
    rows: Sequence[Row]
    if role == "manage":
        rows, without_row = manager_rows(episodes, manager, window=data.window, link=data.link)
    else:
        rows, without_row = answer_rows(episodes, manager, k=recipe.k)
    without_row.update(+skipped)
    return TrainingData(list(rows), episodes, without_row)


def manager_rows(
    episodes: Sequence[Episode], manager: RolePolicy, *, window: int | None = None, link: Link = "last"
) -> tuple[list[ManagerRow], Counter[str]]:
    """Make one row for every step that questions are linked to.

    Args:
        episodes: Conversations, see `episodes_of`.
        manager: Builds the banks that the rows start from.
        window: Steps that the bank is built from; None is all before.
        link: Which of a question's evidence turns it is asked after.

    Returns:
        The rows, and what gave none, counted by reason.
    """
    rows, skipped = list[ManagerRow](), Counter[str]()
    linked: list[tuple[Episode, int, tuple[Probe, ...]]] = []
    for episode in episodes:
        probes = _linked(episode, link, window, skipped)
        linked += [(episode, step, tuple(probes[step])) for step in sorted(probes)]
    if window is not None:
        banks = final_banks([episode.part(step - window, step) for episode, step, _ in linked], manager)
    else:
        whole = {episode.id: episode for episode, _, _ in linked}
        rollouts = {rollout.episode.id: rollout for rollout in roll_out(list(whole.values()), manager)}
        banks = [rollouts[episode.id].before[step] for episode, step, _ in linked]
    for (episode, step, step_probes), bank in zip(linked, banks, strict=True):
        # The graph asks no manager either where no fact was found.
        facts = episode.steps[step].facts
        if not facts:
            skipped["no fact was extracted from the evidence"] += len(step_probes)
            continue
        related, kind = tuple(roles.related(bank, facts, manager.k)), step_probes[0].category or ""
        name = f"{episode.id}/{step}"
        rows.append(ManagerRow(name, facts, tuple(bank.all()), related, step_probes, episode.id, step, kind=kind))
    return rows, skipped


def answer_rows(
    episodes: Sequence[Episode], manager: RolePolicy, *, k: int = 60
) -> tuple[list[AnswerRow], Counter[str]]:
    """Make one row for every question with a gold answer (the paper's Algorithm 2).

    Args:
        episodes: Conversations, see `episodes_of`.
        manager: Builds the banks; in the paper the trained one.
        k: Memories that are retrieved.

    Returns:
        The rows, and what gave none, counted by reason.
    """
    rows, skipped = list[AnswerRow](), Counter[str]()
    for episode, bank in zip(episodes, final_banks(episodes, manager), strict=True):
        for number, question in enumerate(episode.questions):
            memories = tuple(roles.retrieve(bank, question.text, k))
            if not is_gold(question.gold):
                skipped["no gold answer"] += 1
            elif not memories:
                skipped["an empty bank"] += 1
            else:
                name, kind, gold = question.id or f"{episode.id}/q{number}", question.category or "", question.gold
                rows.append(AnswerRow(name, question.text, str(gold), memories, question.at, episode.id, kind=kind))
    return rows, skipped


def _linked(episode: Episode, link: Link, window: int | None, skipped: Counter[str]) -> dict[int, list[Probe]]:
    """The probes of every step that has some; none that rests on what lies before the window."""
    step_of = {turn.id: number for number, step in enumerate(episode.steps) for turn in step.turns}
    probes: dict[int, list[Probe]] = {}
    for question in episode.questions:
        steps = sorted({step_of[turn] for turn in question.evidence if turn in step_of})
        if not is_gold(question.gold):
            skipped["no gold answer"] += 1
        elif not question.evidence:
            skipped["no evidence"] += 1
        elif not steps:
            skipped["the evidence lies outside the conversation"] += 1
        else:
            later = range(steps[-1] + 1, len(episode.steps)) if link == "since" else ()
            for step in [*(steps if link == "any" else steps[-1:]), *later]:
                # Of a window of 2, the bank before step 3 holds steps 1 and 2: nobody could say what step 0 told.
                if window is not None and steps[0] < step - window:
                    skipped["a part of the evidence lies before the window"] += 1
                else:
                    probes.setdefault(step, []).append(probe_of(question))
    return probes


def _rows_of_file(path: Path, role: TrainedRole) -> TrainingData:
    """A role's rows of a file, without what nothing can be judged by."""
    data = TrainingData([])
    for row in read_rows(path, strict=True):
        if row.node != role:
            continue
        if isinstance(row, ManagerRow):
            probes = tuple(probe for probe in row.probes if is_gold(probe.gold))
            data.skipped["no gold answer"] += len(row.probes) - len(probes)
            row = row if len(probes) == len(row.probes) else replace(row, probes=probes)
        if row.probes or row.gold if isinstance(row, ManagerRow) else is_gold(row.gold):
            data.rows.append(row)
        else:
            data.skipped["no question that can be judged" if isinstance(row, ManagerRow) else "no gold answer"] += 1
    data.skipped = +data.skipped
    return data


def first_sessions(conversation: Conversation, count: int) -> Conversation:
    """Return a conversation as it was after so many sessions, with the questions whose evidence lies in them."""
    sessions = set(list(dict.fromkeys(turn.session for turn in conversation.turns))[:count])
    turns = tuple(turn for turn in conversation.turns if turn.session in sessions)
    ids = {turn.id for turn in turns}
    questions = tuple(
        question for question in conversation.questions if question.evidence and set(question.evidence) <= ids
    )
    return replace(conversation, turns=turns, questions=questions)


def _conversations(data: Data, skipped: Counter[str]) -> list[Conversation]:
    """The conversations that a recipe names, as far as it names them."""
    if data.source == "personaworld":
        conversations = [story.conversation for story in stories_of(data)]
    elif data.source == "locomo":
        conversations = _locomo(data)
    else:

        def skip(error: InputError) -> None:
            skipped["broken lines"] += 1
            logger.warning(error)

        lines = read_conversations(_path(data), on_skip=skip)
        # `only` may name conversations that stand beyond the limit.
        conversations = [dated(line) for line in islice(lines, None if data.only else data.limit)]
    if data.only is not None:
        by_id = {conversation.id: conversation for conversation in conversations}
        if missing := [name for name in data.only if name not in by_id]:
            raise InputError(f"There is no conversation {missing[0]!r}; there are {', '.join(by_id)}.")
        conversations = [by_id[name] for name in data.only]
    conversations = conversations[: data.limit]
    if data.sessions is not None:
        short = [first_sessions(conversation, data.sessions) for conversation in conversations]
        lost = sum(len(conversation.questions) for conversation in conversations)
        skipped["questions about later sessions"] += lost - sum(len(conversation.questions) for conversation in short)
        conversations = short
    return conversations


def _locomo(data: Data) -> list[Conversation]:
    """LoCoMo's ten conversations from its published file, without the adversarial questions.

    Two of conv-26's 47 adversarial questions have an answer in the file, so that 154 would be learned from; the paper
    trains on 152 and leaves the whole category out, as all do that report LoCoMo by it.
    """
    from langgraph_memory_r1.evals.locomo import LoCoMo

    locomo = LoCoMo()
    try:
        conversations = locomo.load(_path(data), "full", allow_modified=data.allow_modified).conversations
    except InputError as error:
        # The loader's advice is for the command line of the evaluations; a recipe has a key for it.
        raise InputError(str(error).replace("--allow-modified", "allow_modified: true")) from error
    return [
        replace(each, questions=tuple(question for question in each.questions if not locomo.unanswerable(question)))
        for each in conversations
    ]


def stories_of(data: Data) -> list[Story]:
    """Return the stories behind conversations of PersonaWorld."""
    questions = QUESTIONS if data.questions is None else data.questions
    return generate(data.split, seed=data.seed, conversations=data.limit, questions=questions, difficulty=data.world)


def _path(data: Data) -> Path:
    if data.path is None:
        raise InputError(f"Data of the source {data.source!r} needs a path.")
    return Path(data.path)
