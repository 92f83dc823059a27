"""What people have already: exports of chats and of other memory products, as conversations and memories.

    file ─► detect ─► a format's reader ─► Export: conversations (for the memory graph), memories (for the bank)

A reader is pure but for reading its file; what it cannot use it names and counts. Words of an export are data: nothing
in it is run, loaded as an object, or followed.
"""

from langgraph_memory_r1.importers.adopt import adopt_items
from langgraph_memory_r1.importers.detect import detect, is_bank
from langgraph_memory_r1.importers.export import Export, ImportedMemory, MemoryVersion, OwnedConversation
from langgraph_memory_r1.importers.into_bank import ImportStep, import_memories
from langgraph_memory_r1.importers.read import FORMATS, read_export

__all__ = [
    "FORMATS",
    "Export",
    "ImportStep",
    "ImportedMemory",
    "MemoryVersion",
    "OwnedConversation",
    "adopt_items",
    "detect",
    "import_memories",
    "is_bank",
    "read_export",
]
