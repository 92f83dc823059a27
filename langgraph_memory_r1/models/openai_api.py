"""Chat completions as OpenAI-compatible servers write them: what is sent, and what comes back as LangChain messages."""

from __future__ import annotations

import json
from typing import Any, Final

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    InvalidToolCall,
    ToolCall,
    convert_to_openai_messages,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers.openai_tools import make_invalid_tool_call, parse_tool_call
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from langgraph_memory_r1.errors import InputError, ModelError
from langgraph_memory_r1.prompts import Role, schema

CHAT_TEMPLATE_KWARGS: Final = {"enable_thinking": False}
"""Settings for chat templates where a model plays a role: its JSON comes without thoughts ahead, in training too."""
_QUOTED = 200


def response_format(role: Role) -> dict[str, Any]:
    """Holds a model to the JSON of a role."""
    return {"type": "json_schema", "json_schema": {"name": role, "schema": schema(role), "strict": True}}


def request(messages: list[BaseMessage], fields: dict[str, Any]) -> bytes:
    """The body of a request; fields that are None are left to the server."""
    body = {"messages": convert_to_openai_messages(messages), **fields}
    return json.dumps({key: value for key, value in body.items() if value is not None}).encode()


def result_of(text: str) -> ChatResult:
    """The reply in a response.

    Raises:
        ModelError: The text is no chat completion.
    """
    body = _object(text)
    try:
        choice = body["choices"][0]
        generation = ChatGeneration(message=_message(body, choice), generation_info=_info(body, choice))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise _no_completion(text) from error
    return ChatResult(generations=[generation])


def chunk_of(line: str) -> ChatGenerationChunk | None:
    """The piece of a reply that one line of a stream holds; None for a line that holds none.

    Raises:
        ModelError: The line is no piece of a chat completion.
    """
    data = line.removeprefix("data:").strip()
    if not line.startswith("data:") or data == "[DONE]":
        return None
    body = _object(data)
    try:
        choice = (body["choices"] or [{"delta": {}}])[0]
        return ChatGenerationChunk(message=_chunk(body, choice["delta"]), generation_info=_info(body, choice))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise _no_completion(data) from error


def base_of(name: str, text: str) -> str | None:
    """The base of an adapter in a server's list of its models: a folder or a name; None where it tells no bases.

    Raises:
        InputError: There is no such adapter.
        ModelError: The text is no list of models.
    """
    try:
        cards = {card["id"]: card for card in json.loads(text)["data"]}
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{text.strip()[:_QUOTED]!r} is no list of models; is this the address of a server?"
        ) from error
    if name not in cards:
        raise InputError(f"The server has no model {name!r}; give one of {', '.join(map(repr, cards))}.")
    if "parent" not in cards[name]:
        return None
    parent = cards[name]["parent"]
    if parent is None:
        raise InputError(
            f"{name!r} is the base of its server, not an adapter; start the server with --lora-modules NAME=FOLDER and "
            "give that NAME."
        )
    return str(cards.get(parent, {}).get("root") or parent)


def complaint_of(text: str) -> str:
    """What a server says is wrong, out of the shapes in which servers say it."""
    try:
        body = json.loads(text)
    except ValueError:
        return text.strip()[:_QUOTED]
    said = body.get("error", body) if isinstance(body, dict) else body
    message = said.get("message", said.get("detail")) if isinstance(said, dict) else said
    return str(message or text).strip()[:_QUOTED]


def _object(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError as error:
        raise _no_completion(text) from error
    if not isinstance(body, dict):
        raise _no_completion(text)
    if "error" in body and not body.get("choices"):
        raise ModelError(f"The model's server failed: {complaint_of(text)}")
    return body


def _no_completion(text: str) -> ModelError:
    return ModelError(
        f"{text.strip()[:_QUOTED]!r} is no chat completion; is there an OpenAI-compatible server at this address?"
    )


def _message(body: dict[str, Any], choice: dict[str, Any]) -> AIMessage:
    said = choice["message"]
    calls, invalid = _tool_calls(said.get("tool_calls") or [])
    return AIMessage(
        content=said.get("content") or "",
        additional_kwargs=_thoughts(said),
        tool_calls=calls,
        invalid_tool_calls=invalid,
        usage_metadata=_usage(body.get("usage")),
    )


def _chunk(body: dict[str, Any], delta: dict[str, Any]) -> AIMessageChunk:
    return AIMessageChunk(
        content=delta.get("content") or "",
        additional_kwargs=_thoughts(delta),
        tool_call_chunks=[
            tool_call_chunk(id=call.get("id"), index=call.get("index"), **_function(call))
            for call in delta.get("tool_calls") or []
        ],
        usage_metadata=_usage(body.get("usage")),
    )


def _function(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    return {"name": function.get("name"), "args": function.get("arguments")}


def _thoughts(said: dict[str, Any]) -> dict[str, Any]:
    """What the model thought aloud, where the server tells it apart from the reply."""
    thoughts = said.get("reasoning_content") or said.get("reasoning")
    return {"reasoning_content": thoughts} if thoughts else {}


def _tool_calls(raw: list[dict[str, Any]]) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    calls, invalid = [], []
    for call in raw:
        try:
            parsed = parse_tool_call(call, return_id=True)
        except OutputParserException as error:
            invalid.append(make_invalid_tool_call(call, str(error)))
        else:
            calls += [ToolCall(name=parsed["name"], args=parsed["args"], id=parsed["id"])] if parsed else []
    return calls, invalid


def _info(body: dict[str, Any], choice: dict[str, Any]) -> dict[str, Any]:
    """By whom the reply is, why it ended, and the ids of its tokens where they were asked for."""
    ended = choice.get("finish_reason")
    about = {"model_name": body.get("model"), "prompt_token_ids": body.get("prompt_token_ids")} if ended else {}
    told = {**about, "finish_reason": ended, **{key: choice.get(key) for key in ("logprobs", "token_ids")}}
    return {key: value for key, value in told.items() if value is not None}


def _usage(usage: dict[str, Any] | None) -> UsageMetadata | None:
    if not usage:
        return None
    sent, received = usage["prompt_tokens"], usage.get("completion_tokens") or 0
    return UsageMetadata(input_tokens=sent, output_tokens=received, total_tokens=sent + received)
