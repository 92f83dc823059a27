"""A server of the Model Context Protocol: search, remember, history, undo and forget of one owner's bank.

    memory-r1 mcp --db ~/memory --user ann

Whose memories, and by which model they are made, is fixed when the server starts; no argument of a tool reaches another
owner. A tool's docstring is what the assistant reads. Errors are one sentence, as on the command line.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from langgraph_memory_r1 import __version__
from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.bank.attributes import memory_filter
from langgraph_memory_r1.errors import InputError, MemoryR1Error, MissingDependencyError, UnknownMemoryError
from langgraph_memory_r1.graph import Model, create_memory_graph
from langgraph_memory_r1.identity import DEFAULT_USER
from langgraph_memory_r1.schemas import Delete, Turn
from langgraph_memory_r1.state import ChangeRecord, change_record

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
else:
    try:  # Agents' frameworks pin either of the two majors of the SDK, so that both have to do.
        from mcp.server.mcpserver import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
    except ImportError:
        try:
            from mcp.server.fastmcp import FastMCP as MCPServer
            from mcp.server.fastmcp.exceptions import ToolError
        except ImportError as error:
            raise MissingDependencyError(
                "pip install 'langgraph-memory-r1[mcp]' to serve the memory over MCP"
            ) from error

INSTRUCTIONS = (
    "The long-term memory of {owner!r}. Search it before answering what may depend on earlier conversations; remember "
    "what the user says about themselves, their plans and their wishes, in their own words."
)
# As the protocol spells them: the SDK's own names for them differ between its majors.
_READS = {"readOnlyHint": True, "openWorldHint": False}
_WRITES = {"readOnlyHint": False, "destructiveHint": False, "openWorldHint": False}
_REMOVES = {"readOnlyHint": False, "destructiveHint": True, "openWorldHint": False}

Count = Annotated[int, Field(ge=1, le=200, description="At most so many.")]


class StoredMemory(BaseModel):
    """One memory."""

    id: str
    text: str
    speaker: str | None = None
    said_at: datetime | None = None
    sources: list[str] = Field(default_factory=list, description="The turns that it came from.")
    metadata: dict[str, Any] = Field(default_factory=dict)
    tags: list[str] = Field(default_factory=list)
    expires_at: datetime | None = None


class SearchResult(BaseModel):
    """What a search found."""

    memories: list[StoredMemory]
    total: int = Field(description="How many memories there are at all.")


class Changes(BaseModel):
    """What a tool did to the memory."""

    operations: list[ChangeRecord]


class Forgotten(Changes):
    """What was forgotten."""

    removed_for_good: int = Field(default=0, description="Memories that were removed with their history.")


class MemoryServer(MCPServer):
    """Says every error in one sentence; the SDK would hide ours, and quote a traceback of the arguments."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.parameters: dict[str, list[str]] = {}
        """The arguments of each tool."""

    def offer(self, tool: Callable[..., Any], title: str, hints: dict[str, bool]) -> None:
        """Add a tool under its own name, as its docstring and its signature describe it, and no argument beside it."""
        more = _supported(self.add_tool, {"title": title, "annotations": _annotations(hints)})
        self.add_tool(tool, description=inspect.getdoc(tool), **more)
        self.parameters[tool.__name__] = list(inspect.signature(tool).parameters)

    async def call_tool(self, name: str, arguments: dict[str, Any], *context: Any) -> Any:
        """Run a tool."""
        # The SDK drops what it does not know: `undo` with a `memory_id` would take the newest operation back.
        parameters = self.parameters.get(name)
        if parameters is not None and (extra := [each for each in arguments or {} if each not in parameters]):
            raise ToolError(f"{name} has no argument {extra[0]!r}; it has: {', '.join(parameters)}.")
        try:
            return await super().call_tool(name, arguments, *context)
        except ToolError as error:
            raise ToolError(_sentence(error)) from error.__cause__


