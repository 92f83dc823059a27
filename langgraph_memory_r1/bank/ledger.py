"""Which turns a bank has heard: a row for each, without its text, that outlives what was made of it.

    turn ─► TurnMark ─► a row of the same commit as the turn's operations, which must be absent until then

A turn is known by its thread or session, its id and a fingerprint of its text. So the same turn twice at once, or sent
again, is stored once; an edited message is another turn, whose earlier version is known (not under a short id without
a thread or session, which may be anybody's); and what was deleted, undone or forgotten does not come back because a
history is sent again. The rows lie outside of the bank, under a hash of its namespace, where `forget` leaves them: they
say that something was heard, not what it was.

`ThreadClaims` notes whose bank the messages of a thread were said to, as soon as they are looked at: a thread that
changes hands must not carry its earlier owner's messages into the new one's bank. Within one run there is no earlier
owner: to whom an application sends a message in it, to them it was said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NamedTuple

from langgraph.store.base import BaseStore, PutOp

from langgraph_memory_r1.bank.storage import Storage, storage_of
from langgraph_memory_r1.schemas import Turn

_UNIQUE = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
"""In ids that are unique in the world, as LangGraph makes them: a copied thread has the same messages."""
LONE_ID = 16
"""Ids shorter than this are not unique by themselves ("1", "2", ...); they are read together with their thread."""
_FIRST = datetime.min.replace(tzinfo=UTC)


class TurnMark(NamedTuple):
    """A turn as a ledger knows it: hashes, nothing that could be read."""

    turn: str
    """Of its id, with its thread or session where the id alone is not unique, or with its text where it has neither."""
    text: str
    """Of its text."""
    scope: str
    """Of its thread or session."""
    id: str
    """Of its id alone."""
    again: int = 0
    """How often it was edited back to this text."""

    @property
    def key(self) -> str:
        """The key of its row."""
        return f"{self.turn}-{self.text}" + (f"-{self.again}" if self.again else "")


class TurnLedger:
    """The turns that one bank has heard.

    Args:
        storage: The bank's.
        labels: The bank's namespace.
    """

    def __init__(self, storage: Storage, labels: Sequence[str]) -> None:
        self._storage = storage
        self.owner = _hash(16, *labels)
        """Stands for the bank where its name must not."""
        self.space = ("memory_turns", self.owner)
        self._texts: dict[str, Counter[str]] = {}
        """Turn → how often it was heard with each text."""
        self._latest: dict[str, tuple[datetime, str]] = {}
        """Turn → when it was last heard, and its text."""
        self._said: dict[tuple[str, str], datetime] = {}
        """(scope, text) → when it was last heard."""
        self._ids: set[str] = set()
        self._buried: set[str] = set()
        """Ids of which no text is known: of what was forgotten in a bank that had no ledger when it was heard."""

    def mark(self, turn: Turn, text: str | None = None) -> TurnMark:
        """Return the mark of a turn; `text` is the whole text where the turn is a piece of it."""
        text = turn.text if text is None else text
        unique = _UNIQUE.search(turn.id)
        scope = "" if unique else turn.session or ""
        # A short id without a session may come again in any chat: with another text it is another turn, none edited.
        lone = [] if unique or scope or len(turn.id) >= LONE_ID else [text]
        return TurnMark(
            _hash(10, self.owner, scope, turn.id, *lone),
            _hash(8, self.owner, text),
            _hash(8, self.owner, turn.session or ""),
            _hash(8, self.owner, turn.id),
        )

    def puts(self, marks: Iterable[TurnMark]) -> list[PutOp]:
        """Return the rows of turns, for the commit of their operations."""
        records = map(_record, dict.fromkeys(marks))
        return [PutOp(self.space, record.pop("id"), record, False) for record in records]

    def append(self, marks: Iterable[TurnMark]) -> None:
        """Note turns that changed nothing, as cheaply as the store can."""
        self._storage.append(self.space, [_record(mark) for mark in dict.fromkeys(marks)])

    def bury(self, turn_ids: Iterable[str]) -> None:
        """Note ids of turns that stay known although the history that knew them goes."""
        ids = {_hash(8, self.owner, turn_id) for turn_id in turn_ids} - self._ids - self._buried
        if ids:
            at = datetime.now(UTC).isoformat()
            self._storage.append(self.space, [{"id": each, "turn": each, "scope": "", "at": at} for each in ids])

    def follow(self) -> None:
        """Read what has been added; rows never change and never go."""
        records = [{**item.value, "id": item.key} for item in self._storage.changes(self.space).items]
        for record in (*records, *self._storage.read_appended(self.space)[1]):
            turn, _, rest = record["id"].partition("-")
            if not rest:
                self._buried.add(turn)
                continue
            text, scope, at = rest.partition("-")[0], record["scope"], datetime.fromisoformat(record["at"])
            self._texts.setdefault(turn, Counter())[text] += 1
            self._latest[turn] = max((at, text), self._latest.get(turn, (_FIRST, "")))
            self._said[scope, text] = max(at, self._said.get((scope, text), _FIRST))
            self._ids.add(record["turn"])

    def knows(self, mark: TurnMark, since: datetime | None = None) -> bool | None:
        """Return whether a turn was heard; None where it was heard with another text, before it was edited.

        Args:
            mark: The turn.
            since: A replay goes on from a checkpoint of that time: what was said after it in the same thread is said
                again then, by messages with other ids, or by an earlier version of a message. In an ordinary run the
                same words are news.
        """
        if since is not None and self._said.get((mark.scope, mark.text), _FIRST) >= since:
            return True
        if mark.turn not in self._texts:
            # More than its id is known of turns with rows: "7" of another session is another turn.
            return mark.id in self._buried and mark.id not in self._ids
        if since is not None and mark.text in self._texts[mark.turn]:
            return True
        return True if self._latest[mark.turn][1] == mark.text else None

    def holds(self, mark: TurnMark) -> bool:
        """Return whether there is a row for just this mark."""
        return mark.turn in self._texts and self._texts[mark.turn][mark.text] > mark.again

    def edited(self, mark: TurnMark) -> TurnMark:
        """Return the mark of a turn that was edited: no row has it yet, even if it is an earlier text."""
        return mark._replace(again=self._texts.get(mark.turn, Counter())[mark.text])

    def covers(self, mark: TurnMark) -> bool:
        """Return whether some turn with this id is in the ledger, which then says more than the id in a history."""
        return mark.id in self._ids


class ThreadClaims:
    """Whose bank the messages of one thread were said to.

    Args:
        store: Where memories are kept.
        thread: The thread.
        memory: Which memory of the application; another one may hear the same messages for another bank.
    """

    def __init__(self, store: BaseStore, thread: str, memory: str) -> None:
        self._space = ("memory_threads", _hash(16, thread))
        self._storage = storage_of(store, self._space, self._space)
        self._memory = _hash(8, memory)
        self._first: dict[str, Mapping[str, Any]] = {}
        """Message → the record of who was there first."""
        self._owners: dict[str, set[str]] = {}
        """Message → who was there first, and whoever else was there in the same run."""

    def claim(self, owner: str, turns: Sequence[Turn], run: str | None = None) -> list[bool]:
        """Return which turns are the owner's, which are now claimed: those that nobody else was there for before.

        What was claimed in the same run was said to several: an application may send a message to more than one bank.
        """
        if self._storage.has_journal():
            records: list[Mapping[str, Any]] = list(self._storage.read_appended(self._space)[1])
        else:
            records = sorted((item.value for item in self._storage.changes(self._space).items), key=_claimed_at)
        for record in records:
            self._note(record)
        messages = [_hash(8, turn.id, turn.text) for turn in turns]
        record = {"owner": owner, "memory": self._memory, "run": None if run is None else _hash(8, run)}
        if new := [each for each in dict.fromkeys(messages) if self._admits(each, record)]:
            record |= {"id": _hash(8, owner, *new), "messages": new, "at": datetime.now(UTC).isoformat()}
            self._storage.append(self._space, [record])
            self._note(record)
        return [owner in self._owners[message] for message in messages]

    def _note(self, record: Mapping[str, Any]) -> None:
        if record["memory"] == self._memory:
            for message in record["messages"]:
                if self._admits(message, record):
                    self._first.setdefault(message, record)
                    self._owners.setdefault(message, set()).add(record["owner"])

    def _admits(self, message: str, record: Mapping[str, Any]) -> bool:
        """Return whether a record makes its owner one of a message's who was none yet."""
        if (first := self._first.get(message)) is None:
            return True
        same_run = first.get("run") is not None and first.get("run") == record.get("run")
        return same_run and record["owner"] not in self._owners[message]


def keys_of(marks: Iterable[TurnMark], conflicting: Collection[str]) -> set[str]:
    """Return the keys among the conflicting ones that are turns."""
    return {mark.key for mark in marks} & set(conflicting)


def _record(mark: TurnMark) -> dict[str, Any]:
    return {"id": mark.key, "turn": mark.id, "scope": mark.scope, "at": datetime.now(UTC).isoformat()}


def _claimed_at(record: Mapping[str, Any]) -> str:
    return str(record["at"])


def _hash(size: int, *parts: str) -> str:
    return blake2b("\0".join(parts).encode(errors="surrogatepass"), digest_size=size).hexdigest()
