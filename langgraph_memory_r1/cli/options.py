"""The options that commands share."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated, TypeAlias

import typer

DEFAULT_DB = "./memory"


class Format(StrEnum):
    """What a file of conversations or questions holds."""

    auto = "auto"
    text = "text"
    jsonl = "jsonl"
    locomo = "locomo"


def expand_user(db: str | None) -> str | None:
    """Return a folder or URI with its "~" resolved; refuse a blank one."""
    if db is not None and not db.strip():
        raise typer.BadParameter("it is blank; name a folder, or leave it out")
    return db and os.path.expanduser(db)


Db: TypeAlias = Annotated[
    str,
    typer.Option(
        "--db",
        envvar="MEMORY_R1_DB",
        metavar="DIR",
        callback=expand_user,
        help="Folder or URI where the memories are kept.",
    ),
]
User: TypeAlias = Annotated[
    str | None, typer.Option("--user", metavar="NAME", help='Whose memories; any characters. [default: "default"]')
]
Model: TypeAlias = Annotated[
    str,
    typer.Option(
        "--model",
        envvar="MEMORY_R1_MODEL",
        metavar="SPEC",
        help='Who decides and answers: "rules" (the no-model baseline), provider:model, vllm:NAME@URL or hf:NAME.',
    ),
]
Embedder: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--embedder",
        envvar="MEMORY_R1_EMBEDDER",
        metavar="SPEC",
        help="Adds search by meaning: none, hash, minilm or provider:model; keep to one per folder.",
    ),
]
RecordingFolder: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--traces",
        envvar="MEMORY_R1_TRACES",
        metavar="DIR",
        callback=expand_user,
        help="Record every decision there, for `memory-r1 traces` and for training.",
    ),
]
Retry: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--retry", help="Try turns again of which no model's reply could be read, also after the next three runs."
    ),
]
Trained: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--trained",
        metavar="RUN",
        callback=expand_user,
        help="Output folder of `memory-r1 train`: its base and adapters decide and answer. --model says where the "
        "base is, if not where it was trained: hf:NAME, or vllm:NAME@URL with the adapters `manage` and `answer`.",
    ),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Debug: TypeAlias = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Conversations: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--conversation", metavar="ID", help="Only this conversation; repeatable."),
]
FileFormat: TypeAlias = Annotated[
    Format, typer.Option("--format", help="What the file holds; auto looks at how it begins.")
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
