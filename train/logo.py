"""LoGo-GRPO (Memory-R2, arXiv 2605.21768): whole episodes against each other, and parts of them from the same memory.

    global   n rollouts of an episode; what was decided in a session is judged by the bank at the end, on the questions
             whose evidence lies in that session: long-range credit, but the rollouts' memories have drifted apart
    local    m re-rolls of one session from the memory of one of the rollouts, judged right after it: fair credit

Both kinds of groups stand in one batch, each normalised in itself, as in the authors' released code: no coefficient
weighs one kind against the other. Re-rolls are sampled at the temperature of the rollouts: taken greedily, a group of
them would have no variance and teach nothing.
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
from langgraph_memory_r1.train.grpo import NodeGRPOTrainer, write_completions
from langgraph_memory_r1.train.models import BASE, Completion, LocalPolicy, using_adapter
from langgraph_memory_r1.train.recipe import LoGoSettings
from langgraph_memory_r1.train.rewards import FrozenAnswerer, RowReward, WeightedReward
from langgraph_memory_r1.train.rollout import RolePolicy, Rollout, roll_out
from langgraph_memory_r1.train.rows import Episode, ManagerRow, Probe, Row, probe_of
from langgraph_memory_r1.train.sharded import gathered

_EPSILON = 1e-4
"""Added to a standard deviation before dividing by it, as TRL does."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One model call, the group that it is compared in, and its reward."""

    completion: Completion
    group: tuple[str, ...]
    """("global", episode, session) or ("local", episode, first step)."""
    reward: float | None
    """None where nothing can be asked of the bank."""


