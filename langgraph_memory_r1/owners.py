"""Whose memories a run reads and writes, and the bank that holds them.

    run ─► RunIdentity ─► OwnerResolver: namespace, filled in ─► BankPool ─► MemoryBank

What a run began with goes on with it: its first step keeps an `OwnerRecord` in the state, so that a run that is
resumed, or forked from a checkpoint, without its context goes on with the same bank.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, NamedTuple, TypeAlias

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime, get_runtime
from langgraph.store.base import BaseStore

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.bank.storage import memory_index_config
from langgraph_memory_r1.errors import IdentityError, InputError
from langgraph_memory_r1.identity import DEFAULT_USER, USER, USER_KEYS, RunIdentity
from langgraph_memory_r1.state import OwnerRecord
from langgraph_memory_r1.store import LanceDBStore

log = logging.getLogger(__name__)

StoreLike: TypeAlias = str | os.PathLike[str] | BaseStore | MemoryBank
"""Where memories are kept: a folder or URI for LanceDB, any LangGraph store, or one owner's bank."""

Labels: TypeAlias = str | tuple[str, ...]
"""The namespace of a bank, as `MemoryBank` takes it."""

Namespace: TypeAlias = str | Sequence[str] | Callable[[Runtime[Any]], str | Sequence[str]]
"""Labels with placeholders such as "{user_id}", or a function that tells them from the run."""

_OPEN_BANKS = 256
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_LOCAL_SCHEMES = ("file://", "memory://")


def current_runtime() -> Runtime[Any]:
    """Return the runtime of the graph that runs; an empty one outside a graph, where a node or tool runs alone."""
    try:
        return get_runtime() or Runtime()
    except RuntimeError:
        return Runtime()


class Owner(NamedTuple):
    """Whose memories a run works on."""

    labels: Labels
    """The namespace of the bank."""
    values: dict[str, str]
    """What the placeholders of the namespace stand for; none where a function told the labels."""

    def record(self) -> OwnerRecord:
        """Return the owner as the state keeps it."""
        labels = self.labels if isinstance(self.labels, str) else list(self.labels)
        return OwnerRecord(values=self.values, labels=labels, over=False)


def end_run(records: Mapping[str, OwnerRecord] | None, name: str) -> dict[str, OwnerRecord]:
    """Return the owners of a thread's runs, with that of one memory marked: its run is over."""
    kept = dict(records or {})
    if name in kept:
        kept[name] = {**kept[name], "over": True}
    return kept


