"""A model call as LangChain reports it, and its end, put together to a decision: the same for callbacks and exports.

    ModelCall (when it began, its prompt)  +  ModelReply  +  the output of its node  ─►  Decision

Several calls may stand in one run of a node: second tries at a reply that could not be read, decisions that were made
anew because somebody else changed the bank, one call for each batch of turns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult

from langgraph_memory_r1.traces.decision import Decision, Message

_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "HumanMessageChunk": "user"}
_SETTINGS = ("temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "seed", "stop")
_THREAD = ("thread_id", "session_id", "conversation_id")
"""The names under which LangSmith knows a conversation's thread."""
_TOKEN_ID = re.compile(r"token_id:(\d+)")


@dataclass(frozen=True, slots=True)
class ModelReply:
    """A model's reply."""

    text: str = ""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    info: Mapping[str, Any] = field(default_factory=dict)
    """The provider's remarks: finish_reason, model_name, logprobs, token_ids."""
    usage: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call of a model, as far as it is known when it begins."""

    id: str
    run_id: str
    node_run_id: str | None
    messages: tuple[Message, ...]
    metadata: Mapping[str, Any]
    parameters: Mapping[str, Any]
    node: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """A call that came to its end."""

    call: ModelCall
    reply: ModelReply
    ms: float | None = None
    error: str | None = None

    @property
    def role(self) -> Any:
        """The memory's role that made the call; None where the app made it."""
        return self.call.metadata.get("memory_role")

    @property
    def turns(self) -> frozenset[str]:
        """Ids of the turns that the prompt was about."""
        references = self.call.metadata.get("memory_refs") or {}
        return frozenset(turn for ids in references.get("turns", ()) for turn in ids)


def thread_of(metadata: Mapping[str, Any]) -> str | None:
    """Return the conversation's thread, under any of the names that LangSmith knows."""
    return next((str(metadata[key]) for key in _THREAD if metadata.get(key)), None)


def trace_message(kind: str, content: Any, extra: Mapping[str, Any]) -> Message:
    """Return a message as a trace keeps it: text as it is, of other content (pictures, sound) only its type."""
    if not isinstance(content, str):
        content = [
            {"type": "text", "text": part if isinstance(part, str) else part["text"]}
            if isinstance(part, str) or isinstance(part.get("text"), str)
            else {"type": str(part.get("type", "unknown"))}
            for part in content or ()
        ]
    calls = [{key: call.get(key) for key in ("name", "args", "id")} for call in extra.get("tool_calls") or ()]
    optional = {"tool_calls": calls, "tool_call_id": extra.get("tool_call_id"), "name": extra.get("name")}
    message: Message = {"role": _ROLES.get(kind, kind), "content": content}
    return message | {key: value for key, value in optional.items() if value}


def message_from_langchain(message: BaseMessage) -> Message:
    """Return a message of LangChain as a trace keeps it."""
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    tool_call_id = message.tool_call_id if isinstance(message, ToolMessage) else None
    extra = {"tool_calls": calls, "tool_call_id": tool_call_id, "name": message.name}
    return trace_message(message.type, message.content, extra)


def reply_from_langchain(response: LLMResult) -> ModelReply:
    """Return the reply in a result of LangChain; of several candidates the first."""
    if not response.generations or not response.generations[0]:
        return ModelReply()
    generation = response.generations[0][0]
    message = generation.message if isinstance(generation, ChatGeneration | ChatGenerationChunk) else None
    if not isinstance(message, AIMessage):
        return ModelReply(generation.text, info=generation.generation_info or {})
    info = {**(generation.generation_info or {}), **message.response_metadata}
    return ModelReply(message.text, message.tool_calls, info, message.usage_metadata or {})


def is_memory_output(output: Any) -> bool:
    """Return whether this is the output of a node of the memory, and not of a wrapper around a model."""
    return isinstance(output, Mapping) and ("memory_ops" in output or "answer" in output)


