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
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult

from langgraph_memory_r1.traces.calls import (
    FinishedCall,
    ModelCall,
    ModelReply,
    is_memory_output,
    message_from_langchain,
    reply_from_langchain,
    thread_of,
    trace_message,
)
from langgraph_memory_r1.traces.decision import Applied, Feedback, Message, Thumbs
from langgraph_memory_r1.traces.feedback import add_feedback, append_feedback, new_feedback
from langgraph_memory_r1.traces.folder import FULL
from langgraph_memory_r1.traces.writer import Redact, TraceWriter

_REMEMBERING_NODE = ".after_agent"
"""The end of the name of a middleware's node that remembers; after a review it calls no model any more."""


@dataclass(slots=True)
class _OpenRun:
    """A run that is under way: a graph, one of its nodes, a tool."""

    root: UUID
    """The run of the whole graph or agent."""
    parent: UUID | None
    name: str | None
    thread: str | None = None
    calls: list[FinishedCall] = field(default_factory=list)


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

    run_inline = True  # a callback costs microseconds; what takes longer is done in a thread

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
        self._writer = TraceWriter(self.path, redact, max_bytes)
        self._lock = threading.Lock()
        self._runs: dict[UUID, _OpenRun] = {}
        self._calls: dict[UUID, tuple[ModelCall, float, UUID | None]] = {}
        """Calls under way: when each began, and the run that it is a part of."""
        atexit.register(_close, weakref.ref(self))  # weakly: a recorder that nobody uses any more gives its file back

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process writes to the same folder."""
        redact, roles, max_bytes = self._settings
        return partial(TraceRecorder, redact=redact, roles=roles, max_bytes=max_bytes), (self.path,)

    def __deepcopy__(self, memo: dict[int, Any]) -> TraceRecorder:
        """Return the recorder itself: configs are copied while a run is under way, which this recorder follows."""
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
        """Add what is known about a run, or about one decision, by its id; see `add_feedback`."""
        if not self.has(run_id):
            return add_feedback(self.path, run_id, gold=gold, score=score, thumbs=thumbs, comment=comment)
        feedback = new_feedback(run_id, gold, score, thumbs, comment)
        append_feedback(self.path, feedback)
        return feedback

    def has(self, run_id: str | UUID | None) -> bool:
        """Return whether something of this run was recorded here lately; a run without model calls leaves nothing."""
        return self._writer.has(str(run_id))

    def flush(self) -> None:
        """Wait until all decisions of nodes that are done are on disk."""
        self._writer.wait()

    def close(self) -> None:
        """Write all that was recorded, also of nodes that are still at work; the recorder can be used again."""
        with self._lock:
            unwritten = [run.calls for run in self._runs.values() if run.calls]
            for run in self._runs.values():
                run.calls = []
        for calls in unwritten:
            self._writer.write(calls, None)
        self._writer.close()

    # Callbacks of LangChain

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
            self._runs[run_id] = _OpenRun(root, parent_run_id, name, thread)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A graph or one of its nodes is done."""
        self._end_run(run_id, outputs)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A graph or one of its nodes failed, or was interrupted."""
        self._end_run(run_id, None)

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
        """A tool begins, which may call models."""
        self.on_chain_start(serialized, None, run_id=run_id, parent_run_id=parent_run_id, name=name)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A tool is done."""
        self._end_run(run_id, None)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A tool failed."""
        self._end_run(run_id, None)

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
        """A chat model is called."""
        if self._is_recorded(metadata):
            prompt = tuple(message_from_langchain(message) for message in messages[0])
            self._start_call(run_id, parent_run_id, prompt, metadata or {}, kwargs)

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
        """A model that completes text is called."""
        if self._is_recorded(metadata):
            prompt = (trace_message("human", prompts[0], {}),)
            self._start_call(run_id, parent_run_id, prompt, metadata or {}, kwargs)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """A model has replied."""
        self._end_call(run_id, reply_from_langchain(response), None)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A model has failed."""
        self._end_call(run_id, ModelReply(), f"{type(error).__name__}: {error}".rstrip(": "))

    # Their effects

    def _is_recorded(self, metadata: Mapping[str, Any] | None) -> bool:
        return self._roles is None or (metadata or {}).get("memory_role") in self._roles

    def _root(self, run_id: UUID, parent: UUID | None) -> UUID:
        parent_run = self._runs.get(parent) if parent else None
        return parent_run.root if parent_run else parent or run_id

    def _start_call(
        self,
        run_id: UUID,
        parent: UUID | None,
        messages: tuple[Message, ...],
        metadata: Mapping[str, Any],
        extra: Mapping[str, Any],
    ) -> None:
        with self._lock:
            root, node = self._root(run_id, parent), self._runs.get(parent) if parent else None
            call = ModelCall(
                id=str(run_id),
                run_id=str(root),
                node_run_id=str(parent) if parent else None,
                messages=messages,
                metadata=metadata,
                parameters=extra.get("invocation_params") or {},
                node=node.name if node else extra.get("name"),
                at=datetime.now(UTC),
            )
            self._calls[run_id] = call, time.perf_counter(), parent

    def _end_call(self, run_id: UUID, reply: ModelReply, error: str | None) -> None:
        end = time.perf_counter()
        with self._lock:
            if run_id not in self._calls:  # of a role that is not recorded
                return
            call, start, parent = self._calls.pop(run_id)
            finished = FinishedCall(call, reply, round((end - start) * 1000, 3), error)
            node = self._runs.get(parent) if parent else None
            if node is not None:
                node.calls.append(finished)
        if node is None:
            self._writer.write([finished], None)
        if parent is None:
            self.last_run = str(run_id)

    def _end_run(self, run_id: UUID, outputs: Any) -> None:
        with self._lock:
            run = self._runs.pop(run_id, None)
            above = self._runs.get(run.parent) if run is not None and run.parent else None
            if run is not None and above is not None and not is_memory_output(outputs):
                # A model that is wrapped, for retries or fallbacks, is called by a run below its node's.
                above.calls += [finished for finished in run.calls if finished.role]
                run.calls = [finished for finished in run.calls if not finished.role]
        if run is None:
            return
        if run.calls:
            self._writer.write(run.calls, outputs)
        elif (run.name or "").endswith(_REMEMBERING_NODE) and isinstance(outputs, Mapping):
            operations = tuple(each for each in outputs.get("memory_ops") or () if each.get("op_id"))
            if operations:
                self._writer.write_applied(Applied(run.thread, operations))
        if run.root == run_id:
            self.last_run = str(run_id)


def _close(recorder: weakref.ref[TraceRecorder]) -> None:
    if (alive := recorder()) is not None:
        alive.close()
