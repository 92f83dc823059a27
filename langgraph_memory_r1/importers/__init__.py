"""What people have already: exports of chats and of other memory products, as conversations and memories.

    file ─► detect ─► a format's reader ─► Harvest: conversations (for the memory graph), memories (for `adopt`)

A reader is pure but for reading its file; what it cannot use it names and counts. Words of an export are data: nothing
in it is run, loaded as an object, or followed.
"""

from langgraph_memory_r1.importers.adopt import Adopted, adopt
from langgraph_memory_r1.importers.detect import detect, is_bank
from langgraph_memory_r1.importers.harvest import Harvest, Kept, Talk, Wording
from langgraph_memory_r1.importers.read import FORMATS, read_export

__all__ = ["FORMATS", "Adopted", "Harvest", "Kept", "Talk", "Wording", "adopt", "detect", "is_bank", "read_export"]
