"""Greedy scores on the validation rows while training: the best weights are kept, and a stage ends when stuck.

TRL's own evaluation samples at the temperature of training; what is deployed decides greedily, and so it is here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from langgraph_memory_r1.train.rewards import FrozenAnswerer, RowReward, mean_of
from langgraph_memory_r1.train.rollout import RolePolicy, final_replies, roll_out
from langgraph_memory_r1.train.rows import Episode, Row, probe_of


def greedy_score(role_policy: RolePolicy, rows: Sequence[Row], reward: RowReward) -> float | None:
    """Return the mean reward of greedy decisions, each made as the graph makes it; None where no row can be judged."""
    replies = final_replies(rows[0].node, [row.role_input for row in rows], role_policy) if rows else []
    return mean_of(reward.rewards(list(zip(rows, replies, strict=True))))


def episode_score(manager: RolePolicy, episodes: Sequence[Episode], frozen_answerer: FrozenAnswerer) -> float | None:
    """Return the mean score of the questions at the end of episodes that the manager went through greedily.

    None where no question can be judged.
    """
    rollouts = roll_out(episodes, manager)
    return mean_of(
        frozen_answerer.scores(
            [
                (rollout.bank, [probe_of(question)])
                for rollout in rollouts
                for question in rollout.episode.questions
                if question.gold
            ]
        )
    )


class KeepBest(TrainerCallback):  # type: ignore[misc]
    """Scores every so many steps, keeps the best weights, stops when nothing better comes.

    Args:
        score: The present score.
        save: Writes the present weights into a folder.
        folder: Of the stage; the scores stand in it, so that a resumed run knows them.
        every: Steps between scores.
        patience: Scores without a better one before training ends.
        gathered: Entered while it is scored and saved, by every process.
    """

    def __init__(
        self,
        score: Callable[[], float | None],
        save: Callable[[Path], None],
        folder: Path,
        *,
        every: int,
        patience: int | None = None,
        gathered: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.score, self.save, self.every, self.patience, self.gathered = score, save, every, patience, gathered
        self.best = folder / "best"
        """The folder of the best weights."""
        self.scores: dict[int, float] = {}
        self._file = folder / "scores.json"

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take up the scores so far; those of steps that will be done again after a kill are forgotten."""
        # A kill may come after a score and before the checkpoint of its step: that step is done again, and scored.
        scores = json.loads(self._file.read_text()) if self._file.exists() else {}
        self.scores = {int(step): score for step, score in scores.items() if int(step) <= state.global_step}
        if not self.scores:
            self._score_and_save(state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Score every so many steps, and at the last one."""
        if state.global_step % self.every and state.global_step < state.max_steps:
            return
        self._score_and_save(state)
        if self.patience is not None and len(self.scores) > self.patience:
            scores = list(self.scores.values())
            if max(scores[-self.patience :]) <= max(scores[: -self.patience]):
                control.should_training_stop = True

    def _score_and_save(self, state: TrainerState) -> None:
        with self.gathered():
            # Greedy replies may differ by rounding from process to process. The main one's score holds for all, or some
            # would stop while the others wait for them in the next step.
            shared = [self.score()]
            broadcast_object_list(shared)
            score = shared[0]
            if score is None:
                return
            is_better = not self.scores or score > max(self.scores.values())
            self.scores[state.global_step] = score
            if not state.is_world_process_zero:
                return
            if is_better:
                self.save(self.best)
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps(self.scores))
