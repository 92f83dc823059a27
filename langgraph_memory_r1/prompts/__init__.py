"""What each role is told, and how its reply is read: render and parse stand together and change together.

    ExtractInput ─► facts          AnswerInput ─► answer, selected
    ManageInput  ─► operations

`render` and `parse` are all that nodes, datasets and rewards use. `read` and `write` are their inverses, so that
anything that can decide, such as a no-model baseline or a demonstration, can play a role behind an ordinary chat model.
A model sees numbers in place of ids; what it cannot see (ids, sources, sessions, seconds) is not in what `read` returns
either, and `parse` fills it in again.

`parse` takes a reply whole or not at all; `salvage_facts` and `salvage_operations` keep what is good of it.
"""

from langgraph_memory_r1.prompts.answer import AnswerInput
from langgraph_memory_r1.prompts.extract import ExtractInput
from langgraph_memory_r1.prompts.lines import clean
from langgraph_memory_r1.prompts.manage import ManageInput
from langgraph_memory_r1.prompts.references import references, restore
from langgraph_memory_r1.prompts.roles import (
    PROMPT_VERSION,
    Role,
    RoleInput,
    RoleOutput,
    Style,
    is_role,
    parse,
    read,
    render,
    retry,
    role_of,
    schema,
    write,
)
from langgraph_memory_r1.prompts.salvage import FactsRead, OperationsRead, salvage_facts, salvage_operations

__all__ = [
    "PROMPT_VERSION", "Role", "Style", "RoleInput", "RoleOutput", "ExtractInput", "ManageInput", "AnswerInput",
    "render", "parse", "schema", "read", "write", "retry", "references", "restore", "role_of", "is_role", "clean",
    "FactsRead", "OperationsRead", "salvage_facts", "salvage_operations",
]  # fmt: skip
