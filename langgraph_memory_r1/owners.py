"""Whose memories a run reads and writes, and the bank that holds them.

    context, server's login, config ─► user_of ─► namespace ─► BankPool ─► MemoryBank

One resolver for the graph, the middleware and the tools: a placeholder in a namespace means the same everywhere.
"""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime, get_runtime
from langgraph.store.base import BaseStore

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.bank.storage import memory_index_config
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.store import LanceDBStore

StoreLike: TypeAlias = str | os.PathLike[str] | BaseStore | MemoryBank
"""Where memories are kept: a folder or URI for LanceDB, any LangGraph store, or one owner's bank."""

Labels: TypeAlias = str | tuple[str, ...]
"""The namespace of a bank, as `MemoryBank` takes it."""

Namespace: TypeAlias = str | Sequence[str] | Callable[[Runtime[Any]], str | Sequence[str]]
"""Labels with placeholders such as "{user_id}", or a function that tells them from the run."""

DEFAULT_USER = "default"
"""Owns the memories of runs that name nobody."""

_USER_KEYS = ("user_id", "langgraph_user_id")  # the second is what langmem calls it
_OPEN_BANKS = 256
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def current_runtime() -> Runtime[Any]:
    """Return the runtime of the graph that runs; an empty one outside a graph, where a node or tool runs alone."""
    try:
        return get_runtime() or Runtime()
    except RuntimeError:
        return Runtime()


def context_value(context: object, key: str) -> object:
    """Return a value of a run's context, which an app may give as a dictionary, a dataclass, a model or not at all."""
    return context.get(key) if isinstance(context, Mapping) else getattr(context, key, None)


def user_of(runtime: Runtime[Any], config: RunnableConfig) -> str:
    """Return the user of a run: from its context, else the server's login, else the config, else `DEFAULT_USER`.

    Raises:
        InputError: If the user id is blank; pooling such users would mix their memories.
    """
    in_context = (context_value(runtime.context, key) for key in _USER_KEYS)
    user = next((value for value in in_context if value is not None), None)
    if user is None and runtime.server_info is not None and runtime.server_info.user is not None:
        user = runtime.server_info.user.identity
    if user is None:
        configurable = config.get("configurable", {})
        user = next((configurable[key] for key in _USER_KEYS if configurable.get(key) is not None), None)
    if user is None:
        return DEFAULT_USER
    if not str(user).strip():
        raise InputError("The user id is blank; give the run a user_id, or none at all to use the default user.")
    return str(user)


def resolve_namespace(namespace: Namespace | None, runtime: Runtime[Any], config: RunnableConfig) -> Labels:
    """Return the namespace of a run's bank; the user's id alone where none was configured.

    "{user_id}" and "{langgraph_user_id}" stand for the user of the run, any other "{name}" for a value of its context,
    else of its `configurable`. What a function returns is taken as it is.

    Raises:
        InputError: A placeholder has no value in this run, the user id is blank, or a function returned no namespace.
    """
    if namespace is None:
        return user_of(runtime, config)
    if callable(namespace):
        return _labels(namespace(runtime))

    def value_of(placeholder: re.Match[str]) -> str:
        key = placeholder[1]
        if key in _USER_KEYS:
            return user_of(runtime, config)
        value = context_value(runtime.context, key)
        if value is None:
            value = config.get("configurable", {}).get(key)
        if value is None or not str(value).strip():
            raise InputError(
                f"The namespace of the memory names {{{key}}}, which this run does not give; "
                f"run with context={{{key!r}: ...}}."
            )
        return str(value)

    labels = _labels(namespace)
    if isinstance(labels, str):
        return _PLACEHOLDER.sub(value_of, labels)
    return tuple(_PLACEHOLDER.sub(value_of, label) for label in labels)


class BankPool:
    """The open banks of a store: the store is opened once and when it is first needed, each owner's bank likewise.

    Args:
        store: Where memories are kept.
        namespace: Where a user's memories stand in it; see `resolve_namespace`.
        embedder: Adds semantic search to a folder or URI.
        of_graph: No store stands for the store of the graph in which a run happens.

    Raises:
        InputError: One of them cannot be used.
    """

    def __init__(
        self,
        store: StoreLike | None,
        namespace: Namespace | None = None,
        embedder: Embeddings | None = None,
        *,
        of_graph: bool = False,
    ) -> None:
        if embedder is not None and isinstance(store, BaseStore | MemoryBank):
            raise InputError(
                'A store brings its own embedder; give it as index={"dims": ..., "embed": ...} to the store.'
            )
        none = store is None and of_graph
        if not (none or isinstance(store, str | os.PathLike | BaseStore | MemoryBank)) or store == "":
            raise InputError(f"{store!r} is no store for memories; give a folder, a URI, a store or a bank.")
        if namespace is not None and not callable(namespace):
            for label in [labels] if isinstance(labels := _labels(namespace), str) else labels:
                if "{" in (literal := _PLACEHOLDER.sub("", label)) or "}" in literal:
                    raise InputError(
                        f"The namespace label {label!r} has braces that name nothing; write {{user_id}} or another "
                        "{name} of letters, digits and _."
                    )
        self.store = store
        self.namespace = namespace
        self._embedder = embedder
        self._store = store if isinstance(store, BaseStore) else None
        self._banks: OrderedDict[Labels, MemoryBank] = OrderedDict()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        store = os.fspath(self.store) if isinstance(self.store, os.PathLike) else self.store
        return f"BankPool({store!r}, namespace={self.namespace!r})"

    def opened(self, runtime: Runtime[Any], config: RunnableConfig) -> MemoryBank | None:
        """Return the bank of a run if it is open already; never blocks.

        None where an app's own function names the namespace: it may block, so `bank` calls it, in a thread.
        """
        if callable(self.namespace):
            return None
        labels = resolve_namespace(self.namespace, runtime, config)
        if isinstance(self.store, MemoryBank):
            return self.store
        if self.store is None and runtime.store is not self._store:
            return None
        return self._banks.get(labels)

    def bank(self, runtime: Runtime[Any], config: RunnableConfig) -> MemoryBank:
        """Return the bank of a run; may block, because the store may have to be opened.

        Raises:
            InputError: As `resolve_namespace`, or there is no store.
        """
        labels = resolve_namespace(self.namespace, runtime, config)
        if isinstance(self.store, MemoryBank):
            return self.store
        # Two runs of a new owner would make two banks, each of which reads all memories into its own index.
        with self._lock:
            store = self._store_of(runtime)
            if store is not self._store:
                # A tool without a store of its own serves whatever graph calls it; banks of another store are not its.
                self._banks.clear()
                self._store = store
            if labels not in self._banks:
                self._banks[labels] = MemoryBank(store, labels)
            self._banks.move_to_end(labels)
            if len(self._banks) > _OPEN_BANKS:
                self._banks.popitem(last=False)
            return self._banks[labels]

    def _store_of(self, runtime: Runtime[Any]) -> BaseStore:
        if self.store is None:
            if runtime.store is None:
                raise InputError("The graph has no store; give one to the memory: store=LanceDBStore('./memory').")
            return runtime.store
        if self._store is not None:
            return self._store
        assert not isinstance(self.store, BaseStore | MemoryBank)
        return LanceDBStore(self.store, index=memory_index_config(self._embedder))


def _labels(namespace: str | Sequence[str]) -> Labels:
    labels = namespace if isinstance(namespace, str) else tuple(namespace) if isinstance(namespace, Sequence) else ()
    if not labels or not all(isinstance(label, str) and label for label in labels):
        raise InputError(f"{namespace!r} is no namespace; give a name or several, none of them empty.")
    return labels
