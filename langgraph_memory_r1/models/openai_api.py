"""The chat-completions protocol of OpenAI-compatible servers: requests are written, responses become LangChain's.

Pure: what sends and receives is in `vllm.py`.
"""

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
NEUTRAL_SAMPLING: Final = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""All that vLLM takes over from a base's generation_config.json, beside a temperature, where a request is silent.

As for `hf:` models (see `huggingface.NEUTRAL_SAMPLING`), an adapter has to decide as it was trained to: Qwen2.5 ships
repetition_penalty 1.05, which changes greedy replies too. So no server needs `--generation-config vllm`.
"""
_QUOTED = 200
"""So many characters of what cannot be read stand in an error."""


def response_format(role: Role) -> dict[str, Any]:
    """Return the field of a request that holds a model to the JSON of a role."""
    return {"type": "json_schema", "json_schema": {"name": role, "schema": schema(role), "strict": True}}


def request_body(messages: list[BaseMessage], fields: dict[str, Any]) -> bytes:
    """Write the body of a request; fields that are None are left to the server."""
    body = {"messages": convert_to_openai_messages(messages), **fields}
    return json.dumps({key: value for key, value in body.items() if value is not None}).encode()


def parse_completion(text: str) -> ChatResult:
    """Parse the reply in a response.

    Raises:
        ModelError: The text is no chat completion.
    """
    body = _completion(text)
    try:
        choice = body["choices"][0]
        message = choice["message"]
        tool_calls, invalid_tool_calls = _tool_calls(message.get("tool_calls") or [])
        reply = AIMessage(
            content=message.get("content") or "",
            additional_kwargs=_reasoning(message),
            tool_calls=tool_calls,
            invalid_tool_calls=invalid_tool_calls,
            usage_metadata=_usage(body.get("usage")),
        )
        generation = ChatGeneration(message=reply, generation_info=_info(body, choice))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise _no_completion(text) from error
    return ChatResult(generations=[generation])


def parse_chunk(line: str) -> ChatGenerationChunk | None:
    """Parse the piece of a reply that one line of a stream holds; None for a line that holds none.

    Raises:
        ModelError: The line is no piece of a chat completion.
    """
    data = line.removeprefix("data:").strip()
    if not line.startswith("data:") or data == "[DONE]":
        return None
    body = _completion(data)
    try:
        choice = (body["choices"] or [{"delta": {}}])[0]  # the last piece has no choice, only the usage
        delta = choice["delta"]
        tool_calls = []
        for call in delta.get("tool_calls") or []:
            function = call.get("function") or {}
            name, args = function.get("name"), function.get("arguments")
            tool_calls.append(tool_call_chunk(name=name, args=args, id=call.get("id"), index=call.get("index")))
        message = AIMessageChunk(
            content=delta.get("content") or "",
            additional_kwargs=_reasoning(delta),
            tool_call_chunks=tool_calls,
            usage_metadata=_usage(body.get("usage")),
        )
        return ChatGenerationChunk(message=message, generation_info=_info(body, choice))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise _no_completion(data) from error


def parse_base(name: str, text: str) -> str | None:
    """Parse the base of an adapter out of a server's list of its models.

    Returns:
        A folder or a name; None where the server names no bases.

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


def error_message(text: str) -> str:
    """Return what a server says is wrong, out of the shapes in which servers say it."""
    try:
        body = json.loads(text)
    except ValueError:
        return text.strip()[:_QUOTED]
    error = body.get("error", body) if isinstance(body, dict) else body
    message = error.get("message", error.get("detail")) if isinstance(error, dict) else error
    return str(message or text).strip()[:_QUOTED]


def _completion(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError as error:
        raise _no_completion(text) from error
    if not isinstance(body, dict):
        raise _no_completion(text)
    # In a stream a server can fail after it has answered 200, so that only the body says so.
    if "error" in body and not body.get("choices"):
        raise ModelError(f"The model's server failed: {error_message(text)}")
    return body


def _no_completion(text: str) -> ModelError:
    return ModelError(
        f"{text.strip()[:_QUOTED]!r} is no chat completion; is there an OpenAI-compatible server at this address?"
    )


def _reasoning(message: dict[str, Any]) -> dict[str, Any]:
    """Return what the model thought aloud, where the server keeps it apart from the reply."""
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    return {"reasoning_content": reasoning} if reasoning else {}


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
    """Return who the reply is by, why it ended, and the ids of its tokens where they were asked for."""
    reason = choice.get("finish_reason")
    # Only with the last piece: LangChain joins the texts of equal keys when it adds chunks up.
    about = {"model_name": body.get("model"), "prompt_token_ids": body.get("prompt_token_ids")} if reason else {}
    info = {**about, "finish_reason": reason, **{key: choice.get(key) for key in ("logprobs", "token_ids")}}
    return {key: value for key, value in info.items() if value is not None}


def _usage(usage: dict[str, Any] | None) -> UsageMetadata | None:
    if not usage:
        return None
    prompt, completion = usage["prompt_tokens"], usage.get("completion_tokens") or 0
    return UsageMetadata(input_tokens=prompt, output_tokens=completion, total_tokens=prompt + completion)
