"""A process that writes turns to a bank and acknowledges each one after `apply` has returned.

    python bank_worker.py FOLDER OWNER NAME TURNS ACKNOWLEDGED

`test_store_concurrency.py` kills it. A turn is an ADD of the worker's own, an UPDATE of what it added a turn before
(every tenth time a DELETE instead), an UPDATE of the counter that all workers share and, every fourth time, a NOOP.
Started again, it goes on with the first turn that the bank has not seen.
"""

from __future__ import annotations

import os
import sys

from langgraph_memory_r1 import Add, ConflictError, Delete, LanceDBStore, MemoryBank, Noop, Operation, Update

COUNTER = "Turns so far:"


def operations(bank: MemoryBank, name: str, turn: int) -> tuple[list[Operation], dict[str, int]]:
    """What to do in this turn, and the revision of the shared counter that it is based on."""
    source = (f"{name}:{turn}",)
    counter = next(memory for memory in bank.all() if memory.text.startswith(COUNTER))
    count = int(counter.text.removeprefix(COUNTER)) + 1
    planned: list[Operation] = [Add(f"{name} {turn} new", source=source)]
    planned.append(Update(counter.id, f"{COUNTER} {count}", source=source))
    previous = next((memory for memory in bank.all() if memory.text == f"{name} {turn - 1} new"), None)
    if previous is not None:
        changed = Update(previous.id, f"{name} {turn - 1} changed", source=source)
        planned.append(Delete(previous.id, source=source) if turn % 10 == 0 else changed)
    if turn % 4 == 0:
        planned.append(Noop(f"{name} {turn} small talk", source=source))
    return planned, {counter.id: counter.rev}


def apply_turn(bank: MemoryBank, name: str, turn: int) -> None:
    """Apply a turn, deciding anew for as long as the other worker was quicker."""
    while True:
        planned, expect = operations(bank, name, turn)
        try:
            bank.apply(planned, expect=expect, model=name)
        except ConflictError:
            continue
        return


def main(folder: str, owner: str, name: str, turns: int, acknowledged: str) -> None:
    """Write the turns that are missing."""
    acks = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with LanceDBStore(folder) as store:
        bank = MemoryBank(store, owner)
        seen = bank.seen()
        for turn in range(turns):
            if f"{name}:{turn}" in seen:
                continue
            apply_turn(bank, name, turn)
            os.write(acks, f"{name}:{turn}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
