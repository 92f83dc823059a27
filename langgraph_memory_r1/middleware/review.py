"""A person looks at what would change or remove a memory before it happens.

    turn ─► propose: decided on a fork ─► Proposal, kept by the checkpointer ─► interrupt ─► apply_approved: one commit

What was decided is kept as plain values, so that the run that goes on after the interrupt, maybe in another process,
applies what was shown and asks no model again. Only what was approved is applied, and only if the memories are still
what they were when it was decided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, NotRequired, TypeAlias

from langgraph.runtime import get_runtime
from langgraph.types import interrupt
from typing_extensions import TypedDict

from langgraph_memory_r1.bank.ledger import TurnMark, keys_of
from langgraph_memory_r1.bank.records import change_from_record, change_to_record
from langgraph_memory_r1.errors import ConflictError, InputError
from langgraph_memory_r1.flow import MemoryAgents, Outcome, redact_operation, remember
from langgraph_memory_r1.middleware.turn import AgentTurn
from langgraph_memory_r1.schemas import Add, Change, Delete, Event, Noop, Operation, Update
from langgraph_memory_r1.state import ChangeRecord, Usage, change_record
from langgraph_memory_r1.steps import RunBlocking, RunMonitor

NeedsReview: TypeAlias = Callable[[ChangeRecord], bool]
"""Whether a person is asked about an operation."""

Review: TypeAlias = Literal["delete", "update"] | NeedsReview
"""What is asked about: deletions, whatever changes or removes a memory, or what a function says."""

_REVIEWED = {"delete": ("DELETE",), "update": ("DELETE", "UPDATE")}
_ACTIONS = {"ADD": "add_memory", "UPDATE": "update_memory", "DELETE": "delete_memory"}
_VERDICTS = {"approve": True, "accept": True, "yes": True, "reject": False, "ignore": False, "no": False}
_HOW_TO_REPLY = (
    'resume with {"decisions": [{"type": "approve"}, ...]}, one for each action in their order, each of them approve, '
    'edit or reject; or with True, False, a list of the ids that are approved, or {"id": True, ...}'
)


class Proposal(TypedDict):
    """What was decided about a turn, as the checkpointer keeps it."""

    changes: list[dict[str, Any]]
    cursor: str | None
    usage: Usage
    turns: NotRequired[list[list[Any]]]
    """Marks of the turns, as `TurnMark` has them."""


@dataclass(frozen=True, slots=True)
class Approved:
    """What may be applied."""

    operations: list[Operation]
    expect: dict[str, int]
    """Memory id → `rev` that the decision was based on."""


class ReviewVerdict(NamedTuple):
    """What a person said to one change."""

    approved: bool
    text: str | None = None
    """What the memory shall say instead; in place of a deletion it then stays."""
    message: str = ""
    """Why it was turned down."""


def review_rule(review: Review | None) -> NeedsReview | None:
    """Return the rule by which a person is asked about an operation.

    Raises:
        InputError: If it cannot be understood.
    """
    if review is None or callable(review):
        return review
    if review not in _REVIEWED:
        raise InputError(f'There is no review {review!r}; give "delete", "update" or a function of the operation.')
    events = _REVIEWED[review]
    return lambda operation: operation["event"] in events


async def propose(turn: AgentTurn, agents: MemoryAgents) -> Proposal:
    """Decide what the turn means for the bank, on a fork of it, and change nothing.

    A fork has no embedder: related memories are looked up by words alone, also where the bank ranks by vectors too.
    """
    bank = await turn.run.bank()
    fork = await RunBlocking(bank.fork)

    def emit(event: str, data: dict[str, Any]) -> None:
        turn.run.monitor.emit("proposal" if event == "operation" else event, data)

    outcome, monitor = Outcome(), RunMonitor(emit)
    await remember(bank, fork, turn.new, agents, turn.run.options, monitor, outcome)
    changes = [{"id": change.id, **change_to_record(change)} for change in outcome.changes]
    return Proposal(
        changes=changes, cursor=outcome.cursor, usage=monitor.usage, turns=[list(mark) for mark in fork.turns]
    )


async def apply_approved(turn: AgentTurn, proposal: Proposal, needs_review: NeedsReview) -> None:
    """Ask where somebody has to be asked, and apply what may be applied, in one commit."""
    turn.run.monitor.usage = proposal["usage"]
    changes = [change_from_record(record["id"], record) for record in proposal["changes"]]
    if changes:
        allowed = approve(changes, needs_review, turn.name)
        redact = turn.run.options.redact
        # Once more: what was turned down is quoted in a NOOP, with words that the bank has held since before.
        operations = [redact_operation(each, redact) if redact else each for each in allowed.operations]
        bank, model = await turn.run.bank(), changes[0].model
        marks = [TurnMark(*mark) for mark in proposal.get("turns", [])]
        try:
            turn.outcome.changes = await RunBlocking(
                lambda: bank.apply(operations, expect=allowed.expect or None, model=model, turns=marks)
            )
        except ConflictError as error:
            if not marks or keys_of(marks, error.keys) != {mark.key for mark in marks}:
                raise
            # A run that is resumed twice, or replayed: all of it was applied the first time.
        for change in turn.outcome.changes:
            turn.run.monitor.emit("operation", {"operation": change_record(change)})
    turn.outcome.cursor = proposal["cursor"]


def approve(changes: Sequence[Change], needs_review: NeedsReview, name: str) -> Approved:
    """Interrupt the run where somebody has to be asked; what is turned down is kept as a NOOP.

    Raises:
        InputError: The run cannot be interrupted, or the reply cannot be understood; nothing is applied.
    """
    proposed = net_changes(changes)
    records = [change_record(change) for change in proposed if change.memory_id]
    asked = [record for record in records if needs_review(record)]
    verdicts: dict[str, ReviewVerdict] = {}
    if asked:
        info = get_runtime().execution_info
        if info is None or info.thread_id is None:
            raise InputError(
                "A memory review interrupts the run; give the agent a checkpointer, and the run a thread_id."
            )
        verdicts = read_verdicts(interrupt(review_request(name, asked)), asked)
    refused = {memory_id for memory_id, verdict in verdicts.items() if not verdict.approved}
    expect = {
        change.memory_id: change.before.rev
        for change in proposed
        if change.memory_id and change.before and change.memory_id not in refused
    }
    everything = ReviewVerdict(True)
    return Approved(
        [operation_for(change, verdicts.get(str(change.memory_id), everything)) for change in proposed], expect
    )


def review_request(name: str, asked: Sequence[ChangeRecord]) -> dict[str, Any]:
    """Return what a person is asked, in the shape of LangChain's `HITLRequest`, with the operations as they are."""
    actions = [
        {
            "name": _ACTIONS[record["event"]],
            "args": {"memory_id": record["memory_id"], "text": record["after"] or record["before"]},
            "description": f"{record['event']} in the memory {name!r}: "
            + " → ".join(repr(text) for text in (record["before"], record["after"]) if text),
        }
        for record in asked
    ]
    names = dict.fromkeys(action["name"] for action in actions)
    allowed = ["approve", "edit", "reject"]
    return {
        "action_requests": actions,
        "review_configs": [{"action_name": each, "allowed_decisions": allowed} for each in names],
        "type": "memory_review", "memory": name, "operations": list(asked), "reply": _HOW_TO_REPLY,
    }  # fmt: skip