class OwnerResolver:
    """Tells the owner of a run: the one place where this is decided.

    Args:
        namespace: Labels with placeholders, or a function of the run's `Runtime`; the user's id alone without one.
        require_user: Refuse a run that names nobody. False gives it to `DEFAULT_USER`; None too, and warns of it.
        trust_client_user: The app acts for its users: what a run gives counts before the server's login.

    Raises:
        InputError: The namespace cannot be used.
    """

    def __init__(
        self, namespace: Namespace | None, *, require_user: bool | None = None, trust_client_user: bool = False
    ) -> None:
        self.namespace = namespace
        self._require_user = require_user
        self._trust_client_user = trust_client_user
        self._warned = False
        self._labels: Labels = () if callable(namespace) else _labels("{user_id}" if namespace is None else namespace)
        parts = [self._labels] if isinstance(self._labels, str) else list(self._labels)
        names = _PLACEHOLDER.findall("".join(parts))
        self._placeholders = list(dict.fromkeys(USER if name in USER_KEYS else name for name in names))
        for label in parts:
            literals = _PLACEHOLDER.split(label)[::2]
            if any("{" in literal or "}" in literal for literal in literals):
                raise InputError(
                    f"The namespace label {label!r} has braces that name nothing; write {{user_id}} or another "
                    "{name} of letters, digits and _."
                )
            if any(not _separators(literal) for literal in literals[1:-1]):
                raise InputError(
                    f"The values in the namespace label {label!r} could not be told apart; give each a label of its "
                    'own, as in ("{org}", "{user_id}").'
                )

    def resolve(
        self,
        runtime: Runtime[Any],
        config: RunnableConfig,
        begun: OwnerRecord | None = None,
        earlier: OwnerRecord | None = None,
    ) -> Owner:
        """Return the owner of a run.

        "{user_id}" and "{langgraph_user_id}" stand for the user of the run; any other "{name}" for a value of its
        login; where nobody is logged in, of its context, else of its `configurable`. What a function returns is taken
        as it is.

        Args:
            runtime: Of the run.
            config: Of the run.
            begun: What the first step of this run kept.
            earlier: What the last run of the thread kept, where this is the first step of a run.

        Raises:
            IdentityError: A client asks for another user than the login, or than the one for whom the run began; or
                the login does not say what a placeholder stands for.
            InputError: A placeholder has no value in this run, or one that cannot be used; the run names no user and
                has to; or a function returned no namespace.
        """
        identity = RunIdentity(runtime, config, trust_client_user=self._trust_client_user)
        if begun is not None and begun["over"]:  # whoever had the thread before, another run has begun
            begun, earlier = None, begun
        if callable(self.namespace):
            labels = None if begun is None else _labels(begun["labels"])
            if labels is None or identity.says_anything():
                chosen = _labels(self.namespace(runtime))
                if labels not in (None, chosen):
                    raise IdentityError("This run began with another namespace; resume it as it began.")
                labels = chosen
            return Owner(labels, {})
        values: dict[str, str] = {}
        for key in self._placeholders:
            value = identity.user() if key == USER else identity.value(key)
            before = begun["values"].get(key) if begun is not None else None
            if value is not None and before is not None and value != before:
                raise IdentityError(
                    f"This run began with another {key} than {value!r}; resume it as it began, or begin a new run."
                )
            value = value if value is not None else before
            if value is None and key == USER:
                value = self._nobody(identity, earlier)
            if value is None:
                raise InputError(
                    f"The namespace of the memory names {{{key}}}, which this run does not give; "
                    f"run with context={{{key!r}: ...}}."
                )
            values[key] = value
        if isinstance(self._labels, str):
            return Owner(_filled(self._labels, values), values)
        return Owner(tuple(_filled(label, values) for label in self._labels), values)

    def _nobody(self, identity: RunIdentity, earlier: OwnerRecord | None) -> str:
        """Return the owner of a run that names no user, where there is one.

        Raises:
            InputError: The run has to name one.
        """
        if (where := identity.misspelt()) is not None:
            raise InputError(
                f"This run names no user: the memory reads {USER}, and {where} is another name; rename it."
            )
        hint = f" ({where} is another name.)" if (where := identity.alike()) is not None else ""
        if self._require_user:
            raise InputError(
                f'This run names no user; run it with context={{"{USER}": ...}}, or create the memory with '
                f"require_user=False, for one user {DEFAULT_USER!r} whom all such runs share.{hint}"
            )
        # An interrupt before the memory's first step leaves no record of this run, and a resume often has no context.
        if earlier is not None and earlier["values"].get(USER, DEFAULT_USER) != DEFAULT_USER:
            raise InputError(
                f'This run names no user, and the last one of its thread did; run it with context={{"{USER}": ...}}, '
                f"also where it is resumed.{hint}"
            )
        if self._require_user is None and not self._warned:
            self._warned = True
            log.warning(
                "A run names no user: its memories go to the user %r, whom all such runs share. Run with "
                'context={"%s": ...}, or create the memory with require_user=True to refuse such runs, or False to say '
                "nothing.%s",
                DEFAULT_USER, USER, hint,
            )  # fmt: skip
        return DEFAULT_USER


