"""Tools with which an agent looks after its memory itself, on a `MemoryBank`: with history, and undo.

    create_manage_memory_tool(("memories", "{user_id}"), store=store)    create, update, delete
    create_search_memory_tool(("memories", "{user_id}"), store=store)

Names, arguments and results are those of langmem's tools, so that changing the import is enough. An id that is not
there is refused, with a message that the model can act on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, cast

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.runtime import Runtime, get_runtime
from langgraph.store.base import SearchItem
from pydantic import BaseModel, Field, TypeAdapter, create_model

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.bank.records import memory_to_record
from langgraph_memory_r1.errors import InputError, UnknownMemoryError
from langgraph_memory_r1.owners import Find, StoreLike, finder
from langgraph_memory_r1.retrieval import Hit
from langgraph_memory_r1.schemas import Add, Change, Delete, Operation, Update
from langgraph_memory_r1.store.filters import compile_filter

Action: TypeAlias = Literal["create", "update", "delete"]
ToolName: TypeAlias = Literal["search_memory", "manage_memory"]
Apply: TypeAlias = Callable[[MemoryBank, Operation], Change]

SEARCH: ToolName = "search_memory"
MANAGE: ToolName = "manage_memory"
ACTIONS: tuple[Action, ...] = ("create", "update", "delete")
INSTRUCTIONS = (
    "Use it when the user asks you to remember or forget something, tells a lasting preference or fact, or when a "
    "memory turns out to be wrong or out of date. Search first: change a memory rather than say the same twice."
)


def create_manage_memory_tool(
    namespace: tuple[str, ...] | str = ("memories", "{user_id}"),
    *,
    instructions: str = INSTRUCTIONS,
    schema: type = str,
    actions_permitted: tuple[Action, ...] = ACTIONS,
    store: StoreLike | None = None,
    name: str = "manage_memory",
) -> BaseTool:
    """A tool that creates, updates and deletes memories.

    Args:
        namespace: Where the memories stand; "{user_id}" and "{langgraph_user_id}" stand for the run's user, other
            names for a value of its context or its `configurable`.
        instructions: When to use it; a part of the tool's description.
        schema: What a memory holds: text, or anything that pydantic can check, which is kept as JSON.
        actions_permitted: What the tool can do.
        store: A store, folder or URI, or a bank; without it the store of the graph in which the tool runs.
        name: Name of the tool.
    """
    return manage_tool(
        finder(namespace, store), instructions=instructions, schema=schema, actions=actions_permitted, name=name
    )


def create_search_memory_tool(
    namespace: tuple[str, ...] | str = ("memories", "{user_id}"),
    *,
    instructions: str = "",
    store: StoreLike | None = None,
    response_format: Literal["content", "content_and_artifact"] = "content",
    name: str = "search_memory",
) -> BaseTool:
    """A tool that searches memories; its result is JSON, best match first.

    Args:
        namespace: As for `create_manage_memory_tool`.
        instructions: When to use it; a part of the tool's description.
        store: As for `create_manage_memory_tool`.
        response_format: `"content_and_artifact"` gives the found items to the app as well.
        name: Name of the tool.
    """
    return search_tool(finder(namespace, store), instructions=instructions, response_format=response_format, name=name)


def tools_of(wanted: Sequence[str], find: Find, apply: Apply, ending: str = "") -> list[BaseTool]:
    """The tools with these names, on the bank that `find` finds.

    Raises:
        InputError: There is no such tool.
    """
    if unknown := [name for name in wanted if name not in (SEARCH, MANAGE)]:
        raise InputError(f"There is no tool {unknown[0]!r}; give {SEARCH!r}, {MANAGE!r}, or True for both.")
    made = {
        SEARCH: lambda: search_tool(find, name=SEARCH + ending),
        MANAGE: lambda: manage_tool(find, name=MANAGE + ending, apply=apply),
    }
    return [made[cast(ToolName, name)]() for name in dict.fromkeys(wanted)]


def apply_one(bank: MemoryBank, operation: Operation) -> Change:
    """Applies an operation that an agent chose."""
    return bank.apply([operation], reason="tool")[0]


def manage_tool(
    find: Find,
    *,
    instructions: str = INSTRUCTIONS,
    schema: type = str,
    actions: tuple[Action, ...] = ACTIONS,
    name: str = MANAGE,
    apply: Apply = apply_one,
) -> BaseTool:
    """`create_manage_memory_tool` on any bank.

    Raises:
        InputError: An action is unknown, or none is permitted.
    """
    if not actions or set(actions) - set(ACTIONS):
        raise InputError(f"The actions {actions!r} are not possible; give some of {', '.join(ACTIONS)}.")
    contents: TypeAdapter[Any] = TypeAdapter(schema)

    def manage(config: RunnableConfig, content: Any = None, action: str = actions[0], id: str | None = None) -> str:
        bank = find(_runtime(), config)
        try:
            change = apply(bank, _operation(contents, action, content, id))
        except UnknownMemoryError as error:
            raise ToolException(_unknown(id)) from error
        if change.event == "NOOP":
            return f"Nothing was changed: {change.reason}"
        return f"{'Deleted' if action == 'delete' else action + 'd'} memory {change.memory_id}"

    async def amanage(
        config: RunnableConfig, content: Any = None, action: str = actions[0], id: str | None = None
    ) -> str:
        return await asyncio.to_thread(manage, config, content, action, id)

    listed = ", ".join(actions[:-1]) + (" or " if actions[1:] else "") + actions[-1]
    return StructuredTool.from_function(
        func=manage,
        coroutine=amanage,
        name=name,
        description=f"{listed.capitalize()} lasting memories of this user.\n{instructions}".strip(),
        args_schema=_manage_arguments(name, schema, actions),
        handle_tool_error=True,
    )


def search_tool(
    find: Find,
    *,
    instructions: str = "",
    response_format: Literal["content", "content_and_artifact"] = "content",
    name: str = SEARCH,
) -> BaseTool:
    """`create_search_memory_tool` on any bank."""

    def search(
        config: RunnableConfig, query: str, limit: int = 10, offset: int = 0, filter: dict[str, Any] | None = None
    ) -> Any:
        bank = find(_runtime(), config)
        items = [_item(bank, hit) for hit in _hits(bank, query, limit, offset, filter)]
        content = json.dumps([item.dict() for item in items], ensure_ascii=False, default=str)
        return (content, items) if response_format == "content_and_artifact" else content

    async def asearch(
        config: RunnableConfig, query: str, limit: int = 10, offset: int = 0, filter: dict[str, Any] | None = None
    ) -> Any:
        return await asyncio.to_thread(search, config, query, limit, offset, filter)

    return StructuredTool.from_function(
        func=search,
        coroutine=asearch,
        name=name,
        description=f"Search what you remember of this user from earlier conversations.\n{instructions}".strip(),
        args_schema=SearchArguments,
        response_format=response_format,
        handle_tool_error=True,
    )


class SearchArguments(BaseModel):
    """What is looked for."""

    query: str = Field(description="What is looked for, in words.")
    limit: int = Field(10, ge=0, le=1000, description="At most so many memories.")
    offset: int = Field(0, ge=0, description="Leave out so many of the best matches.")
    filter: dict[str, Any] | None = Field(None, description='Only memories with these values, e.g. {"speaker": "Ann"}.')


def _manage_arguments(name: str, schema: type, actions: tuple[Action, ...]) -> type[BaseModel]:
    fields: dict[str, Any] = {
        "content": (schema | None, Field(None, description="What to remember, able to stand alone.")),
        "action": (Literal[actions], Field(actions[0], description="What to do.")),
    }
    if set(actions) != {"create"}:
        fields["id"] = (str | None, Field(None, description="The memory to update or delete, as a search gave it."))
    return create_model(f"{name}_arguments", **fields)


def _operation(contents: TypeAdapter[Any], action: str, content: Any, memory_id: str | None) -> Operation:
    if action == "create" and memory_id is not None:
        raise ToolException("A new memory gets its id by itself: leave out id, or update the memory with this id.")
    if action != "create" and not memory_id:
        raise ToolException(f"Which memory? Give the id of the memory to {action}; a search shows the ids.")
    if action == "delete":
        return Delete(str(memory_id), reason="tool")
    text = content if isinstance(content, str) else contents.dump_json(content).decode() if content is not None else ""
    if not text.strip():
        raise ToolException(f"What is to be remembered? Give content to {action} a memory.")
    return Add(text) if action == "create" else Update(str(memory_id), text)


def _unknown(memory_id: str | None) -> str:
    return f"There is no memory {memory_id!r}, and nothing was changed. Search for the memory and use the id found."


def _hits(bank: MemoryBank, query: str, limit: int, offset: int, filter: dict[str, Any] | None) -> list[Hit]:
    try:
        matches = compile_filter(filter)
    except (TypeError, ValueError) as error:
        raise ToolException(f"The filter cannot be used: {error}") from error
    if matches is None:
        return bank.search(query, k=offset + limit)[offset:]
    found = [hit for hit in bank.search(query, k=max(len(bank), 1)) if matches(_value(hit))]
    return found[offset : offset + limit]


def _item(bank: MemoryBank, hit: Hit) -> SearchItem:
    memory = hit.memory
    first = memory.created_at or datetime.min.replace(tzinfo=UTC)
    return SearchItem(bank.namespace, memory.id, _value(hit), first, memory.updated_at or first, hit.score)


def _value(hit: Hit) -> dict[str, Any]:
    """A memory as a langmem user knows it, and whose it is and since when."""
    record = memory_to_record(hit.memory)
    return {"content": record["text"], **{key: record[key] for key in ("speaker", "at", "source") if record[key]}}


def _runtime() -> Runtime[Any]:
    """The graph's runtime; an empty one where a tool runs on its own."""
    try:
        return get_runtime() or Runtime()
    except RuntimeError:
        return Runtime()