def net_changes(changes: Sequence[Change]) -> list[Change]:
    """Merge the changes of each memory into one, from before the turn to after it; NOOPs stay as they are.

    A person is asked about what would become of a memory, not about the steps there; and one commit can change a
    memory once.
    """
    first: dict[str, Change] = {}
    last: dict[str, Change] = {}
    for change in changes:
        key = change.memory_id or change.id
        source = (*last[key].source, *change.source) if key in last else change.source
        first.setdefault(key, change)
        last[key] = replace(change, source=tuple(dict.fromkeys(source)))
    net = []
    for key, start in first.items():
        end = last[key]
        if start.memory_id is None or start is end:
            net.append(end)
        elif start.before is None and end.after is None:
            reason = "said and taken back in one turn"
            net.append(replace(end, event="NOOP", memory_id=None, before=None, reason=reason))
        else:
            event: Event = "ADD" if start.before is None else "DELETE" if end.after is None else "UPDATE"
            net.append(replace(end, event=event, before=start.before))
    return net


def operation_for(change: Change, verdict: ReviewVerdict) -> Operation:
    """Return the operation that makes a change, as it was edited; a NOOP that says so where it was turned down."""
    before, after = change.before, change.after
    if not verdict.approved:
        why = f": {verdict.message}" if verdict.message else ""
        return Noop(f"turned down in review: {change.event} of {before.text if before else ''!r}{why}", change.source)
    if verdict.text is not None and (edited := after or before) is not None:
        after = replace(edited, text=verdict.text)
    if change.memory_id is None or (before is None and after is None):
        return Noop(change.reason, change.source)
    if after is None:
        return Delete(change.memory_id, change.source, change.reason)
    if before is None:
        return Add(
            after.text, after.speaker, after.at, after.source, after.session, change.reason, after.metadata, after.tags
        )
    return Update(change.memory_id, after.text, change.source, after.at, metadata=after.metadata, tags=after.tags)


