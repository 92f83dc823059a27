"""`LanceDBStore`, a LangGraph store on LanceDB, and its parts.

lancedb_store  the store: BaseStore, plus commit under a condition, erase, re-embedding
reader         mirrors in memory that follow the table   mirror  one of them
writer         one commit for all that waits             embedder  texts to unit vectors
upkeep         compaction, expiry, erasure               journal  lines that cost no commit
lance          the table: the only file that imports lancedb   arrow, rows  its schema and its rows
changelog      which namespaces a commit touched         tail  the append-only files behind both
filters, namespaces, locks                               pure helpers with one job each
"""

from langgraph_memory_r1.store.lancedb_store import LanceDBStore

__all__ = ["LanceDBStore"]
