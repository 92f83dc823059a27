"""Which folder, whose memories: opens the store and finds the owner that a command is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from langgraph_memory_r1.cli.output import note, plain
from langgraph_memory_r1.errors import InputError

if TYPE_CHECKING:
    from langgraph.store.base import IndexConfig

    from langgraph_memory_r1.bank import MemoryBank
    from langgraph_memory_r1.store import LanceDBStore

DEFAULT_USER = "default"
_MOST_LISTED = 20
_ALL = 1_000_000


@contextmanager
def opened(db: str, embedder: str | None = None, *, existing: bool = False) -> Iterator[LanceDBStore]:
    """The store of a folder or URI, closed afterwards.

    Args:
        db: Folder or URI.
        embedder: As `--embedder` takes it.
        existing: Refuse a place where nothing was stored yet.

    Raises:
        InputError: there is nothing, and `existing` was asked for.
    """
    from langgraph_memory_r1.store import LanceDBStore

    if existing:
        require(db)
    with LanceDBStore(db, index=index_of(embedder)) as store:
        yield store


def index_of(embedder: str | None) -> IndexConfig | None:
    """The store's index for an `--embedder`; None for "none" and for no option at all."""
    from langgraph_memory_r1.bank.storage import memory_index
    from langgraph_memory_r1.models import load_embeddings

    return None if embedder in (None, "", "none") else memory_index(load_embeddings(embedder))


def owners(store: LanceDBStore) -> list[str]:
    """Everybody who has memories or a history here."""
    from langgraph_memory_r1.bank.records import decode_label

    found = store.list_namespaces(prefix=("memories",), max_depth=2, limit=_ALL)
    return sorted(decode_label(namespace[1]) for namespace in found if len(namespace) == 2)


def owner(store: LanceDBStore, user: str | None, *, db: str) -> str:
    """Whose memories to read: the one named, else "default", else the only one there is, which is said.

    Raises:
        InputError: several have memories here and none was named, or the name is blank.
    """
    if user is not None:
        return named(user)
    there = owners(store)
    if DEFAULT_USER in there or not there:
        return DEFAULT_USER
    if len(there) == 1:
        note(f"Memories of {plain(there[0])!r}, the only owner in {db}.")
        return there[0]
    shown = ", ".join(repr(plain(name)) for name in there[:_MOST_LISTED])
    more = f" and {len(there) - _MOST_LISTED:,} more" if len(there) > _MOST_LISTED else ""
    raise InputError(f"{db} holds the memories of {len(there):,} owners ({shown}{more}); name one with --user.")


def named(user: str) -> str:
    """A user's name that is not blank.

    Raises:
        InputError: it is.
    """
    if not user.strip():
        raise InputError('The name after --user is blank; give one, or leave it out to use "default".')
    return user


@contextmanager
def bank_of(db: str, user: str | None, embedder: str | None = None) -> Iterator[tuple[MemoryBank, str]]:
    """The bank to read from and its owner's name."""
    from langgraph_memory_r1.bank import MemoryBank

    with opened(db, embedder, existing=True) as store:
        name = owner(store, user, db=db)
        yield MemoryBank(store, name), name


def require(db: str) -> None:
    """Refuse a place where nothing was stored yet.

    Raises:
        InputError: it is one.
    """
    if "://" not in db and not Path(db).exists():
        raise InputError(
            f"There are no memories in {db}; name their folder with --db, or begin with: memory-r1 remember TEXT"
        )
