"""`memory-r1 doctor`: what is installed, what lies in the folder, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from langgraph_memory_r1.cli.options import DEFAULT_DB, Db, Debug, Json
from langgraph_memory_r1.cli.output import FAINT, counted, entry, heading, plain, print_json, say
from langgraph_memory_r1.cli.store import list_owners
from langgraph_memory_r1.errors import MemoryR1Error

PACKAGES = ("langgraph-memory-r1", "langgraph", "langchain", "langchain-core", "lancedb", "pyarrow", "numpy", "typer")
EXTRAS = {
    "local": ("peft", "sentence_transformers", "torch", "transformers"),
    "train": ("accelerate", "datasets", "peft", "trl"),
    "evals": ("huggingface_hub",),
    "chats": ("langchain_community",),
    "mcp": ("mcp",),
}
_MOST_COUNTED = 200
"""Of more owners than this the memories are not counted: it would take long."""
_MANY_FRAGMENTS = 200
_MANY_MEMORIES = 20_000
_NETWORK_DISKS = ("nfs", "cifs", "smb", "9p", "fuse.sshfs")


def doctor(db: Db = DEFAULT_DB, as_data: Json = False, debug: Debug = False) -> None:
    """Check the installation and the folder.

    Says what is installed, what lies in the folder, and what to do about it.
    """
    import platform
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    versions = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    extras = {extra: all(map(find_spec, modules)) for extra, modules in EXTRAS.items()}
    folder = _folder(db)
    warnings = list(_warnings(folder, db))
    if as_data:
        print_json({"software": versions, "extras": extras, "folder": folder, "warnings": warnings})
    else:
        for name, text in versions.items():
            entry((name, FAINT), text, width=20)
        entry(("extras", FAINT), ", ".join(extra for extra in extras if extras[extra]) or "none", width=20)
        heading(plain(db))
        for name, value in folder.items():
            text = str(value)
            if value is None:
                text = "none"
            elif isinstance(value, bool):
                text = "yes" if value else "no"
            elif name == "bytes":
                text = f"{value / 1_000_000:,.1f} MB"
            elif isinstance(value, int):
                text = f"{value:,}"
            if name not in ("db", "error"):
                entry((name, FAINT), text, width=20)
        if "error" in folder:
            entry(("error", "bold red"), plain(folder["error"]), width=20)
        heading(counted(len(warnings), "warning") if warnings else "No warnings.")
        for warning in warnings:
            say("  ", plain(warning))
    if "error" in folder:
        raise typer.Exit(1)


def _folder(db: str) -> dict[str, Any]:
    """Return everything about a folder or URI, which is never made."""
    import json
    from importlib.util import find_spec

    from langgraph_memory_r1.bank import MemoryBank
    from langgraph_memory_r1.store import LanceDBStore

    local = "://" not in db
    facts: dict[str, Any] = {"db": db, "exists": not local or Path(db).is_dir()}
    if local:
        facts |= {"locks": find_spec("fcntl") is not None, "disk": _file_system(Path(db))}
    if not facts["exists"]:
        return facts
    if local:
        files = [path for path in Path(db).rglob("*") if path.is_file()]
        facts["bytes"] = sum(path.stat().st_size for path in files)
        facts["fragments"] = sum(path.suffix == ".lance" and path.parent.name == "data" for path in files)
        facts["versions"] = sum(path.suffix == ".manifest" for path in files)
    try:
        with LanceDBStore(db) as store:
            about = store.about()
            embedder, owners = json.loads(about.get("embedder", "{}")), list_owners(store)
            facts["format"] = about.get("format")
            facts["embedder"] = embedder.get("spec") or embedder.get("model")
            facts["owners"] = len(owners)
            if len(owners) <= _MOST_COUNTED:
                banks = [MemoryBank(store, owner) for owner in owners]
                facts["memories"], facts["largest"] = sum(map(len, banks)), max(map(len, banks), default=0)
                facts["operations"] = sum(len(bank.history()) for bank in banks)
                facts["unread"] = sum(len(bank.unread()) for bank in banks)
    except (MemoryR1Error, OSError) as error:
        facts["error"] = str(error)
    return facts


def _file_system(folder: Path) -> str | None:
    """Return the kind of file system below a folder, where the system says it."""
    mounts = Path("/proc/self/mounts")
    if not mounts.is_file():
        return None
    path = folder.resolve()
    kinds = {}
    for line in mounts.read_text(errors="replace").splitlines():
        _, mount, kind, *_ = line.split(" ")
        if path.is_relative_to(mount.replace("\\040", " ")):  # how the kernel writes a blank
            kinds[len(mount)] = kind
    return kinds[max(kinds)] if kinds else None  # of the longest mount point: the others are above it


def _warnings(folder: dict[str, Any], db: str) -> Iterator[str]:
    """Yield what could go wrong with a folder, each with what to do about it."""
    if not folder["exists"]:
        yield f"There are no memories in {db} yet; begin with: memory-r1 remember TEXT --db {db}"
    if folder.get("locks") is False:
        yield "This system has no file locks; let one process at a time write to the folder."
    if (folder.get("disk") or "").startswith(_NETWORK_DISKS):
        yield f"{db} lies on a network disk ({folder['disk']}), which is untested; use a local one, or an object store."
    if folder.get("fragments", 0) > _MANY_FRAGMENTS:
        yield f"The table is in {folder['fragments']:,} pieces; any command that writes to it tidies up."
    if folder.get("unread"):
        yield (
            f"Of {counted(folder['unread'], 'turn')} no model's reply could be read; give them again: "
            f"memory-r1 remember FILE --retry --db {db}"
        )
    if folder.get("largest", 0) > _MANY_MEMORIES:
        yield f"One owner has more than {_MANY_MEMORIES:,} memories, which are searched on disk; that is slower."
    if "://" in db:
        yield "Object stores have no locks between machines; one writer at a time is recommended."
