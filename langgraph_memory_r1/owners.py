"""Whose memories a run reads and writes, and the bank that holds them."""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.bank.storage import memory_index
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.store import LanceDBStore

StoreLike: TypeAlias = str | os.PathLike[str] | BaseStore | MemoryBank
"""Where memories are kept: a folder or URI for LanceDB, any LangGraph store, or one owner's bank."""

Labels: TypeAlias = str | tuple[str, ...]

Namespace: TypeAlias = str | Sequence[str] | Callable[[Runtime[Any]], str | Sequence[str]]
"""Labels in which "{user_id}" stands for the user, or a function that tells them from the run."""

Find: TypeAlias = Callable[[Runtime[Any], RunnableConfig], MemoryBank]
"""The bank of a run; may block."""

DEFAULT_USER = "default"
"""Owns the memories of runs that name nobody."""

_USER_KEYS = ("user_id", "langgraph_user_id")
_OPEN_BANKS = 256
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def user_of(runtime: Runtime[Any], config: RunnableConfig) -> str:
    """The user of a run: from its context, else the server's login, else the config, else `DEFAULT_USER`.

    Raises:
        InputError: If the user id is blank; pooling such users would mix their memories.
    """
    user = next((told for key in _USER_KEYS if (told := context_value(runtime.context, key)) is not None), None)
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


def context_value(context: object, key: str) -> object:
    """A value of a run's context; an app's context may be a dictionary, a dataclass, a pydantic model or None."""
    return context.get(key) if isinstance(context, Mapping) else getattr(context, key, None)


def labels_of(namespace: Namespace | None, runtime: Runtime[Any], config: RunnableConfig) -> Labels:
    """The namespace of a run's bank, as `MemoryBank` takes it; the user's id alone where none was configured."""
    if namespace is None:
        return user_of(runtime, config)
    if callable(namespace):
        return _labels(namespace(runtime))
    labels = _labels(namespace)
    if "{user_id}" not in "".join(labels):
        return labels
    user = user_of(runtime, config)
    if isinstance(labels, str):
        return labels.replace("{user_id}", user)
    return tuple(label.replace("{user_id}", user) for label in labels)


class BankPool:
    """Opens the banks of a place: the store once and when it is first needed, each owner's bank when it is asked for.

    `of` may block (it can touch the disk); nodes call it off the event loop.
    """

    def __init__(self, place: StoreLike, embedder: Embeddings | None = None) -> None:
        if embedder is not None and isinstance(place, BaseStore | MemoryBank):
            raise InputError(
                'A store brings its own embedder; give it as index={"dims": ..., "embed": ...} to the store.'
            )
        if not isinstance(place, str | os.PathLike | BaseStore | MemoryBank) or place == "":
            raise InputError(f"{place!r} is no place for memories; give a folder, a URI, a store or a bank.")
        self._place = place
        self._embedder = embedder
        self._store = place if isinstance(place, BaseStore) else None
        self._open: OrderedDict[Labels, MemoryBank] = OrderedDict()
        self._lock = threading.Lock()

    def opened(self, labels: Labels) -> MemoryBank | None:
        """The bank under these labels if it has been asked for before; never blocks."""
        return self._place if isinstance(self._place, MemoryBank) else self._open.get(labels)

    def of(self, labels: Labels) -> MemoryBank:
        """The bank under these labels; a bank that was given as the place itself serves every run."""
        if isinstance(self._place, MemoryBank):
            return self._place
        with self._lock:
            if self._store is None:
                self._store = _lancedb(self._place, self._embedder)
            if labels not in self._open:
                self._open[labels] = MemoryBank(self._store, labels)
            self._open.move_to_end(labels)
            if len(self._open) > _OPEN_BANKS:
                self._open.popitem(last=False)
            return self._open[labels]


def finder(namespace: tuple[str, ...] | str, store: StoreLike | None) -> Find:
    """Finds the bank of a run by labels with placeholders, in a place or in the store of the run's graph.

    Raises:
        InputError: If there is no such namespace.
    """
    if not isinstance(namespace, str | tuple | list) or not namespace:
        raise InputError(f"{namespace!r} is no namespace; give a name or several, none of them empty.")
    template: Labels = namespace if isinstance(namespace, str) else tuple(namespace)
    if store is not None:
        return partial(_bank, BankPool(store), template)
    return partial(_bank_in, _Newest(), template)


def _bank(banks: BankPool, template: Labels, runtime: Runtime[Any], config: RunnableConfig) -> MemoryBank:
    if isinstance(template, str):
        return banks.of(_filled(template, runtime, config))
    return banks.of(tuple(_filled(label, runtime, config) for label in template))


def _bank_in(newest: _Newest, template: Labels, runtime: Runtime[Any], config: RunnableConfig) -> MemoryBank:
    if runtime.store is None:
        raise InputError("The graph has no store; give one to the memory tool: store=LanceDBStore('./memory').")
    return _bank(newest.banks(runtime.store), template, runtime, config)


class _Newest:
    """The banks of the store that a tool was last used with."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._store: BaseStore | None = None
        self._banks: BankPool | None = None

    def banks(self, store: BaseStore) -> BankPool:
        """The banks of a store."""
        with self._lock:
            if self._banks is None or self._store is not store:
                self._store, self._banks = store, BankPool(store)
            return self._banks


def _filled(label: str, runtime: Runtime[Any], config: RunnableConfig) -> str:
    return _PLACEHOLDER.sub(lambda match: _told(match[1], runtime, config), label)


def _told(key: str, runtime: Runtime[Any], config: RunnableConfig) -> str:
    if key in _USER_KEYS:
        return user_of(runtime, config)
    told = context_value(runtime.context, key)
    if told is None:
        told = config.get("configurable", {}).get(key)
    if told is None or not str(told).strip():
        raise InputError(f"The namespace of a memory tool names {{{key}}}; give the run a context with {key!r}.")
    return str(told)


def _lancedb(place: StoreLike, embedder: Embeddings | None) -> LanceDBStore:
    if isinstance(place, BaseStore | MemoryBank):
        raise TypeError(f"{place!r} is open already")
    return LanceDBStore(place, index=memory_index(embedder))


def check_namespace(namespace: Namespace) -> None:
    """Refuses what cannot be a namespace; what a function says is seen when it is called.

    Raises:
        InputError: If it is neither a name nor several nor a function.
    """
    if not callable(namespace):
        _labels(namespace)


def _labels(namespace: str | Sequence[str]) -> Labels:
    labels = namespace if isinstance(namespace, str) else tuple(namespace) if isinstance(namespace, Sequence) else ()
    if not labels or not all(isinstance(label, str) and label for label in labels):
        raise InputError(f"{namespace!r} is no namespace; give a name or several, none of them empty.")
    return labels
