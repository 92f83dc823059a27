"""`memory-r1 demo`: the bundled conversation, on the screen or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langgraph_memory_r1.cli.options import Debug, Json, Model, expand_user
from langgraph_memory_r1.cli.output import BASELINE, FAINT, entry, heading, plain, print_json, say
from langgraph_memory_r1.cli.views import day, memory_as_json, show_answer, show_change, show_memories
from langgraph_memory_r1.errors import InputError

if TYPE_CHECKING:
    from langgraph_memory_r1.demo import Scene

_USER = "demo"


def demo(
    db: Annotated[
        str | None,
        typer.Option(
            "--db", metavar="DIR", callback=expand_user, help="Keep the memories here. [default: a temporary folder]"
        ),
    ] = None,
    model: Model = "rules",
    as_data: Json = False,
    debug: Debug = False,
) -> None:
    """Watch a conversation become memories, offline.

    Takes seconds, needs no key, and leaves nothing behind unless --db says where.
    """
    from tempfile import TemporaryDirectory

    from langgraph_memory_r1.bank import MemoryBank
    from langgraph_memory_r1.demo import play
    from langgraph_memory_r1.store import LanceDBStore

    folder_context = nullcontext(db) if db is not None else TemporaryDirectory(prefix="memory-r1-demo-")
    with folder_context as folder, LanceDBStore(folder) as store:
        bank = MemoryBank(store, _USER)
        if bank.history():
            raise InputError(
                f"{folder} already holds memories of {_USER!r}; give a new folder, or first: "
                f"memory-r1 forget --user {_USER} --db {folder}"
            )
        scenes = play(bank, model)
        if as_data:
            print_json({"model": model, "db": db, "scenes": [_scene_as_json(scene) for scene in scenes]})
            return
        _show_scenes(scenes, model)
        say()
        if model == "rules":
            say((f'"rules" is {BASELINE}: it reads English by word lists. A language model decides better:', FAINT))
            say(("  memory-r1 demo --model provider:model", FAINT))
        if db is None:
            say(("  memory-r1 demo --db ./demo-memory    keeps the bank, to look around in it", FAINT))
        else:
            say((f"  memory-r1 history --db {db}", FAINT))


def _show_scenes(scenes: Iterator[Scene], model: str) -> None:
    """Print the scenes as they happen, with a title where a session, the bank, or the questions begin."""
    from langgraph_memory_r1.demo import AnswerScene, BankScene, TurnScene, UndoScene
    from langgraph_memory_r1.state import change_record

    decided = f"{model}, {BASELINE}" if model == "rules" else model
    say(("A conversation becomes memories", "bold"), f"  (decided by: {decided})")
    session: str | None = None
    asked = False
    for scene in scenes:
        if isinstance(scene, TurnScene):
            if scene.turn.session != session:
                session = scene.turn.session
                heading(f"Session {(session or '').removeprefix('s')}, {day(scene.turn.at)}")
            say((f"{scene.turn.speaker}: ", "bold"), scene.turn.text)
            for change in scene.operations:
                show_change(change)
        elif isinstance(scene, BankScene):
            heading(f"The bank holds {len(scene.memories)} memories")
            show_memories(memory_as_json(memory) for memory in scene.memories)
        elif isinstance(scene, AnswerScene):
            if asked:
                say()
            else:
                heading("Questions, answered from the bank")
            asked = True
            say(("? ", "cyan"), scene.question.text)
            show_answer(scene.text, scene.selected, scene.retrieved, model)
        elif isinstance(scene, UndoScene):
            heading("One operation is undone")
            show_change(change_record(scene.operation))
            entry(("undo", "bold"), f"{plain(scene.operation.id)} is taken back")


def _scene_as_json(scene: Scene) -> dict[str, Any]:
    """Return a scene for scripts."""
    from langgraph_memory_r1.demo import AnswerScene, BankScene, TurnScene
    from langgraph_memory_r1.state import change_record, turn_as_dict

    if isinstance(scene, TurnScene):
        return {"scene": "turn", "turn": turn_as_dict(scene.turn), "operations": list(scene.operations)}
    if isinstance(scene, BankScene):
        return {"scene": "bank", "memories": [memory_as_json(memory) for memory in scene.memories]}
    if isinstance(scene, AnswerScene):
        return {
            "scene": "question",
            "question": scene.question.text,
            "answer": scene.text,
            "selected": list(scene.selected),
            "looked_at": scene.retrieved,
        }
    return {"scene": "undo", "operation": change_record(scene.operation), "change": change_record(scene.change)}
