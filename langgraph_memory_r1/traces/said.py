"""Messages and replies as LangChain's callbacks hand them over."""

from __future__ import annotations

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult

from langgraph_memory_r1.traces.calls import Reply, message_of
from langgraph_memory_r1.traces.decision import Message


def message_as_dict(message: BaseMessage) -> Message:
    """A message as a trace keeps it."""
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    answers = message.tool_call_id if isinstance(message, ToolMessage) else None
    extra = {"tool_calls": calls, "tool_call_id": answers, "name": message.name}
    return message_of(message.type, message.content, extra)


def reply_in(response: LLMResult) -> Reply:
    """What a model said; of several candidates the first."""
    if not response.generations or not response.generations[0]:
        return Reply()
    generation = response.generations[0][0]
    message = generation.message if isinstance(generation, ChatGeneration | ChatGenerationChunk) else None
    if not isinstance(message, AIMessage):
        return Reply(generation.text, info=generation.generation_info or {})
    info = {**(generation.generation_info or {}), **message.response_metadata}
    return Reply(message.text, message.tool_calls, info, message.usage_metadata or {})