class MemoryTools:
    """The tools of one owner's bank.

    Args:
        bank: The bank.
        owner: Its owner's name, which `forget` asks for before it removes everything.
        model: Decides what is remembered.
    """

    def __init__(self, bank: MemoryBank, owner: str, model: Model) -> None:
        self._bank = bank
        self._owner = owner
        self._graph = create_memory_graph(bank, model=model)

    def search(
        self,
        query: Annotated[str, Field(description="A question or keywords; empty lists the newest memories.")] = "",
        limit: Count = 10,
        filter: Annotated[
            dict[str, Any] | None,
            Field(description='Only memories with these values: {"speaker": "Ann"}, {"tags": {"$contains": "work"}}.'),
        ] = None,
    ) -> SearchResult:
        """Find what is remembered about something, best first.

        Use it before answering anything that may depend on what the user said earlier. The ids serve `history` and
        `forget`.
        """
        if query.strip():
            memories = [hit.memory for hit in self._bank.search(query, k=limit, filter=filter)]
        else:
            accept = memory_filter(filter)
            memories = [memory for memory in self._bank.all() if accept is None or accept(memory)][-limit:][::-1]
        results = [
            StoredMemory(
                id=memory.id, text=memory.text, speaker=memory.speaker, said_at=memory.at, sources=list(memory.source),
                metadata=dict(memory.metadata), tags=list(memory.tags), expires_at=memory.expires_at,
            )
            for memory in memories
        ]  # fmt: skip
        return SearchResult(memories=results, total=len(self._bank))

    def remember(
        self,
        text: Annotated[str, Field(description="What was said, in the speaker's own words; several sentences do.")],
        speaker: Annotated[str, Field(description="Who said it.")] = "user",
        said_at: Annotated[
            datetime | None, Field(description='When it was said, for "yesterday" and the like; else now.')
        ] = None,
    ) -> Changes:
        """Remember what somebody said.

        Facts are found in it and compared with what is known: it adds, updates or deletes memories by itself, and says
        what it did. Small talk leaves a NOOP. Do not pass on what `search` returned.
        """
        if not text.strip():
            raise InputError("The text is empty; give what was said.")
        at = said_at or datetime.now().astimezone()
        state = self._graph.invoke({"turns": [Turn(speaker.strip() or "user", text, at)]})
        return Changes(operations=state["memory_ops"])

    def history(
        self,
        memory_id: Annotated[str | None, Field(description="Only of this memory; else of all.")] = None,
        limit: Count = 20,
    ) -> Changes:
        """Show what happened to the memory and why, the newest operation last.

        Before and after of each, who decided, and the turns that it came from. An `op_id` serves `undo`.
        """
        changes = self._bank.history(memory_id)
        if memory_id is not None and not changes:
            raise UnknownMemoryError(f"There is no memory {memory_id!r}; search shows the ids.")
        return Changes(operations=[change_record(change) for change in changes[-limit:]])

    def undo(
        self,
        op_id: Annotated[
            str | None,
            Field(description="As `remember` and `history` show it; without it the newest."),
        ] = None,
    ) -> Changes:
        """Take one operation back: the one named, else the newest that stands. Taking back an undo does it again."""
        return Changes(operations=[change_record(self._bank.undo(op_id))])

    def forget(
        self,
        memory_ids: Annotated[
            list[str] | None, Field(description="Memories that are not to be recalled any more; can be undone.")
        ] = None,
        everything_of: Annotated[
            str | None,
            Field(description="The owner's exact name: removes all memories and their history, for good."),
        ] = None,
        reason: Annotated[str, Field(description="Why, for the history.")] = "",
    ) -> Forgotten:
        """Forget memories by their ids, or everything for good.

        Only on the user's wish. Give either `memory_ids`, which `undo` takes back, or `everything_of`, which nothing
        takes back; ask the user to confirm that one.
        """
        if bool(memory_ids) == (everything_of is not None):
            raise InputError("Give either memory_ids (search shows them) or everything_of, the owner's name.")
        if everything_of is not None:
            # The name is asked for so that an assistant cannot remove everything by a slip of an argument.
            if everything_of != self._owner:
                raise InputError(f"This memory is {self._owner!r}'s; to remove it for good give exactly that name.")
            return Forgotten(operations=[], removed_for_good=self._bank.forget())
        deletes = [Delete(memory_id, reason=reason or "forgotten") for memory_id in dict.fromkeys(memory_ids or [])]
        return Forgotten(operations=[change_record(change) for change in self._bank.apply(deletes)])


def create_mcp_server(
    bank: MemoryBank, owner: str = DEFAULT_USER, *, model: Model = "rules", debug: bool = False
) -> MemoryServer:
    """Create a server of one owner's memory; `run("stdio")` serves it.

    Args:
        bank: The bank.
        owner: Its owner's name.
        model: Decides what is remembered: a chat model, `"provider:model"` or `"rules"`.
        debug: Log every request to standard error.
    """
    tools = MemoryTools(bank, owner, model)
    about = {"version": __version__, "instructions": INSTRUCTIONS.format(owner=owner)}
    server = MemoryServer(
        "langgraph-memory-r1", log_level="DEBUG" if debug else "CRITICAL", **_supported(MCPServer.__init__, about)
    )
    if hasattr(server, "_mcp_server"):  # of the 1.x SDK, which would give its own version for ours
        server._mcp_server.version = __version__
    for tool, title, hints in (
        (tools.search, "Search the memory", _READS),
        (tools.remember, "Remember", _WRITES),
        (tools.history, "History of the memory", _READS),
        (tools.undo, "Take an operation back", _WRITES),
        (tools.forget, "Forget", _REMOVES),
    ):
        server.offer(tool, title, hints)
    return server


def _supported(function: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return those of the arguments that a function of this version of the SDK has."""
    parameters = inspect.signature(function).parameters
    return {name: value for name, value in arguments.items() if name in parameters}


def _annotations(hints: dict[str, bool]) -> Any:
    """Return hints as the SDK wants them; None before 1.7, which has none."""
    annotations = getattr(importlib.import_module("mcp.types"), "ToolAnnotations", None)
    return annotations and annotations.model_validate(hints)


def _sentence(error: ToolError) -> str:
    """Return what an assistant reads of an error: the argument that is wrong, our own sentence, or another's name."""
    cause = error.__cause__
    if isinstance(cause, MemoryR1Error):
        return " ".join(str(cause).split())
    if isinstance(cause, ValidationError):
        first = cause.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "The arguments"
        return f"{field}: {first['msg']}."
    if cause is not None and not isinstance(cause, ToolError):
        return f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
    return str(error)