class NodeLoGoTrainer(NodeGRPOTrainer):
    """`NodeGRPOTrainer` on whole episodes: `num_generations` rollouts of each, and local re-rolls.

    Args:
        model: As for `NodeGRPOTrainer`; the active adapter manages.
        tokenizer: As there.
        episodes: Conversations with questions whose evidence is known.
        frozen_answerer: Judges banks.
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
        frozen_answerer: FrozenAnswerer,
        args: GRPOConfig,
        *,
        logo: LoGoSettings | None = None,
        related_k: int = 10,
        **kwargs: Any,
    ) -> None:
        # TRL's dataset has a row for each episode: its sampler repeats them, shuffles them and divides them among the
        # processes. The prompts that it renders of them are never read.
        rows = [ManagerRow(episode.id, (), (), (), (), episode.id) for episode in episodes]
        super().__init__(model, tokenizer, rows, [WeightedReward(_NoReward(rows))], args, **kwargs)
        self.episodes = {episode.id: episode for episode in episodes}
        self.frozen_answerer, self.logo, self.related_k = frozen_answerer, logo or LoGoSettings(), related_k
        # Of its own: with torch's global one, what is re-rolled would depend on how many tokens were sampled.
        self._random = torch.Generator().manual_seed(args.seed)

    def extra_state(self) -> dict[str, Any]:
        """Return the random numbers too by which parts are chosen."""
        return {**super().extra_state(), "random": self._random.get_state()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Go on with these random numbers."""
        super().load_extra_state(state)
        self._random.set_state(state["random"])

    def sample(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Roll episodes out, re-roll parts of them, and return all calls of the model as TRL takes them."""
        with gathered(self.model):
            episodes = [self.episodes[row["row_id"]] for row in inputs]
            model = self.accelerator.unwrap_model(self.model)
            policy = LocalPolicy(model, self.processing_class, max_tokens=self.max_completion_length)
            # In the recipe's style: what is learned under one prompt is not deployed under another.
            manager = RolePolicy(policy, self.style, self.related_k, self.temperature)
            rollouts = roll_out(episodes, manager)
            samples = [*self._global_samples(rollouts), *self._local_samples(rollouts, manager)]
            write_completions(
                self.args, self.state.global_step,
                [{"group": "/".join(one.group), "completion": one.completion.text, "reward": one.reward}
                 for one in samples],
            )  # fmt: skip
            return self._batch(samples, len(rollouts))

    def _global_samples(self, rollouts: Sequence[Rollout]) -> Iterator[Sample]:
        """The calls of a session, judged by the bank at the end of the episode."""
        states = [(rollout, session) for rollout in rollouts for session in dict.fromkeys(rollout.episode.sessions)]
        scores = self.frozen_answerer.scores(
            [
                (rollout.bank, probes_of(rollout.episode, rollout.episode.within(session).steps))
                for rollout, session in states
            ]
        )
        for (rollout, session), score in zip(states, scores, strict=True):
            group = ("global", rollout.episode.id, session)
            for call_session, completion in rollout.completions:
                if call_session == session:
                    yield Sample(completion, group, score)

    def _local_samples(self, rollouts: Sequence[Rollout], manager: RolePolicy) -> Iterator[Sample]:
        """The calls of what is re-rolled, judged by the bank right after."""
        anchors = [anchor for anchor in self._anchors(rollouts) for _ in range(self.logo.local_rolls)]
        rerolls = roll_out(
            [anchor.episode.part(span.start, span.stop) for anchor, span in anchors], manager,
            [anchor.before[span.start] for anchor, span in anchors],
        )  # fmt: skip
        probes = [self._probes_until(anchor.episode, span.stop) for anchor, span in anchors]
        states = [(reroll.bank, asked) for reroll, asked in zip(rerolls, probes, strict=True)]
        scores = self.frozen_answerer.scores(states)
        for (anchor, span), reroll, score in zip(anchors, rerolls, scores, strict=True):
            group = ("local", anchor.episode.id, str(span.start))
            for _, completion in reroll.completions:
                yield Sample(completion, group, score)

    def _anchors(self, rollouts: Sequence[Rollout]) -> Iterator[tuple[Rollout, range]]:
        """For some sessions of every episode after which something can be asked: the steps, and one of its rollouts."""

        def draw() -> float:
            return float(torch.rand((), generator=self._random))

        rollouts_of: dict[str, list[Rollout]] = {}
        for rollout in rollouts:
            rollouts_of.setdefault(rollout.episode.id, []).append(rollout)
        for group in rollouts_of.values():
            episode = group[0].episode
            for _, session_steps in groupby(range(len(episode.steps)), key=episode.sessions.__getitem__):
                first, *others = session_steps
                span = range(first, first + 1 + len(others))
                can_be_asked = bool(self._probes_until(episode, span.stop))
                if draw() < self.logo.local_probability and can_be_asked:
                    yield group[int(draw() * len(group))], span

    def _probes_until(self, episode: Episode, stop: int) -> list[Probe]:
        """The newest questions that can be answered before a step, as many as a re-roll is judged by at most."""
        return probes_of(episode, episode.steps[:stop], every=True)[-self.logo.local_probes :]

    def _batch(self, samples: Sequence[Sample], rollouts: int) -> dict[str, Any]:
        """The samples as TRL takes them, see `NodeSampler.sample`, without those that teach nothing."""
        numbers = {group: number for number, group in enumerate(dict.fromkeys(sample.group for sample in samples))}
        group_ids = torch.tensor([numbers[sample.group] for sample in samples])
        rewards = torch.tensor([float("nan") if sample.reward is None else sample.reward for sample in samples])
        for kind in ("global", "local"):
            judged = [one.reward for one in samples if one.group[0] == kind and one.reward is not None]
            if judged:
                self.log_metric(f"rewards/{kind}/mean", sum(judged) / len(judged))
        self.log_metric("reward", float(rewards.nanmean()))
        self.log_metric("frac_reward_zero_std", zero_variance_share(rewards, group_ids))
        self.log_metric("samples_per_rollout", len(samples) / rollouts)

        # TRL splits a batch into `steps_per_generation` parts and drops the remainder: it is filled up with copies of
        # the last sample, whose advantage of 0 keeps them from teaching anything.
        missing = -len(samples) % self.args.steps_per_generation
        completions = [sample.completion for sample in samples] + [samples[-1].completion] * missing
        device = self.accelerator.device
        prompt_ids, prompt_mask = _padded([one.prompt_ids for one in completions], "left", device)
        completion_ids, completion_mask = _padded([one.completion_ids for one in completions], "right", device)
        batch = self.without_zero_advantages({
            "prompt_ids": prompt_ids, "prompt_mask": prompt_mask,
            "completion_ids": completion_ids, "completion_mask": completion_mask,
            "advantages": torch.cat([group_advantages(rewards, group_ids), torch.zeros(missing)]).to(device),
            "num_items_in_batch": self.accelerator.gather(completion_mask.sum()).sum(),
        })  # fmt: skip

        # As in TRL: where every step has its own generation, the policy that sampled is the one that learns, and the
        # loss takes its own log-probabilities for the old ones.
        if self.args.gradient_accumulation_steps % (self.args.steps_per_generation * self.num_iterations):
            batch["old_per_token_logps"] = self.completion_logps(self.model, batch)
        if self.beta:
            with using_adapter(self.accelerator.unwrap_model(self.model), BASE):
                base = self.model if self.ref_model is None else self.ref_model
                batch["ref_per_token_logps"] = self.completion_logps(base, batch)
        return batch


class _NoReward(RowReward):
    """Stands where TRL wants a reward function; LoGo-GRPO judges whole episodes, and never a single reply."""

    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        """Return None for each: a single reply cannot be judged here."""
        return [None] * len(sampled)


def probes_of(episode: Episode, steps: Sequence[Batch], *, every: bool = False) -> list[Probe]:
    """Return the questions with evidence in these steps: some of it, or with `every` all that the episode holds."""
    all_turns, turns = ({turn.id for step in some for turn in step.turns} for some in (episode.steps, steps))

    def belongs(question: Question) -> bool:
        evidence = all_turns & set(question.evidence)
        return bool(evidence) and (evidence <= turns if every else bool(evidence & turns))

    return [probe_of(question) for question in episode.questions if question.gold and belongs(question)]


def group_advantages(rewards: Tensor, group_ids: Tensor) -> Tensor:
    """Return every reward minus the mean of its group, over the group's standard deviation.

    TRL's own takes groups of one size, as they come. Here groups of whole episodes and of re-rolls stand in one batch,
    in sizes that depend on how many decisions there were.

    Args:
        rewards: Shape (B,); NaN marks a sample that could not be judged.
        group_ids: Shape (B,), integers that name each sample's group.

    Returns:
        Shape (B,); 0 for samples without a reward, in groups whose rewards are all equal, and in groups of one.
    """
    names, group = torch.unique(group_ids, return_inverse=True)
    judged = ~torch.isnan(rewards)
    values = torch.where(judged, rewards, torch.zeros_like(rewards))

    def sums(samples: Tensor) -> Tensor:
        """Over each group: (B,) to (number of groups,)."""
        return torch.zeros(len(names), dtype=rewards.dtype, device=rewards.device).index_add_(0, group, samples)

    counts = sums(judged.to(rewards.dtype))
    mean = (sums(values) / counts.clamp(min=1))[group]
    centred = torch.where(judged, rewards - mean, torch.zeros_like(rewards))
    deviation = (sums(centred**2) / (counts - 1).clamp(min=1)).sqrt()[group]
    return centred / (deviation + _EPSILON)


def zero_variance_share(rewards: Tensor, group_ids: Tensor) -> float:
    """Return the share of groups whose rewards are all equal: they teach nothing. Shapes (B,), (B,)."""
    names = torch.unique(group_ids)
    flat = 0
    for name in names:
        group = rewards[group_ids == name]
        group = group[~torch.isnan(group)]
        flat += len(group) < 2 or bool(torch.isclose(group.max(), group.min()))
    return flat / max(1, len(names))


def _padded(rows: Sequence[Sequence[int]], side: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Tokens of unequal lengths and their mask: both (B, longest)."""
    tokens = [torch.tensor(row, device=device) for row in rows]
    masks = [torch.ones(len(row), dtype=torch.long, device=device) for row in rows]
    return pad_sequence(tokens, True, 0, side), pad_sequence(masks, True, 0, side)
