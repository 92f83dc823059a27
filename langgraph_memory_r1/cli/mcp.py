"""`memory-r1 mcp`: the memory for any assistant that speaks the Model Context Protocol."""

from __future__ import annotations

from langgraph_memory_r1.cli.options import DEFAULT_DB, Db, Debug, Embedder, Model, User
from langgraph_memory_r1.cli.store import checked_user, open_store


def mcp(
    db: Db = DEFAULT_DB,
    user: User = None,
    model: Model = "rules",
    embedder: Embedder = None,
    debug: Debug = False,
) -> None:
    """Serve the memory to an assistant, over standard input and output.

    Tools: search, remember, history, undo, forget. An assistant starts this command by itself; give it the command
    line, with a full path after --db.
    """
    from langgraph_memory_r1.bank import MemoryBank
    from langgraph_memory_r1.mcp_server import create_mcp_server
    from langgraph_memory_r1.models import load_chat_model

    chat_model = load_chat_model(model)
    owner = checked_user(user)
    with open_store(db, embedder) as store:
        create_mcp_server(MemoryBank(store, owner), owner, model=chat_model, debug=debug).run("stdio")
