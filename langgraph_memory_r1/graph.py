"""The memory graph: chat in, memories kept right, questions answered.

    START ─► extract ─► manage (if something is new) ─► answer (if there is a question) ─► END

    graph = create_memory_graph("./memory")
    graph.invoke({"messages": [("user", "I adopted a dog called Buddy.")]}, context={"user_id": "ana@example.com"})
    graph.invoke({"question": "What is the dog called?"}, context={"user_id": "ana@example.com"})["answer"]

What goes in and what comes out stands in `state.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias, get_args

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.base import RunnableBindingBase
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Checkpointer

from langgraph_memory_r1.batches import Limits
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.models import for_role, load_chat_model, load_embeddings, model_name
from langgraph_memory_r1.nodes import AnswerNode, ExtractNode, ManageNode, NodeOptions, OnError, question_of, utc_now
from langgraph_memory_r1.owners import BankPool, Namespace, StoreLike
from langgraph_memory_r1.prompts import Role, Style
from langgraph_memory_r1.state import MemoryContext, MemoryInput, MemoryOutput, MemoryState
from langgraph_memory_r1.steps import Agent

Model: TypeAlias = str | Runnable[Any, BaseMessage]
"""`"rules"`, `"provider:model"`, or a chat model, also one wrapped by `with_retry`, `with_fallbacks` and the like."""
MemoryGraph: TypeAlias = CompiledStateGraph[MemoryState, Any, Any, Any]


@dataclass(frozen=True, slots=True)
class MemoryNodes:
    """The three nodes, for wiring them by hand into a graph whose state has the keys of `MemoryState`."""

    extract: ExtractNode
    manage: ManageNode
    answer: AnswerNode


def create_memory_nodes(
    store: StoreLike,
    *,
    model: Model = "rules",
    extractor: Model | None = None,
    manager: Model | None = None,
    answerer: Model | None = None,
    embedder: str | Embeddings | None = None,
    namespace: Namespace | None = None,
    k: int = 60,
    related_k: int = 10,
    style: Style = "full",
    on_error: OnError = "raise",
    limits: Limits | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> MemoryNodes:
    """The nodes of `create_memory_graph`, with the same arguments.

    Example:
        ```python
        nodes = create_memory_nodes("./memory")
        builder = StateGraph(MemoryState)
        builder.add_node("extract", nodes.extract).add_node("manage", nodes.manage)
        builder.add_edge(START, "extract").add_edge("extract", "manage")
        ```
    """
    _check(k, related_k, style, on_error)
    options = NodeOptions(
        banks=BankPool(store, load_embeddings(embedder)), namespace=namespace, on_error=on_error, clock=clock,
        limits=limits or Limits(), related_k=related_k, k=k,
    )  # fmt: skip
    return MemoryNodes(
        extract=ExtractNode(agent_for("extract", extractor or model, style), options),
        manage=ManageNode(agent_for("manage", manager or model, style), options),
        answer=AnswerNode(agent_for("answer", answerer or model, style), options),
    )


def create_memory_graph(
    store: StoreLike,
    *,
    model: Model = "rules",
    extractor: Model | None = None,
    manager: Model | None = None,
    answerer: Model | None = None,
    embedder: str | Embeddings | None = None,
    namespace: Namespace | None = None,
    k: int = 60,
    related_k: int = 10,
    style: Style = "full",
    on_error: OnError = "raise",
    limits: Limits | None = None,
    clock: Callable[[], datetime] = utc_now,
    checkpointer: Checkpointer = None,
    name: str = "memory",
) -> MemoryGraph:
    """A graph that remembers messages and answers questions about them.

    Give it messages (or turns, for conversations between any speakers), a question, or both; it returns what it did
    to the bank, the answer with the memories that it rests on, and what that cost. Stands alone, or is a node of a
    bigger graph.

    Whose memories: a `namespace` function, else `user_id` in the run's context, else the server's login, else
    `configurable["user_id"]`, else the user "default".

    Already known turns are passed over: messages up to `memory_cursor` (kept by a checkpointer), and turns whose id
    stands in the bank's history. Messages get random ids when they have none; give ids if you send a history again
    without a checkpointer.

    Args:
        store: A folder or URI (LanceDB), a LangGraph store, or one owner's `MemoryBank`, which then serves every run.
        model: A chat model, `"provider:model"` or `"rules"`, the baseline without a model.
        extractor: Another model for finding facts.
        manager: Another model for deciding what they mean for the bank.
        answerer: Another model for answering.
        embedder: Adds semantic search to a folder's or URI's lexical one: an embedding model or `"provider:model"`.
        namespace: Where a user's memories stand; "{user_id}" in a label, or a function of the run's `Runtime`.
        k: Memories that an answer may be chosen from.
        related_k: Memories that are compared with each new fact.
        style: Prompts with explanations, or `"compact"` ones for models that were tuned with them.
        on_error: `"degrade"` lets the graph finish when a step fails: the failure stands in `memory_ops` and in the
            log; messages are taken up again by the next run, and what came as `turns` has to be given again.
        limits: How many turns and characters one model call looks at.
        clock: The present, for messages without a time.
        checkpointer: Keeps the cursor between runs of a thread; leave it out in `langgraph dev` and in a sub-graph.
        name: Name of the graph.
    """
    nodes = create_memory_nodes(
        store, model=model, extractor=extractor, manager=manager, answerer=answerer, embedder=embedder,
        namespace=namespace, k=k, related_k=related_k, style=style, on_error=on_error, limits=limits,
        clock=clock,
    )  # fmt: skip
    builder = StateGraph(MemoryState, MemoryContext, input_schema=MemoryInput, output_schema=MemoryOutput)
    builder.add_node("extract", nodes.extract)
    builder.add_node("manage", nodes.manage)
    builder.add_node("answer", nodes.answer)
    builder.add_edge(START, "extract")
    builder.add_conditional_edges("extract", Route(after_extract), ["manage", "answer", END])
    builder.add_conditional_edges("manage", Route(after_manage), ["answer", END])
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=checkpointer, name=name)


class Route(Runnable[MemoryState, str]):
    """A conditional edge that is followed where it is: LangGraph sends a bare function through a thread."""

    def __init__(self, follow: Callable[[MemoryState], str]) -> None:
        self.name = follow.__name__
        self._follow = follow

    def invoke(self, input: MemoryState, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """The next node."""
        return self._follow(input)

    async def ainvoke(self, input: MemoryState, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """The next node."""
        return self._follow(input)


def after_extract(state: MemoryState) -> str:
    """Where the graph goes once the facts are found."""
    return "manage" if state.get("pending") else after_manage(state)


def after_manage(state: MemoryState) -> str:
    """Where the graph goes once the bank is up to date."""
    return "answer" if question_of(state) else END


def _check(k: int, related_k: int, style: str, on_error: str) -> None:
    if k < 1 or related_k < 1:
        raise InputError(f"k={k} and related_k={related_k} count memories; give numbers of at least 1.")
    if style not in get_args(Style):
        raise InputError(f"There is no style {style!r}; give one of {', '.join(get_args(Style))}.")
    if on_error not in get_args(OnError):
        raise InputError(f"There is no on_error {on_error!r}; give one of {', '.join(get_args(OnError))}.")


def agent_for(role: Role, model: Model, style: Style) -> Agent:
    """A model in a role."""
    loaded = for_role(load_chat_model(model) if isinstance(model, str) else model, role)
    return Agent(role, loaded, _label(loaded), style)


def _label(model: Runnable[Any, BaseMessage]) -> str:
    """A model's name, also where it is wrapped by `with_retry`, `bind` and the like."""
    while isinstance(model, RunnableBindingBase):
        model = model.bound
    return model_name(model) if isinstance(model, BaseChatModel) else type(model).__name__
