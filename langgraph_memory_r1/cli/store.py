"""Which folder, whose memories: opens the store, and resolves the owner that a command is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from langgraph_memory_r1.cli.output import note, plain
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.identity import DEFAULT_USER

if TYPE_CHECKING:
    from langgraph.store.base import IndexConfig

    from langgraph_memory_r1.bank import MemoryBank
    from langgraph_memory_r1.bank.attributes import Filter
    from langgraph_memory_r1.schemas import Memory
    from langgraph_memory_r1.store import LanceDBStore

_MOST_LISTED = 20
_NEAREST = 10
"""As many memories are shown that are near in meaning only: an embedder finds every memory near to some degree."""
_ALL = 1_000_000
_MOST_RANKED = 10_000
"""Memories that a search looks through, best first: a bank that is not held in memory reads each from the disk."""


@contextmanager
def open_store(db: str, embedder: str | None = None, *, existing: bool = False) -> Iterator[LanceDBStore]:
    """Open the store of a folder or URI, and close it afterwards.

    Args:
        db: Folder or URI.
        embedder: As `--embedder` takes it.
        existing: Refuse a folder that is not there, where otherwise one is made.

    Raises:
        InputError: There is no such folder, and `existing` was asked for.
    """
    from langgraph_memory_r1.store import LanceDBStore

    if existing:
        require_folder(db)
    with LanceDBStore(db, index=index_config(embedder)) as store:
        yield store


@contextmanager
def open_bank(db: str, user: str | None, embedder: str | None = None) -> Iterator[tuple[MemoryBank, str]]:
    """Open the bank to read from, and yield it with its owner's name."""
    from langgraph_memory_r1.bank import MemoryBank

    with open_store(db, embedder, existing=True) as store:
        owner = resolve_owner(store, user, db=db)
        yield MemoryBank(store, owner), owner


def require_folder(db: str) -> None:
    """Refuse a folder that is not there.

    Raises:
        InputError: It is not.
    """
    if "://" not in db and not Path(db).exists():
        raise InputError(
            f"There are no memories in {db}; name their folder with --db, or begin with: memory-r1 remember TEXT"
        )


def index_config(embedder: str | None) -> IndexConfig | None:
    """Return the store's index for an `--embedder`; None for "none" and for no option at all."""
    from langgraph_memory_r1.models import load_embeddings

    if embedder in (None, "", "none"):
        return None
    embeddings = load_embeddings(embedder)
    assert embeddings is not None
    # A model does not say how wide its vectors are, a store has to know: one text is embedded to see it.
    return {"dims": len(embeddings.embed_query("width")), "embed": embeddings, "fields": ["text"]}


def list_owners(store: LanceDBStore) -> list[str]:
    """Return everybody who has memories or a history in a store, in the order of their names."""
    from langgraph_memory_r1.bank.records import decode_label
    from langgraph_memory_r1.bank.spaces import HISTORY_ROOT

    namespaces = store.list_namespaces(prefix=("memories",), max_depth=2, limit=_ALL)
    histories = store.list_namespaces(prefix=(HISTORY_ROOT, "memories"), max_depth=3, limit=_ALL)
    if journal := store.engine.journal:  # of somebody whose turns could not be read there is nothing else
        histories += [
            namespace[:3] for namespace in journal.namespaces() if namespace[:2] == (HISTORY_ROOT, "memories")
        ]
    labels = {namespace[-1] for namespace in namespaces if len(namespace) == 2}
    labels |= {namespace[-1] for namespace in histories if len(namespace) == 3}
    return sorted(decode_label(label) for label in labels)


def search_memories(
    bank: MemoryBank, words: str, limit: int, embedder: str | None, filter: Filter | None = None
) -> list[Memory]:
    """Return what fits some words, best first: what shares one with them, and by an embedder what is nearest.

    A bank ranks everything, so that an answer finds its context; who looks something up wants what fits, and no more.

    Args:
        bank: The bank to search.
        words: What is looked for.
        limit: At most so many; 0 is all that fit.
        embedder: As `--embedder` takes it.
        filter: Only what it lets through.
    """
    from langgraph_memory_r1.retrieval.segment import IndexedMemory
    from langgraph_memory_r1.tokenizer import terms

    looked_for = set(terms(words))
    nearest = 0 if embedder in (None, "", "none") else _NEAREST
    ranked = [hit.memory for hit in bank.search(words, k=min(len(bank), _MOST_RANKED) or 1, filter=filter)]
    fitting = [
        memory
        for rank, memory in enumerate(ranked)
        if rank < nearest or not looked_for.isdisjoint(IndexedMemory.of(memory, 0).counts)
    ]
    return fitting[:limit] if limit else fitting


def resolve_owner(store: LanceDBStore, user: str | None, *, db: str) -> str:
    """Return whose memories to read: of the user named, else of "default", else of the only owner, which is noted.

    Raises:
        InputError: Several have memories here and none was named, or the name is blank.
    """
    if user is not None:
        return checked_user(user)
    owners = list_owners(store)
    if DEFAULT_USER in owners or not owners:
        return DEFAULT_USER
    if len(owners) == 1:
        note(f"Memories of {plain(owners[0])!r}, the only owner in {db}.")
        return owners[0]
    listed = ", ".join(repr(plain(name)) for name in owners[:_MOST_LISTED])
    more = f" and {len(owners) - _MOST_LISTED:,} more" if len(owners) > _MOST_LISTED else ""
    raise InputError(f"{db} holds the memories of {len(owners):,} owners ({listed}{more}); name one with --user.")


def checked_user(user: str | None) -> str:
    """Return the name of a user, "default" where none is given.

    Raises:
        InputError: The name is blank.
    """
    if user is not None and not user.strip():
        raise InputError('The name after --user is blank; give one, or leave it out to use "default".')
    return DEFAULT_USER if user is None else user
