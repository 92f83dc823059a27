"""The `memory-r1` command.

    memory-r1 demo | chat | remember | ask | memories | owners | history | undo | forget | purge
              export | import | reembed | traces | train | eval | mcp | doctor

A command is a function in a file of its own, and loads what it needs when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from langgraph_memory_r1 import __version__
from langgraph_memory_r1.cli.ask import ask
from langgraph_memory_r1.cli.chat import chat
from langgraph_memory_r1.cli.demo import demo
from langgraph_memory_r1.cli.doctor import doctor
from langgraph_memory_r1.cli.eval.commands import eval_app
from langgraph_memory_r1.cli.mcp import mcp
from langgraph_memory_r1.cli.memories import forget, history, memories, owners, purge, reembed, undo
from langgraph_memory_r1.cli.output import console, plain, show_error
from langgraph_memory_r1.cli.remember import remember
from langgraph_memory_r1.cli.traces import traces
from langgraph_memory_r1.cli.train import train
from langgraph_memory_r1.cli.transfer import export, import_
from langgraph_memory_r1.errors import MemoryR1Error

app = typer.Typer(
    name="memory-r1",
    help="Long-term memory that decides what to add, update and delete.\n\nBegin with: memory-r1 demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def print_version(asked: bool) -> None:
    """Print the version and end, where `--version` asks for it."""
    if asked:
        typer.echo(f"langgraph-memory-r1 {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options that stand before a command."""
    from langgraph_memory_r1.cli.library_warnings import show_warnings

    context.with_resource(show_warnings(_debug()))


for command in (
    demo, chat, remember, ask, memories, owners, history, undo, forget, purge, export, import_, reembed, mcp,
    doctor,
):  # fmt: skip
    app.command(command.__name__.rstrip("_"))(command)
for name, group in (("traces", traces), ("train", train), ("eval", eval_app)):
    app.add_typer(group, name=name)


def main() -> None:
    """Run the command that the arguments name; errors are one sentence, and exit 1."""
    os.environ.setdefault("LANCE_LOG", "error")  # the database's own remarks are not for users of a command
    # A file may hold bytes that are no text, and a terminal may not print all that text may hold.
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
    console.cache_clear()
    try:
        app(prog_name="memory-r1")
    except Exception as error:  # the end of the line: whatever happened, a user gets a sentence and an exit code
        if _debug():
            import traceback

            traceback.print_exc()
        sys.stdout.flush()
        if isinstance(error, MemoryR1Error):
            sentence = str(error)
        elif isinstance(error, OSError) and error.strerror:
            where = f"{error.filename}: " if error.filename else ""
            sentence = f"{where}{error.strerror}; check the path, its permissions and the space on its disk."
        else:  # a provider's own: a key that is missing, a server that cannot be reached
            first_line = str(error).strip().partition("\n")[0]
            sentence = f"{type(error).__name__}: {first_line} (--debug shows where it comes from)"
        show_error(plain(sentence))
        sys.exit(1)


def _debug() -> bool:
    return "--debug" in sys.argv
