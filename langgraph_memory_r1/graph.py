"""The memory graph: chat in, memories kept right, questions answered.

    START ─► extract ─► manage (if something is new) ─► answer (if there is a question) ─► END

    graph = create_memory_graph("./memory")
    graph.invoke({"messages": [("user", "I adopted a dog called Buddy.")]}, context={"user_id": "ana@example.com"})
    graph.invoke({"question": "What is the dog called?"}, context={"user_id": "ana@example.com"})["answer"]

What goes in and what comes out stands in `state.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from langgraph_memory_r1.flow import MemoryOptions, OnError, RunFilter, utc_now
from langgraph_memory_r1.models import for_role, load_chat_model, load_embeddings, model_name
from langgraph_memory_r1.nodes import AnswerNode, ExtractNode, ManageNode, question_of, state_values
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
    store: StoreLike | None = None,
    *,
    model: Model | None = None,
    extractor: Model | None = None,
    manager: Model | None = None,
    answerer: Model | None = None,
    embedder: str | Embeddings | None = None,
    namespace: Namespace | None = None,
    require_user: bool | None = None,
    trust_client_user: bool = False,
    k: int = 60,
    related_k: int = 10,
    style: Style = "full",
    on_error: OnError = "raise",
    limits: Limits | None = None,
    clock: Callable[[], datetime] = utc_now,
    filter: RunFilter | None = None,
    metadata: Mapping[str, Any] | None = None,
    tags: Sequence[str] = (),
) -> MemoryNodes:
    """Create the nodes of `create_memory_graph`, with the same arguments.

    Example:
        ```python
        nodes = create_memory_nodes("./memory")
        builder = StateGraph(MemoryState)
        builder.add_node("extract", nodes.extract).add_node("manage", nodes.manage)
        builder.add_edge(START, "extract").add_edge("extract", "manage")
        ```
    """
    banks = BankPool(
        store, namespace, load_embeddings(embedder), of_graph=True, require_user=require_user,
        trust_client_user=trust_client_user,
    )  # fmt: skip
    options = MemoryOptions(
        banks=banks, on_error=on_error, clock=clock, limits=limits or Limits(), related_k=related_k, k=k,
        filter=filter, metadata=metadata or {}, tags=tags,
    )  # fmt: skip
    agents = create_role_agents(
        {"extract": extractor, "manage": manager, "answer": answerer}, "rules" if model is None else model, style
    )
    return MemoryNodes(
        extract=ExtractNode(agents["extract"], options),
        manage=ManageNode(agents["manage"], options),
        answer=AnswerNode(agents["answer"], options),
    )


def create_memory_graph(
    store: StoreLike | None = None,
    *,
    model: Model | None = None,
    extractor: Model | None = None,
    manager: Model | None = None,
    answerer: Model | None = None,
    embedder: str | Embeddings | None = None,
    namespace: Namespace | None = None,
    require_user: bool | None = None,
    trust_client_user: bool = False,
    k: int = 60,
    related_k: int = 10,
    style: Style = "full",
    on_error: OnError = "raise",
    limits: Limits | None = None,
    clock: Callable[[], datetime] = utc_now,
    filter: RunFilter | None = None,
    metadata: Mapping[str, Any] | None = None,
    tags: Sequence[str] = (),
    checkpointer: Checkpointer = None,
    name: str = "memory",
) -> MemoryGraph:
    """Create a graph that remembers messages and answers questions about them.

    It takes messages (or turns of any speakers), a question, or both; it returns what it did to the bank, the answer
    with the memories that it rests on, and what that cost. Stands alone, or is a node of a bigger graph.
    Whose memories: a `namespace` function, else the server's login (another id is refused), else `user_id` in the run's
    context, else in `configurable`, else "default" (see `require_user`). A resumed run goes on for whom it began.
    Turns that the bank has heard (by thread or session, id and text) are passed over, edited ones are heard anew.
    Messages get random ids; give ids if you send a history again without a checkpointer.

    Args:
        store: A folder or URI (LanceDB), a LangGraph store, or a `MemoryBank` for every run; else the parent graph's.
        model: A chat model, `"provider:model"` or `"rules"`, the baseline without a model, which it is by default.
        extractor: Another model for finding facts.
        manager: Another model for deciding what they mean for the bank.
        answerer: Another model for answering.
        embedder: Adds semantic search to a folder's or URI's lexical one: an embedding model or `"provider:model"`.
        namespace: Labels of a bank; "{user_id}", or another value of the run's context; or a function of its `Runtime`.
        require_user: Refuse runs without a user: by default on stores and object storage; a folder warns once.
        trust_client_user: The app acts for its users: `user_id` counts before the server's login.
        k: Memories that an answer may be chosen from.
        related_k: Memories that are compared with each new fact.
        style: Prompts with explanations, or `"compact"` ones for models that were tuned with them.
        on_error: `"degrade"`: a failure stands in `memory_ops` and the log; the next run takes messages up again.
        limits: How many turns and characters one model call looks at.
        clock: The present, for messages without a time.
        filter: Answers come only from memories that it lets through: as in `MemoryBank.search`, or told by the run.
        metadata: Kept with every memory that is added.
        tags: Likewise.
        checkpointer: Keeps the cursor between runs of a thread; leave it out in `langgraph dev` and in a sub-graph.
        name: Name of the graph.
    """
    nodes = create_memory_nodes(
        store, model=model, extractor=extractor, manager=manager, answerer=answerer, embedder=embedder,
        namespace=namespace, require_user=require_user, trust_client_user=trust_client_user, k=k, related_k=related_k,
        style=style, on_error=on_error, limits=limits, clock=clock, filter=filter, metadata=metadata, tags=tags,
    )  # fmt: skip
    return state_graph(nodes).compile(checkpointer=checkpointer, name=name)


def state_graph(nodes: MemoryNodes) -> StateGraph[MemoryState, MemoryContext, MemoryInput, MemoryOutput]:
    """Connect the nodes: extract, then manage where something is new, then answer where there is a question."""
    builder = StateGraph(MemoryState, MemoryContext, input_schema=MemoryInput, output_schema=MemoryOutput)
    builder.add_node("extract", nodes.extract)
    builder.add_node("manage", nodes.manage)
    builder.add_node("answer", nodes.answer)
    builder.add_edge(START, "extract")
    builder.add_conditional_edges("extract", Route(after_extract), ["manage", "answer", END])
    builder.add_conditional_edges("manage", Route(after_manage), ["answer", END])
    builder.add_edge("answer", END)
    return builder


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
    return "manage" if state_values(state).get("pending") else after_manage(state)


def after_manage(state: MemoryState) -> str:
    """Where the graph goes once the bank is up to date."""
    return "answer" if question_of(state) else END


def create_role_agents(models: Mapping[Role, Model | None], default: Model, style: Style) -> dict[Role, Agent]:
    """Create the agent of each role from its own model or the default one; a model that several share is loaded once.

    Raises:
        InputError: There is no such style, or no such model.
    """
    if style not in get_args(Style):
        raise InputError(f"There is no style {style!r}; give one of {', '.join(get_args(Style))}.")
    loaded: dict[str, BaseChatModel] = {}
    agents = {}
    for role, own in models.items():
        model = default if own is None else own
        if isinstance(model, str):
            if model not in loaded:  # a local model's weights may fit a GPU once, not three times
                loaded[model] = load_chat_model(model)
            model = loaded[model]
        agents[role] = agent_for(role, model, style)
    return agents


def agent_for(role: Role, model: Runnable[Any, BaseMessage], style: Style) -> Agent:
    """Put a model in a role, labelled by its name, also where it is wrapped by `with_retry`, `bind` and the like."""
    in_role = named = for_role(model, role)
    while isinstance(named, RunnableBindingBase):
        named = named.bound
    label = model_name(named) if isinstance(named, BaseChatModel) else type(named).__name__
    return Agent(role, in_role, label, style)