class BankPool:
    """The open banks of a store: the store is opened once and when it is first needed, each owner's bank likewise.

    Args:
        store: Where memories are kept.
        namespace: Where a user's memories stand in it; see `OwnerResolver`.
        embedder: Adds semantic search to a folder or URI.
        of_graph: No store stands for the store of the graph in which a run happens.
        require_user: See `OwnerResolver`. None refuses a run that names nobody where several users are likely: on
            stores and on object storage.
        trust_client_user: See `OwnerResolver`.

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
        require_user: bool | None = None,
        trust_client_user: bool = False,
    ) -> None:
        if embedder is not None and isinstance(store, BaseStore | MemoryBank | None):
            raise InputError(
                'A store brings its own embedder; give it as index={"dims": ..., "embed": ...} to the store.'
            )
        none = store is None and of_graph
        if not (none or isinstance(store, str | os.PathLike | BaseStore | MemoryBank)) or store == "":
            raise InputError(f"{store!r} is no store for memories; give a folder, a URI, a store or a bank.")
        if require_user is None and (store is None or isinstance(store, BaseStore) or _is_remote(store)):
            require_user = True
        self._resolver = OwnerResolver(namespace, require_user=require_user, trust_client_user=trust_client_user)
        self.store = store
        self._embedder = embedder
        self._store = store if isinstance(store, BaseStore) else None
        self._banks: OrderedDict[Labels, MemoryBank] = OrderedDict()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        store = os.fspath(self.store) if isinstance(self.store, os.PathLike) else self.store
        return f"BankPool({store!r}, namespace={self._resolver.namespace!r})"

    @property
    def kind(self) -> str | None:
        """What the banks are of: the namespace before anything is filled in, the same in every process.

        None for a function that cannot be told for certain from another one: a method, a partial, a callable object,
        or one that is bound to anything but plain values.
        """
        namespace = self._resolver.namespace
        if not callable(namespace):
            return repr(namespace)
        if not isinstance(namespace, FunctionType):
            return None
        # Two lambdas of one module have one name; what they do tells them apart, and stays when lines move.
        code = namespace.__code__
        bound = (*(cell.cell_contents for cell in namespace.__closure__ or ()), namespace.__defaults__)
        values = (code.co_consts, bound, tuple(sorted((namespace.__kwdefaults__ or {}).items())))
        if not _is_plain(values):
            return None
        return f"{namespace.__module__}.{namespace.__qualname__}{(code.co_code.hex(), code.co_names)}{values}"

    def owner(
        self,
        runtime: Runtime[Any],
        config: RunnableConfig,
        begun: OwnerRecord | None = None,
        earlier: OwnerRecord | None = None,
    ) -> Owner:
        """Return the owner of a run: see `OwnerResolver.resolve`. A single bank serves every run, whoever it is for."""
        if isinstance(self.store, MemoryBank):
            return Owner(self.store.namespace, {})
        return self._resolver.resolve(runtime, config, begun, earlier)

    def opened(
        self, runtime: Runtime[Any], config: RunnableConfig, begun: OwnerRecord | None = None
    ) -> MemoryBank | None:
        """Return the bank of a run if it is open already; never blocks.

        None where an app's own function names the namespace: it may block, so `bank` calls it, in a thread.
        """
        if callable(self._resolver.namespace):
            return None
        labels = self.owner(runtime, config, begun).labels
        if isinstance(self.store, MemoryBank):
            return self.store
        if self.store is None and runtime.store is not self._store:
            return None
        return self._banks.get(labels)

    def bank(self, runtime: Runtime[Any], config: RunnableConfig, begun: OwnerRecord | None = None) -> MemoryBank:
        """Return the bank of a run; may block, because the store may have to be opened.

        Raises:
            InputError: As `OwnerResolver.resolve`, or there is no store.
        """
        labels = self.owner(runtime, config, begun).labels
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

    def open(self) -> BaseStore:
        """Return the store outside of a run; may block, because it may have to be opened.

        Raises:
            InputError: It is the store of a graph, which only a run knows.
        """
        if isinstance(self.store, MemoryBank):
            return self.store.store
        with self._lock:
            self._store = self._store_of(Runtime(store=self._store))
            return self._store

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


def _is_plain(value: object) -> bool:
    """Return whether a value looks the same in every process, and no other value looks like it."""
    if type(value) is tuple:
        return all(map(_is_plain, value))
    return value is None or type(value) in (str, int, float, bool)


def _is_remote(store: object) -> bool:
    return isinstance(store, str) and "://" in store and not store.startswith(_LOCAL_SCHEMES)


def _separators(literal: str) -> str:
    return "".join(sorted({char for char in literal if not char.isalnum() and char != "%"}))


def _filled(label: str, values: Mapping[str, str]) -> str:
    """Fill in a label. Where it holds several values, "a-b" and "c" must not give the same label as "a" and "b-c"."""
    literals = _PLACEHOLDER.split(label)[2:-1:2]
    escaped = "%" + "".join(map(_separators, literals)) if literals else ""

    def value_of(placeholder: re.Match[str]) -> str:
        value = values[USER if placeholder[1] in USER_KEYS else placeholder[1]]
        if not escaped:
            return value
        return "".join(
            "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass")) if char in escaped else char
            for char in value
        )

    return _PLACEHOLDER.sub(value_of, label)
