"""The memory graph itself, as `langgraph dev` serves it: messages and turns in, operations on the bank and answers out.

    MEMORY_R1_DB     folder or URI of the bank; ./memory without it
    MEMORY_R1_MODEL  "provider:model"; without it "rules", the baseline that needs no model and no key

Whose memories a run uses: those of the user who is logged in to the server, else of `user_id` in its context, else of
"default".
"""

from __future__ import annotations

import os

from langgraph_memory_r1 import create_memory_graph

# No checkpointer and no store are compiled in: the server brings its own and refuses a graph that has one.
graph = create_memory_graph(
    os.environ.get("MEMORY_R1_DB", "memory"),
    model=os.environ.get("MEMORY_R1_MODEL", "rules"),
    on_error="degrade",
)
