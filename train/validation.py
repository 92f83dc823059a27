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

from langgraph_memory_r1.train.rewards import Judge, RowReward, finite
from langgraph_memory_r1.train.rollout import Deciding, Episode, final_replies, roll
from langgraph_memory_r1.train.rows import Row
from langgraph_memory_r1.train.sources import probe_of

SCORES_FILE = "scores.json"


def greedy_score(deciding: Deciding, rows: Sequence[Row], reward: RowReward) -> float | None:
    """The mean reward of greedy decisions, each made as the graph makes it; None where no row can be judged."""
    replies = final_replies(rows[0].node, [row.given for row in rows], deciding) if rows else []
    rewards = map(finite, reward.rewards(list(zip(rows, replies, strict=True))))
    known = [value for value in rewards if value is not None]
    return sum(known) / len(known) if known else None


def episode_score(manager: Deciding, episodes: Sequence[Episode], judge: Judge) -> float | None:
    """The mean score of the questions at the end of episodes that the manager went through greedily.

    None where no question can be judged.
    """
    ends = roll(episodes, manager)
    asked = [(end.bank, [probe_of(question)]) for end in ends for question in end.episode.questions if question.gold]
    known = [score for score in judge.scores(asked) if score is not None]
    return sum(known) / len(known) if known else None


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
        self.score, self.save, self.folder, self.every, self.patience = score, save, folder, every, patience
        self.gathered = gathered
        self.scores: dict[int, float] = {}

    @property
    def best(self) -> Path:
        """The folder of the best weights."""
        return self.folder / "best"

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Takes up the scores so far; those of steps that will be done again are forgotten."""
        kept = json.loads(self._file.read_text()) if self._file.exists() else {}
        self.scores = {int(step): score for step, score in kept.items() if int(step) <= state.global_step}
        if not self.scores:
            self._judge(state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Scores, at the last step too."""
        if state.global_step % self.every == 0 or state.global_step >= state.max_steps:
            self._judge(state)
            if self._is_stuck():
                control.should_training_stop = True

    def _judge(self, state: TrainerState) -> None:
        with self.gathered():
            self._score_and_save(state)

    def _score_and_save(self, state: TrainerState) -> None:
        score = _agreed(self.score())
        if score is None:
            return
        better = not self.scores or score > max(self.scores.values())
        self.scores[state.global_step] = score
        if not state.is_world_process_zero:
            return
        if better:
            self.save(self.best)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self.scores))

    def _is_stuck(self) -> bool:
        if self.patience is None or len(self.scores) <= self.patience:
            return False
        scores = list(self.scores.values())
        return max(scores[-self.patience :]) <= max(scores[: -self.patience])

    @property
    def _file(self) -> Path:
        return self.folder / SCORES_FILE


def _agreed(score: float | None) -> float | None:
    """The main process's: where several stop for it, they have to stop together."""
    said = [score]
    broadcast_object_list(said)
    return said[0]