def read_verdicts(reply: object, asked: Sequence[ChangeRecord]) -> dict[str, ReviewVerdict]:
    """Read what a person replied to a review: for each memory whether its change is approved, and how it was edited.

    Raises:
        InputError: The reply cannot be understood.
    """
    ids = [str(record["memory_id"]) for record in asked]
    decisions = reply["decisions"] if isinstance(reply, Mapping) and set(reply) == {"decisions"} else reply
    if isinstance(decisions, Mapping) and "type" in decisions and len(ids) == 1:
        decisions = [decisions]
    if isinstance(decisions, list) and decisions and all(isinstance(each, Mapping) for each in decisions):
        if len(decisions) != len(ids):
            raise InputError(
                f"A memory review asked about {len(ids)} changes, and {len(decisions)} decisions came back; "
                "give one for each, in their order."
            )
        return {key: _verdict(each, record) for key, each, record in zip(ids, decisions, asked, strict=True)}
    if isinstance(reply, str):
        reply = _VERDICTS.get(reply.lower(), reply)
    if isinstance(reply, bool):
        return dict.fromkeys(ids, ReviewVerdict(reply))
    if isinstance(reply, Mapping) and set(reply) <= set(ids) and all(isinstance(each, bool) for each in reply.values()):
        return {key: ReviewVerdict(bool(reply.get(key))) for key in ids}
    if isinstance(reply, Sequence) and not isinstance(reply, str) and {str(key) for key in reply} <= set(ids):
        return {key: ReviewVerdict(key in {str(item) for item in reply}) for key in ids}
    raise InputError(f"The reply {reply!r:.80} to a memory review cannot be understood; {_HOW_TO_REPLY}.")


def _verdict(decision: Mapping[str, Any], record: ChangeRecord) -> ReviewVerdict:
    """One decision of LangChain's `HITLResponse`."""
    kind = str(decision.get("type")).lower()
    if kind in _VERDICTS:
        return ReviewVerdict(_VERDICTS[kind], message=str(decision.get("message") or ""))
    action = decision.get("edited_action")
    args = action.get("args") if isinstance(action, Mapping) else None
    text = args.get("text") if isinstance(args, Mapping) else None
    if kind != "edit" or not isinstance(args, Mapping) or not isinstance(text, str) or not text.strip():
        raise InputError(
            f"The decision {decision!r:.80} about a memory cannot be understood; give the type approve, reject, or "
            'edit with {"edited_action": {"name": ..., "args": {"memory_id": ..., "text": ...}}}.'
        )
    if args.get("memory_id", record["memory_id"]) != record["memory_id"]:
        raise InputError(f"An edit cannot change which memory it is about; keep the id {record['memory_id']!r}.")
    # An editor that changed nothing has approved.
    return ReviewVerdict(True, None if text == (record["after"] or record["before"]) else text)
