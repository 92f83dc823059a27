"""Items that langmem, or another user of the same store, left in a bank's own namespace, taken over as its memories."""

from __future__ import annotations

from pathlib import Path

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.bank.spaces import foreign_items
from langgraph_memory_r1.importers.export import Export
from langgraph_memory_r1.importers.files import JsonDocument, JsonEntry
from langgraph_memory_r1.importers.into_bank import import_memories
from langgraph_memory_r1.importers.langmem import read_langmem


def adopt_items(bank: MemoryBank) -> Export:
    """Take over what lies in a bank's namespace without being its own, such as langmem's memories; the items stay.

    A second call changes nothing; what is no memory is named in the result.
    """
    items = [JsonEntry(f"item {item.key!r}", item.dict()) for item in foreign_items(bank.store, bank.namespace)]
    export = read_langmem(JsonDocument(Path("store"), items))
    for _ in import_memories(bank, export.memories, export.format):
        pass
    return export