def decisions_of_node(calls: Sequence[FinishedCall], output: Any) -> list[Decision]:
    """Return the decisions of one run of a node, with what the node did because of them.

    Args:
        calls: Its model calls, in order.
        output: What the node returned; None where it is not known or where the node failed.
    """
    state = output if isinstance(output, Mapping) else {}
    # Of several tries at the same facts only the last one was applied, and of several answers only the last is given.
    managing: dict[object, int] = {}
    answering: int | None = None
    for number, finished in enumerate(calls):
        if finished.error:
            continue
        if finished.role == "manage":
            managing[finished.turns or finished.call.id] = number
        elif finished.role == "answer":
            answering = number
    operations = _operations_by_call(
        _mappings(state.get("memory_ops")), {number: calls[number].turns for number in managing.values()}
    )
    return [
        _decision(finished, operations.get(number, ()), state if number == answering else {})
        for number, finished in enumerate(calls)
    ]


def _operations_by_call(operations: Sequence[Any], turns: Mapping[int, frozenset[str]]) -> dict[int, list[Any]]:
    """Return which operations come from which call: each from the one that it shares most source turns with.

    A record that a turn held nothing has no decision behind it, and goes to none.
    """
    by_call: dict[int, list[Any]] = {}
    for operation in operations:
        if operation.get("event") == "ERROR":
            continue
        source = set(operation.get("source") or ())
        best = max(turns, key=lambda number: len(source & turns[number]), default=None)
        alone = len(turns) == 1 and not any(turns.values())  # without references there is no other way to tell
        if best is not None and (source & turns[best] or alone):
            by_call.setdefault(best, []).append(operation)
    return by_call


def _decision(finished: FinishedCall, operations: Sequence[Any], answer: Mapping[str, Any]) -> Decision:
    """Return a call as a decision, with the operations and the answer that its node made of it."""
    call, reply, metadata = finished.call, finished.reply, finished.call.metadata
    name, provider = metadata.get("ls_model_name") or reply.info.get("model_name"), metadata.get("ls_provider")
    token_ids, logprobs = _tokens(reply.info)
    return Decision(
        id=call.id,
        run_id=call.run_id,
        messages=call.messages,
        completion=reply.text,
        tool_calls=tuple({key: made.get(key) for key in ("name", "args", "id")} for made in reply.tool_calls),
        node=metadata.get("langgraph_node") or call.node,
        node_run_id=call.node_run_id,
        role=metadata.get("memory_role"),
        thread=thread_of(metadata),
        bank=metadata.get("memory_bank"),
        references=dict(metadata.get("memory_refs") or {}),
        operations=tuple(operations),
        answer=answer["answer"] if isinstance(answer.get("answer"), str) else None,
        selected=tuple(str(memory["id"]) for memory in _mappings(answer.get("selected")) if "id" in memory),
        model=f"{provider}:{name}" if name and provider else name or call.parameters.get("_type") or provider,
        adapter=call.parameters.get("adapter"),
        settings={key: call.parameters[key] for key in _SETTINGS if call.parameters.get(key) is not None},
        prompt_version=metadata.get("prompt_version"),
        prompt_style=metadata.get("prompt_style"),
        input_tokens=reply.usage.get("input_tokens"),
        output_tokens=reply.usage.get("output_tokens"),
        prompt_token_ids=tuple(reply.info.get("prompt_token_ids") or ()),
        token_ids=token_ids,
        logprobs=logprobs,
        at=call.at,
        ms=finished.ms,
        error=finished.error,
    )


def _tokens(info: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the ids and log-probabilities of the reply's tokens.

    The ids are vLLM's `token_ids`, or else read from the tokens where the server writes these as "token_id:42".
    """
    logprobs = info.get("logprobs") or {}
    tokens = (logprobs.get("content") if isinstance(logprobs, Mapping) else None) or ()
    matches = [_TOKEN_ID.fullmatch(str(token.get("token"))) for token in tokens]
    ids = info.get("token_ids") or (tuple(int(match[1]) for match in matches if match) if all(matches) else ())
    return tuple(ids), tuple(float(token["logprob"]) for token in tokens)


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects of a list; an app's own state may have keys of the same names, with other contents."""
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list | tuple) else []
