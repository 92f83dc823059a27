"""Tools with which an agent looks after its memory itself, on a `MemoryBank`: with history, and undo.

    create_manage_memory_tool(store, namespace=("memories", "{user_id}"))    create, update, delete
    create_search_memory_tool(store, namespace=("memories", "{user_id}"))

Names, arguments and results are those of langmem's tools, so that changing the import is enough where `namespace` is
given by its name. An id that is not there is refused, with a message that the model can act on.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.prebuilt import ToolRuntime
from langgraph.runtime import Runtime
from langgraph.store.base import SearchItem
from pydantic import BaseModel, Field, TypeAdapter, create_model

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.bank.attributes import memory_filter
from langgraph_memory_r1.bank.records import memory_to_record
from langgraph_memory_r1.errors import InputError, UnknownMemoryError
from langgraph_memory_r1.flow import RunFilter, filter_of
from langgraph_memory_r1.identity import DEFAULT_USER, context_value
from langgraph_memory_r1.owners import BankPool, Namespace, StoreLike, current_runtime
from langgraph_memory_r1.retrieval import Hit
from langgraph_memory_r1.schemas import Add, Change, Delete, Operation, Update
from langgraph_memory_r1.state import OwnerRecord

Action: TypeAlias = Literal["create", "update", "delete"]
ToolName: TypeAlias = Literal["search_memory", "manage_memory"]
BankOf: TypeAlias = Callable[[Runtime[Any], RunnableConfig, Mapping[str, Any]], MemoryBank]
"""Returns the bank of a run with this state; may block."""
Apply: TypeAlias = Callable[[MemoryBank, Operation], Change]

SEARCH: ToolName = "search_memory"
MANAGE: ToolName = "manage_memory"
ACTIONS: tuple[Action, ...] = ("create", "update", "delete")
INSTRUCTIONS = (
    "Use it when the user asks you to remember or forget something, tells a lasting preference or fact, or when a "
    "memory turns out to be wrong or out of date. Search first: change a memory rather than say the same twice."
)


def create_manage_memory_tool(
    store: StoreLike | None = None,
    namespace: Namespace = ("memories", "{user_id}"),
    *,
    instructions: str = INSTRUCTIONS,
    schema: type = str,
    actions_permitted: tuple[Action, ...] = ACTIONS,
    require_user: bool | None = None,
    trust_client_user: bool = False,
    name: str = "manage_memory",
) -> BaseTool:
    """Create a tool with which an agent creates, updates and deletes memories.

    Args:
        store: A store, a folder as "./memory", a URI or a bank; without it the store of the graph in which the tool
            runs. A bare name is refused, since langmem's tools take the namespace first.
        namespace: Where the memories stand; "{user_id}" and "{langgraph_user_id}" stand for the run's user, other
            names for a value of its context or its `configurable`.
        instructions: When to use it; a part of the tool's description.
        schema: What a memory holds: text, or anything that pydantic can check, which is kept as JSON.
        actions_permitted: What the tool can do.
        require_user: As for `create_memory_graph`.
        trust_client_user: As for `create_memory_graph`.
        name: Name of the tool.

    Raises:
        InputError: The store, the namespace or an action cannot be used.
    """
    bank_of = _bank_of(store, namespace, require_user, trust_client_user)
    return manage_tool(bank_of, instructions=instructions, schema=schema, actions=actions_permitted, name=name)


def create_search_memory_tool(
    store: StoreLike | None = None,
    namespace: Namespace = ("memories", "{user_id}"),
    *,
    instructions: str = "",
    response_format: Literal["content", "content_and_artifact"] = "content",
    require_user: bool | None = None,
    trust_client_user: bool = False,
    name: str = "search_memory",
    filter: RunFilter | None = None,
) -> BaseTool:
    """Create a tool with which an agent searches memories; its result is JSON, best match first.

    Args:
        store: As for `create_manage_memory_tool`.
        namespace: As for `create_manage_memory_tool`.
        instructions: When to use it; a part of the tool's description.
        response_format: `"content_and_artifact"` gives the hits to the app as well.
        require_user: As for `create_memory_graph`.
        trust_client_user: As for `create_memory_graph`.
        name: Name of the tool.
        filter: The agent sees only memories that it lets through, in the language of `MemoryBank.search`; or a function
            of the run's `Runtime`. The agent can narrow it down.

    Raises:
        InputError: The store or the namespace cannot be used.
    """
    bank_of = _bank_of(store, namespace, require_user, trust_client_user)
    return search_tool(bank_of, instructions=instructions, response_format=response_format, name=name, within=filter)


def _bank_of(
    store: StoreLike | None, namespace: Namespace, require_user: bool | None, trust_client_user: bool
) -> BankOf:
    # langmem's tools take the namespace first: taken for a folder, its name would become one without a word.
    if isinstance(store, tuple | list):
        raise InputError(f"{store!r} is no store; give the namespace by its name: namespace={store!r}.")
    if isinstance(store, str) and re.fullmatch(r"[\w{}-]+", store):
        raise InputError(
            f"{store!r} may be a namespace or a folder; give it as namespace={store!r}, or as {f'./{store}'!r}."
        )
    banks = BankPool(store, namespace, of_graph=True, require_user=require_user, trust_client_user=trust_client_user)

    def bank_of(runtime: Runtime[Any], config: RunnableConfig, state: Mapping[str, Any]) -> MemoryBank:
        # Where a middleware of ours remembers in the same agent, it knows for whom the run began.
        kept: Any = context_value(state, "memory_owner")
        records = [each for each in (kept or {}).values() if not each["over"]]
        values = {key: value for each in records for key, value in each["values"].items() if value != DEFAULT_USER}
        begun = OwnerRecord(values=values, labels=[], over=False) if values and not callable(namespace) else None
        return banks.bank(runtime, config, begun)

    return bank_of


def tools_of(
    names: Sequence[str], banks: BankPool, memory: str, apply: Apply, filter: RunFilter | None = None
) -> list[BaseTool]:
    """Return the tools with these names for one memory of an agent; those of several memories end in their names.

    Raises:
        InputError: There is no such tool.
    """
    if unknown := [name for name in names if name not in (SEARCH, MANAGE)]:
        raise InputError(f"There is no tool {unknown[0]!r}; give {SEARCH!r}, {MANAGE!r}, or True for both.")
    ending = "" if memory == "memory" else f"_{memory}"

    def bank_of(runtime: Runtime[Any], config: RunnableConfig, state: Mapping[str, Any]) -> MemoryBank:
        # The run in which a tool is called may have been resumed since it began, without its context.
        return banks.bank(runtime, config, (state.get("memory_owner") or {}).get(memory))

    return [
        search_tool(bank_of, name=SEARCH + ending, within=filter)
        if name == SEARCH
        else manage_tool(bank_of, name=MANAGE + ending, apply=apply)
        for name in dict.fromkeys(names)
    ]


def apply_one(bank: MemoryBank, operation: Operation) -> Change:
    """Apply an operation that an agent chose with its tool."""
    return bank.apply([operation], reason="tool")[0]


def manage_tool(
    bank_of: BankOf,
    *,
    instructions: str = INSTRUCTIONS,
    schema: type = str,
    actions: tuple[Action, ...] = ACTIONS,
    name: str = MANAGE,
    apply: Apply = apply_one,
) -> BaseTool:
    """Create the tool of `create_manage_memory_tool` on any bank.

    Raises:
        InputError: An action is unknown, or none is permitted.
    """
    if not actions or set(actions) - set(ACTIONS):
        raise InputError(f"The actions {actions!r} are not possible; give some of {', '.join(ACTIONS)}.")
    contents: TypeAdapter[Any] = TypeAdapter(schema)

    def manage(
        config: RunnableConfig,
        content: Any = None,
        action: str = actions[0],
        id: str | None = None,
        runtime: ToolRuntime = None,  # type: ignore[assignment]  # LangGraph's tool node gives it, nobody else
    ) -> str:
        bank = bank_of(current_runtime(), config, runtime.state if runtime else {})
        try:
            change = apply(bank, _operation(contents, action, content, id))
        except UnknownMemoryError as error:
            raise ToolException(
                f"There is no memory {id!r}, and nothing was changed. Search for the memory and use the id found."
            ) from error
        if change.event == "NOOP":
            return f"Nothing was changed: {change.reason}"
        return f"{'Deleted' if action == 'delete' else action + 'd'} memory {change.memory_id}"

    async def amanage(
        config: RunnableConfig,
        content: Any = None,
        action: str = actions[0],
        id: str | None = None,
        runtime: ToolRuntime = None,  # type: ignore[assignment]
    ) -> str:
        return await asyncio.to_thread(manage, config, content, action, id, runtime)

    fields: dict[str, Any] = {
        "content": (schema | None, Field(None, description="What to remember, able to stand alone.")),
        "action": (Literal[actions], Field(actions[0], description="What to do.")),
    }
    if set(actions) != {"create"}:
        fields["id"] = (str | None, Field(None, description="The memory to update or delete, as a search gave it."))
    listed = ", ".join(actions[:-1]) + (" or " if actions[1:] else "") + actions[-1]
    return StructuredTool.from_function(
        func=manage,
        coroutine=amanage,
        name=name,
        description=f"{listed.capitalize()} lasting memories of this user.\n{instructions}".strip(),
        args_schema=create_model(f"{name}_arguments", **fields),
        handle_tool_error=True,
    )


def search_tool(
    bank_of: BankOf,
    *,
    instructions: str = "",
    response_format: Literal["content", "content_and_artifact"] = "content",
    name: str = SEARCH,
    within: RunFilter | None = None,
) -> BaseTool:
    """Create the tool of `create_search_memory_tool` on any bank; it searches within a filter.

    Raises:
        InputError: The filter is none.
    """
    if not callable(within):
        memory_filter(within)

    def search(
        config: RunnableConfig,
        query: str,
        limit: int = 10,
        offset: int = 0,
        filter: dict[str, Any] | None = None,
        runtime: ToolRuntime = None,  # type: ignore[assignment]
    ) -> Any:
        run = current_runtime()
        bank = bank_of(run, config, runtime.state if runtime else {})
        conditions = [each for each in (filter_of(within, run), filter) if each]
        try:
            hits = bank.search(query, k=offset + limit, filter={"$and": conditions} if conditions else None)
        except InputError as error:
            raise ToolException(str(error)) from error
        items = [_item(bank, hit) for hit in hits[offset:]]
        content = json.dumps([item.dict() for item in items], ensure_ascii=False, default=str)
        return (content, items) if response_format == "content_and_artifact" else content

    async def asearch(
        config: RunnableConfig,
        query: str,
        limit: int = 10,
        offset: int = 0,
        filter: dict[str, Any] | None = None,
        runtime: ToolRuntime = None,  # type: ignore[assignment]
    ) -> Any:
        return await asyncio.to_thread(search, config, query, limit, offset, filter, runtime)

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
    filter: dict[str, Any] | None = Field(
        None,
        description='Only memories with these values, e.g. {"speaker": "Ann"} or {"tags": {"$contains": "work"}}.',
    )


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


def _item(bank: MemoryBank, hit: Hit) -> SearchItem:
    """A memory as a langmem user knows it, and whose it is, since when, and what an application keeps with it."""
    memory, record = hit.memory, memory_to_record(hit.memory)
    names = ("speaker", "at", "source", "metadata", "tags", "expires_at")
    value = {"content": record["text"], **{name: record[name] for name in names if record.get(name)}}
    created = memory.created_at or datetime.min.replace(tzinfo=UTC)
    return SearchItem(bank.namespace, memory.id, value, created, memory.updated_at or created, hit.score)
