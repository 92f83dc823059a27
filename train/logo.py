"""LoGo-GRPO (Memory-R2, arXiv 2605.21768): whole episodes against each other, and parts of them from the same memory.

    global   n rollouts of an episode; what was decided in a session is judged by the bank at the end, on the questions
             whose evidence lies in that session: long-range credit, but the rollouts' memories have drifted apart
    local    m re-rolls of one session, or of one step, from the memory of one of the rollouts, judged right after it:
             fair credit

Both kinds of groups stand in one batch, each normalised in itself. Re-rolls are sampled at the temperature of the
rollouts: taken greedily, a group of them would have no variance and teach nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from trl import GRPOConfig

from langgraph_memory_r1.batches import Batch
from langgraph_memory_r1.schemas import Question
from langgraph_memory_r1.train.advantages import group_advantages, zero_variance_share
from langgraph_memory_r1.train.grpo import NodeGRPOTrainer, write_completions
from langgraph_memory_r1.train.models import BASE, LocalPolicy, Reply, wearing
from langgraph_memory_r1.train.recipe import LoGoSettings
from langgraph_memory_r1.train.rewards import Judge, RowReward, Weighted
from langgraph_memory_r1.train.rollout import Deciding, Episode, Rollout, roll
from langgraph_memory_r1.train.rows import ManagerRow, Probe, Row
from langgraph_memory_r1.train.sharded import gathered
from langgraph_memory_r1.train.sources import probe_of


@dataclass(frozen=True, slots=True)
class Sample:
    """One model call, the group that it is compared in, and its reward."""

    reply: Reply
    group: tuple[str, ...]
    reward: float | None


class NodeLoGoTrainer(NodeGRPOTrainer):
    """`NodeGRPOTrainer` on whole episodes: `num_generations` rollouts of each, and local re-rolls.

    Args:
        model: As for `NodeGRPOTrainer`; the active adapter manages.
        tokenizer: As there.
        episodes: Conversations with questions whose evidence is known.
        judge: The frozen Answer Agent.
        args: TRL's settings; one epoch goes once over the episodes.
        logo: What LoGo-GRPO has beyond GRPO.
        related_k: Memories that the manager is shown for every fact.
        **kwargs: As for `NodeGRPOTrainer`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        episodes: Sequence[Episode],
        judge: Judge,
        args: GRPOConfig,
        *,
        logo: LoGoSettings | None = None,
        related_k: int = 10,
        **kwargs: Any,
    ) -> None:
        rows = [ManagerRow(episode.id, (), (), (), (), episode.id) for episode in episodes]
        super().__init__(model, tokenizer, rows, [Weighted(_Unused(rows))], args, **kwargs)
        self.episodes = {episode.id: episode for episode in episodes}
        self.judge, self.logo, self.related_k = judge, logo or LoGoSettings(), related_k
        self._random = torch.Generator().manual_seed(args.seed)

    def rest(self) -> dict[str, Any]:
        """The random numbers by which parts are chosen too."""
        return {**super().rest(), "random": self._random.get_state()}

    def take_up(self, rest: dict[str, Any]) -> None:
        """Go on with these random numbers."""
        super().take_up(rest)
        self._random.set_state(rest["random"])

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        with gathered(self.model):
            return self._rolled_out(inputs)

    def _rolled_out(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        episodes = [self.episodes[row["row_id"]] for row in inputs]
        model = self.accelerator.unwrap_model(self.model)
        policy = LocalPolicy(model, self.processing_class, max_tokens=self.max_completion_length)
        manager = Deciding(policy, k=self.related_k, temperature=self.temperature)
        rollouts = roll(episodes, manager)
        samples = [*self._global(rollouts), *self._local(rollouts, manager)]
        self._count(samples, len(inputs))
        write_completions(
            self.args, self.state.global_step,
            [{"group": "/".join(one.group), "completion": one.reply.text, "reward": one.reward} for one in samples],
        )  # fmt: skip
        return self._batch(samples)

    def _global(self, rollouts: Sequence[Rollout]) -> Iterator[Sample]:
        """The calls of a session, judged by the bank at the end of the episode."""
        states = [(rollout, session) for rollout in rollouts for session in dict.fromkeys(rollout.episode.sessions)]
        scores = self.judge.scores(
            [(one.bank, probes_of(one.episode, one.episode.within(session).steps)) for one, session in states]
        )
        for (rollout, session), score in zip(states, scores, strict=True):
            group = ("global", rollout.episode.id, session)
            yield from (Sample(reply, group, score) for at, reply in rollout.moves if at == session)

    def _local(self, rollouts: Sequence[Rollout], manager: Deciding) -> Iterator[Sample]:
        """The calls of what is re-rolled, judged by the bank right after."""
        anchors = list(self._anchors(rollouts))
        again = [(anchor, span) for anchor, span in anchors for _ in range(self.logo.local_rolls)]
        rolled = roll(
            [anchor.episode.part(span.start, span.stop) for anchor, span in again], manager,
            [anchor.before[span.start] for anchor, span in again],
        )  # fmt: skip
        probes = [self._probes_until(anchor.episode, span.stop) for anchor, span in again]
        scores = self.judge.scores([(rollout.bank, asked) for rollout, asked in zip(rolled, probes, strict=True)])
        for (anchor, span), rollout, score in zip(again, rolled, scores, strict=True):
            group = ("local", anchor.episode.id, str(span.start))
            yield from (Sample(reply, group, score) for _, reply in rollout.moves)

    def _anchors(self, rollouts: Sequence[Rollout]) -> Iterator[tuple[Rollout, range]]:
        """For some parts of every episode after which something can be asked, one of its rollouts."""
        by_episode: dict[str, list[Rollout]] = {}
        for rollout in rollouts:
            by_episode.setdefault(rollout.episode.id, []).append(rollout)
        for group in by_episode.values():
            for span in self._spans(group[0].episode):
                asked = bool(self._probes_until(group[0].episode, span.stop))
                if self._draw() < self.logo.local_probability and asked:
                    yield group[int(self._draw() * len(group))], span

    def _spans(self, episode: Episode) -> Iterator[range]:
        """The steps that are re-rolled together."""
        places = range(len(episode.steps))
        if self.logo.local_span == "step":
            yield from (range(place, place + 1) for place in places)
        else:
            for _, group in groupby(places, key=episode.sessions.__getitem__):
                together = list(group)
                yield range(together[0], together[-1] + 1)

    def _probes_until(self, episode: Episode, stop: int) -> list[Probe]:
        return probes_of(episode, episode.steps[:stop], every=True)[-self.logo.local_probes :]

    def _batch(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """The samples as TRL takes them, filled up with samples of advantage 0 so that no remainder is dropped."""
        groups = {group: number for number, group in enumerate(dict.fromkeys(sample.group for sample in samples))}
        rewards = torch.tensor([float("nan") if s.reward is None else s.reward for s in samples])
        advantages = group_advantages(rewards, torch.tensor([groups[sample.group] for sample in samples]))
        missing = -len(samples) % self.args.steps_per_generation
        replies = [sample.reply for sample in samples] + [samples[-1].reply] * missing
        device = self.accelerator.device
        prompts, prompt_mask = _padded([reply.prompt_ids for reply in replies], "left", device)
        completions, mask = _padded([reply.completion_ids for reply in replies], "right", device)
        batch = {
            "prompt_ids": prompts, "prompt_mask": prompt_mask, "completion_ids": completions, "completion_mask": mask,
            "advantages": torch.cat([advantages, torch.zeros(missing)]).to(device),
            "num_items_in_batch": self.accelerator.gather(mask.sum()).sum(),
        }  # fmt: skip
        return self._compared(self.shortened(batch))

    def _compared(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch with the log-probabilities that the loss compares with, where it does."""
        if self.args.gradient_accumulation_steps % (self.args.steps_per_generation * self.num_iterations):
            batch = batch | {"old_per_token_logps": self._logps(self.model, batch)}
        if self.beta:
            with wearing(self.accelerator.unwrap_model(self.model), BASE):
                base = self.model if self.ref_model is None else self.ref_model
                batch = batch | {"ref_per_token_logps": self._logps(base, batch)}
        return batch

    def _logps(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        """Of the completions under a model: (B, C)."""
        tokens = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        with torch.no_grad():
            found: Tensor = self._get_per_token_logps_and_entropies(
                model, tokens, mask, batch["completion_ids"].shape[1],
                batch_size=self.args.per_device_train_batch_size,
            )[0]  # fmt: skip
        return found

    def _count(self, samples: Sequence[Sample], rollouts: int) -> None:
        metrics = self._metrics["train"]
        for kind in ("global", "local"):
            rewards = [s.reward for s in samples if s.group[0] == kind and s.reward is not None]
            if rewards:
                metrics[f"rewards/{kind}/mean"].append(sum(rewards) / len(rewards))
        groups = {group: number for number, group in enumerate({sample.group for sample in samples})}
        rewards_all = torch.tensor([float("nan") if s.reward is None else s.reward for s in samples])
        metrics["reward"].append(float(rewards_all.nanmean()))
        metrics["frac_reward_zero_std"].append(
            zero_variance_share(rewards_all, torch.tensor([groups[sample.group] for sample in samples]))
        )
        metrics["samples_per_rollout"].append(len(samples) / rollouts)

    def _draw(self) -> float:
        return float(torch.rand((), generator=self._random))


class _Unused(RowReward):
    """Stands where TRL wants a reward function; LoGo-GRPO judges whole episodes, and never a single reply."""

    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        """None: a single reply cannot be judged here."""
        return [None] * len(sampled)


def probes_of(episode: Episode, steps: Sequence[Batch], *, every: bool = False) -> list[Probe]:
    """The questions with evidence in these steps: some of it, or with `every` all of it that the episode holds."""
    held, within = ({turn.id for step in some for turn in step.turns} for some in (episode.steps, steps))

    def belongs(question: Question) -> bool:
        found = held & set(question.evidence)
        return bool(found) and (found <= within if every else bool(found & within))

    return [probe_of(question) for question in episode.questions if question.gold and belongs(question)]


def _padded(rows: Sequence[Sequence[int]], side: str, device: torch.device) -> tuple[Tensor, Tensor]:
    tokens = [torch.tensor(row, device=device) for row in rows]
    masks = [torch.ones(len(row), dtype=torch.long, device=device) for row in rows]
    return pad_sequence(tokens, True, 0, side), pad_sequence(masks, True, 0, side)
