"""An agent that remembers: `create_agent` with the memory middleware, and tools to look after the memory itself.

    python graphs/agent.py    adopts Buddy, then Scout, and asks how many dogs there are

    MEMORY_R1_DB     folder or URI of the bank; ./memory without it
    MEMORY_R1_MODEL  "provider:model"; without it "rules", the baseline that needs no model and no key

Whose memories a run uses: those of the user who is logged in to the server, else of `user_id` in its context, else of
"default".
"""

from __future__ import annotations

import os

from langchain.agents import create_agent

from langgraph_memory_r1 import MemoryContext, MemoryMiddleware, load_chat_model

model = load_chat_model(os.environ.get("MEMORY_R1_MODEL", "rules"))
memory = MemoryMiddleware(os.environ.get("MEMORY_R1_DB", "memory"), tools=True)
graph = create_agent(model, middleware=[memory], context_schema=MemoryContext)

if __name__ == "__main__":
    ann = MemoryContext(user_id="ann@example.com")
    for text in ("I adopted a dog called Buddy.", "I adopted another dog, Scout!", "How many dogs do I have?"):
        result = graph.invoke({"messages": [{"role": "user", "content": text}]}, context=ann)
        done = ", ".join(operation["event"] for operation in result["memory_ops"])
        print(f"{text}\n    {result['messages'][-1].text}   [{done}]")  # noqa: T201
