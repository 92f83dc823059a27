"""`LanceDBStore`, a LangGraph store on LanceDB, and its parts.

lancedb_store  the store: BaseStore, plus compaction, erasure, re-embedding
engine         what is behind it, for the store and for a bank's storage on it
reader         mirrors in memory that follow the table   mirror  one of them
writer         one commit for all that waits             embedder  texts to unit vectors
maintenance    compaction, expiry, erasure               journal  lines that cost no commit
table          the only file that imports lancedb        rows  its rows, its schema, their canonical texts
pending        work that outlives its process
filters, locks pure helpers with one job each
"""

from langgraph_memory_r1.store.lancedb_store import LanceDBStore

__all__ = ["LanceDBStore"]
