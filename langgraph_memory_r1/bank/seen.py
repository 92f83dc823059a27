"""Which turns a bank has dealt with, by its history: all but those whose facts nobody could read so far."""

from __future__ import annotations

from collections.abc import Iterable

from langgraph_memory_r1.bank.history import RETRY, is_unread
from langgraph_memory_r1.schemas import Change

READ_AGAIN = 3
"""So many later runs try again to read the facts of a turn; then it stays as it is, and listed."""


class SeenTurns:
    """The ids of the turns that changes came from, filled in as the history grows."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._unread: dict[str, int] = {}
        """Turns whose facts could not be read, and how often that was tried."""

    def __contains__(self, turn_id: object) -> bool:
        return turn_id in self._seen or self._unread.get(str(turn_id), 0) > READ_AGAIN

    def ids(self) -> set[str]:
        """Return the turns that are not to be looked at again."""
        return self._seen | {turn for turn, tries in self._unread.items() if tries > READ_AGAIN}

    def unread(self) -> dict[str, int]:
        """Return the turns whose facts could not be read so far, and how often that was tried."""
        return {turn: tries for turn, tries in self._unread.items() if turn not in self._seen}

    def clear(self) -> None:
        """Begin anew."""
        self._seen.clear()
        self._unread.clear()

    def update(self, changes: Iterable[Change]) -> None:
        """Take in changes, in the order in which they were made."""
        for change in changes:
            if is_unread(change):
                self._unread |= {turn: self._unread.get(turn, 0) + 1 for turn in change.source}
            elif change.event == "NOOP" and change.reason == RETRY:
                self._unread |= dict.fromkeys(change.source, 0)
            else:
                self._seen.update(change.source)
