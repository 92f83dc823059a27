"""A model call as LangChain tells it, and its end, put together to a decision: the same for callbacks and exports.

    Call (when it began, what was said)  +  Reply  +  what its node did with it  ─►  Decision

Several calls may stand in one run of a node: second tries at a reply that could not be read, decisions that were made
anew because somebody else changed the bank, one call for each batch of turns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from langgraph_memory_r1.traces.decision import Decision, Message

_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "HumanMessageChunk": "user"}
_SETTINGS = ("temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "seed", "stop")
_THREAD = ("thread_id", "session_id", "conversation_id")
_TOKEN_ID = re.compile(r"token_id:(\d+)")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said."""

    text: str = ""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    info: Mapping[str, Any] = field(default_factory=dict)
    """The provider's remarks: finish_reason, model_name, logprobs, token_ids."""
    usage: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a model, from its beginning on."""

    id: str
    run_id: str
    node_run_id: str | None
    messages: tuple[Message, ...]
    metadata: Mapping[str, Any]
    parameters: Mapping[str, Any]
    node: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Finished:
    """A call that came to its end."""

    call: Call
    reply: Reply
    ms: float | None = None
    error: str | None = None


def message_of(kind: str, content: Any, extra: Mapping[str, Any]) -> Message:
    """A message as a trace keeps it: text as it is, of other content only what kind it is."""
    message: Message = {"role": _ROLES.get(kind, kind), "content": _content(content)}
    calls = [{key: call.get(key) for key in ("name", "args", "id")} for call in extra.get("tool_calls") or ()]
    told = {"tool_calls": calls, "tool_call_id": extra.get("tool_call_id"), "name": extra.get("name")}
    return message | {key: value for key, value in told.items() if value}


def thread_of(metadata: Mapping[str, Any]) -> str | None:
    """The conversation's thread, under any of the names that LangSmith knows."""
    return next((str(metadata[key]) for key in _THREAD if metadata.get(key)), None)


def text_in(content: Any) -> str:
    """All text of a message's content."""
    if isinstance(content, str):
        return content
    parts = [part if isinstance(part, str) else part.get("text", "") for part in content or ()]
    return "\n".join(part for part in parts if isinstance(part, str) and part)


def settle(calls: Sequence[Finished], outputs: Any) -> list[Decision]:
    """The decisions of one run of a node, with what the node did because of them.

    Args:
        calls: Its model calls, in order.
        outputs: What the node returned; None where it is not known or where the node failed.
    """
    told = outputs if isinstance(outputs, Mapping) else {}
    deciders = _last_of_each([at for at, done in enumerate(calls) if _role(done) == "manage" and not done.error], calls)
    answerers = [at for at, done in enumerate(calls) if _role(done) == "answer" and not done.error]
    shares = _shares(_records(told.get("memory_ops")), {at: _turns(calls[at]) for at in deciders})
    return [
        decision_of(done, operations=shares.get(at, ()), said=told if at in answerers[-1:] else {})
        for at, done in enumerate(calls)
    ]


def settles(outputs: Any) -> bool:
    """Whether this is what a node of the memory returns, and not what a wrapper around a model does."""
    return isinstance(outputs, Mapping) and ("memory_ops" in outputs or "answer" in outputs)


def decision_of(done: Finished, *, operations: Sequence[Any] = (), said: Mapping[str, Any]) -> Decision:
    """One decision."""
    call, info, metadata = done.call, done.reply.info, done.call.metadata
    ids, logprobs = _tokens(info)
    return Decision(
        id=call.id,
        run_id=call.run_id,
        messages=call.messages,
        completion=done.reply.text,
        tool_calls=tuple({key: made.get(key) for key in ("name", "args", "id")} for made in done.reply.tool_calls),
        node=metadata.get("langgraph_node") or call.node,
        node_run_id=call.node_run_id,
        role=metadata.get("memory_role"),
        thread=thread_of(metadata),
        bank=metadata.get("memory_bank"),
        references=dict(metadata.get("memory_refs") or {}),
        operations=tuple(operations),
        answer=said["answer"] if isinstance(said.get("answer"), str) else None,
        selected=tuple(str(memory["id"]) for memory in _records(said.get("selected")) if "id" in memory),
        model=_model(metadata, call.parameters, info),
        adapter=call.parameters.get("adapter"),
        settings={key: call.parameters[key] for key in _SETTINGS if call.parameters.get(key) is not None},
        prompt_version=metadata.get("prompt_version"),
        prompt_style=metadata.get("prompt_style"),
        input_tokens=done.reply.usage.get("input_tokens"),
        output_tokens=done.reply.usage.get("output_tokens"),
        prompt_token_ids=tuple(info.get("prompt_token_ids") or ()),
        token_ids=ids,
        logprobs=logprobs,
        at=call.at,
        ms=done.ms,
        error=done.error,
    )


def _records(found: Any) -> list[Mapping[str, Any]]:
    """The records of a list; an app's own keys may have the same names, and other contents."""
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list | tuple) else []


def _role(done: Finished) -> Any:
    return done.call.metadata.get("memory_role")


def _turns(done: Finished) -> frozenset[str]:
    refs = done.call.metadata.get("memory_refs") or {}
    return frozenset(turn for ids in refs.get("turns", ()) for turn in ids)


def _last_of_each(places: Sequence[int], calls: Sequence[Finished]) -> list[int]:
    """Of several tries at the same facts only the last one was applied."""
    return list({_turns(calls[at]) or calls[at].call.id: at for at in places}.values())


def _shares(operations: Sequence[Any], turns: Mapping[int, frozenset[str]]) -> dict[int, list[Any]]:
    """Which operation comes from which decision: the one that it shares most source turns with.

    A record that a turn held nothing has no decision behind it, and goes to none.
    """
    shares: dict[int, list[Any]] = {}
    for operation in operations:
        if operation.get("event") == "ERROR":
            continue
        source = set(operation.get("source") or ())
        best = max(turns, key=lambda at: len(source & turns[at]), default=None)
        alone = len(turns) == 1 and not any(turns.values())  # without references there is no other way to tell
        if best is not None and (source & turns[best] or alone):
            shares.setdefault(best, []).append(operation)
    return shares


def _content(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return [
        {"type": "text", "text": part if isinstance(part, str) else part["text"]}
        if isinstance(part, str) or isinstance(part.get("text"), str)
        else {"type": str(part.get("type", "unknown"))}
        for part in content or ()
    ]


def _model(metadata: Mapping[str, Any], parameters: Mapping[str, Any], info: Mapping[str, Any]) -> str | None:
    name, provider = metadata.get("ls_model_name") or info.get("model_name"), metadata.get("ls_provider")
    if name and provider:
        return f"{provider}:{name}"
    return name or parameters.get("_type") or provider


def _tokens(info: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The ids and log-probabilities of the reply's tokens: vLLM's `token_ids`, or tokens that are written as ids."""
    told = info.get("logprobs") or {}
    content = (told.get("content") if isinstance(told, Mapping) else None) or ()
    written = [_TOKEN_ID.fullmatch(str(token.get("token"))) for token in content]
    ids = info.get("token_ids") or (tuple(int(match[1]) for match in written if match) if all(written) else ())
    return tuple(ids), tuple(float(token["logprob"]) for token in content)
