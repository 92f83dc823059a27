"""`TraceRecorder`: records every model call of a graph or agent, from its callbacks alone.

    recorder = TraceRecorder("traces")
    graph.invoke(..., config={"callbacks": [recorder]})
    recorder.feedback(recorder.last_run, gold="Buddy")

Nodes hold no tracing code: who asked what stands in the metadata of the call, and what was done because of it in the
output of the node. A decision is written when the node that asked is done, by one append to a file of this process.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult

from langgraph_memory_r1.traces.calls import Call, Finished, Reply, message_of, settles, thread_of
from langgraph_memory_r1.traces.decision import Feedback, Thumbs, to_line
from langgraph_memory_r1.traces.feedback import FEEDBACK, add_feedback, check
from langgraph_memory_r1.traces.folder import FULL, append_shared
from langgraph_memory_r1.traces.redaction import Redact
from langgraph_memory_r1.traces.said import message_as_dict, reply_in
from langgraph_memory_r1.traces.writer import Writer

_REMEMBERS = ".after_agent"
"""How the node of a middleware is called that remembers; after a review it asks no model any more."""


@dataclass(slots=True)
class _Node:
    """A run that is under way: a node, a graph, a tool."""

    run_id: UUID
    """Of the whole graph or agent."""
    parent: UUID | None
    name: str | None
    thread: str | None = None
    calls: list[Finished] = field(default_factory=list)


class TraceRecorder(BaseCallbackHandler):
    """Records what models decided; give it to a run as a callback, or to a graph with `with_config`.

    Safe in threads, event loops and several processes: each process appends to a file of its own, and an event loop
    never waits for the disk. A disk that is full stops no agent: what could not be written is counted in `lost`.

    Args:
        path: Folder for the traces. They hold what people said; the files are readable for this user only.
        redact: Applied to every text before it is written.
        roles: Record only calls in these roles (`"extract"`, `"manage"`, `"answer"`); None: every call of a model.
        max_bytes: Size after which a new file is begun.

    Raises:
        StoreError: The folder cannot be written.

    Example:
        ```python
        recorder = TraceRecorder("traces")
        graph.invoke({"question": "How is the dog called?"}, {"callbacks": [recorder]})
        recorder.feedback(recorder.last_run, gold="Buddy")
        ```
    """

    run_inline = True  # a call back costs microseconds; what takes longer is done in a thread

    def __init__(
        self,
        path: str | os.PathLike[str] = "traces",
        *,
        redact: Redact | None = None,
        roles: Collection[str] | None = None,
        max_bytes: int = FULL,
    ) -> None:
        self.path = Path(path)
        self.last_run: str | None = None
        """Id of the run that ended last; where several run at once, name them: `config={"run_id": uuid4()}`."""
        self._settings = (redact, roles, max_bytes)
        self._roles = roles
        self._writer = Writer(self.path, redact, max_bytes)
        self._lock = threading.Lock()
        self._nodes: dict[UUID, _Node] = {}
        self._calls: dict[UUID, tuple[Call, float, UUID | None]] = {}
        atexit.register(_flush, weakref.ref(self))

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process writes to the same folder."""
        return _again, (self.path, *self._settings)

    def __deepcopy__(self, memo: dict[int, Any]) -> TraceRecorder:
        """Configs are copied while a run is under way, which this recorder follows."""
        return self

    __copy__ = __deepcopy__

    @property
    def lost(self) -> int:
        """Decisions that could not be written."""
        return self._writer.appender.lost

    def feedback(
        self,
        run_id: str | UUID | None,
        *,
        gold: str | None = None,
        score: float | None = None,
        thumbs: Thumbs | None = None,
        comment: str | None = None,
    ) -> Feedback:
        """Adds what is known about a run, or about one decision, by its id; see `add_feedback`."""
        if not self.has(run_id):
            return add_feedback(self.path, run_id, gold=gold, score=score, thumbs=thumbs, comment=comment)
        told = Feedback(str(run_id), gold, score, thumbs, comment, datetime.now(UTC))
        check(told)
        append_shared(self.path / FEEDBACK, to_line(told))
        return told

    def has(self, run_id: str | UUID | None) -> bool:
        """Whether something of this run was recorded here lately; a run that asked no model leaves nothing."""
        return self._writer.has(str(run_id))

    def flush(self) -> None:
        """Waits until all decisions of nodes that are done are on disk."""
        self._writer.wait()

    def close(self) -> None:
        """Writes all that was recorded, also of nodes that are still at work; the recorder can be used again."""
        with self._lock:
            waiting = [calls for node in self._nodes.values() if (calls := node.calls)]
            for node in self._nodes.values():
                node.calls = []
        for calls in waiting:
            self._writer.write(calls, None)
        self._writer.close()

    # What LangChain tells

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        name: str | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A graph or one of its nodes begins."""
        with self._lock:
            root, thread = self._root(run_id, parent_run_id), thread_of(metadata or {})
            self._nodes[run_id] = _Node(root, parent_run_id, name, thread)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A graph or one of its nodes is done."""
        self._leave(run_id, outputs)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A graph or one of its nodes failed, or waits for somebody."""
        self._leave(run_id, None)

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        """A tool begins, which may ask models."""
        self.on_chain_start(serialized, None, run_id=run_id, parent_run_id=parent_run_id, name=name)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A tool is done."""
        self._leave(run_id, None)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A tool failed."""
        self._leave(run_id, None)

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A chat model is asked."""
        if self._wanted(metadata):
            said = tuple(message_as_dict(message) for message in messages[0])
            self._enter(run_id, parent_run_id, said, metadata or {}, kwargs)

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A model that completes text is asked."""
        if self._wanted(metadata):
            self._enter(run_id, parent_run_id, (message_of("human", prompts[0], {}),), metadata or {}, kwargs)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """A model has answered."""
        self._answered(run_id, reply_in(response), None)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A model has failed."""
        self._answered(run_id, Reply(), f"{type(error).__name__}: {error}".rstrip(": "))

    # What is done with it

    def _wanted(self, metadata: Mapping[str, Any] | None) -> bool:
        return self._roles is None or (metadata or {}).get("memory_role") in self._roles

    def _root(self, run_id: UUID, parent: UUID | None) -> UUID:
        known = self._nodes.get(parent) if parent else None
        return known.run_id if known else parent or run_id

    def _enter(
        self,
        run_id: UUID,
        parent: UUID | None,
        said: tuple[dict[str, Any], ...],
        metadata: Mapping[str, Any],
        told: Mapping[str, Any],
    ) -> None:
        parameters = told.get("invocation_params") or {}
        with self._lock:
            root, node = self._root(run_id, parent), self._nodes.get(parent) if parent else None
            name, asking = node.name if node else told.get("name"), str(parent) if parent else None
            call = Call(str(run_id), str(root), asking, said, metadata, parameters, name, datetime.now(UTC))
            self._calls[run_id] = call, time.perf_counter(), parent

    def _answered(self, run_id: UUID, reply: Reply, error: str | None) -> None:
        end = time.perf_counter()
        with self._lock:
            if run_id not in self._calls:
                return
            call, start, parent = self._calls.pop(run_id)
            done = Finished(call, reply, round((end - start) * 1000, 3), error)
            node = self._nodes.get(parent) if parent else None
            if node is not None:
                node.calls.append(done)
        if node is None:
            self._writer.write([done], None)
        if parent is None:
            self.last_run = str(run_id)

    def _leave(self, run_id: UUID, outputs: Any) -> None:
        with self._lock:
            node = self._nodes.pop(run_id, None)
            above = self._nodes.get(node.parent) if node is not None and node.parent else None
            if node is not None and above is not None and not settles(outputs):
                # A model that is wrapped, for retries or fallbacks, is asked by a run below its node's.
                above.calls += [done for done in node.calls if done.call.metadata.get("memory_role")]
                node.calls = [done for done in node.calls if not done.call.metadata.get("memory_role")]
        if node is not None and node.calls:
            self._writer.write(node.calls, outputs)
        elif node is not None and (node.name or "").endswith(_REMEMBERS) and isinstance(outputs, Mapping):
            operations = [each for each in outputs.get("memory_ops") or () if each.get("op_id")]
            if operations:
                self._writer.write_applied(node.thread, operations)
        if node is not None and node.run_id == run_id:
            self.last_run = str(run_id)


def _again(path: Path, redact: Redact | None, roles: Collection[str] | None, max_bytes: int) -> TraceRecorder:
    return TraceRecorder(path, redact=redact, roles=roles, max_bytes=max_bytes)


def _flush(recorder: weakref.ref[TraceRecorder]) -> None:
    if (alive := recorder()) is not None:
        alive.close()
