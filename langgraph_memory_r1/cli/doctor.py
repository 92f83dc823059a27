"""`memory-r1 doctor`: what is installed, what lies in the folder, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from langgraph_memory_r1.cli.options import DEFAULT_DB, Db, Debug, Json
from langgraph_memory_r1.cli.output import FAINT, as_json, counted, entry, heading, plain, say
from langgraph_memory_r1.cli.store import owners
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
    found: dict[str, dict[str, Any]] = {"software": _software(), "extras": _extras(), "folder": _folder(db)}
    warnings = list(_warnings(found["folder"], db))
    if as_data:
        as_json(found | {"warnings": warnings})
    else:
        _show(found, warnings)
    if "error" in found["folder"]:
        raise typer.Exit(1)


def _software() -> dict[str, str]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _extras() -> dict[str, bool]:
    from importlib.util import find_spec

    return {extra: all(find_spec(module) is not None for module in modules) for extra, modules in EXTRAS.items()}


def _folder(db: str) -> dict[str, Any]:
    """Everything about a place; never makes one."""
    local = "://" not in db
    found: dict[str, Any] = {"db": db, "exists": not local or Path(db).is_dir()}
    if local:
        found |= {"locks": _locks(), "disk": _disk(Path(db))}
    if not found["exists"]:
        return found
    if local:
        found |= _on_disk(Path(db))
    try:
        found |= _bank(db)
    except (MemoryR1Error, OSError) as error:
        found["error"] = str(error)
    return found


def _bank(db: str) -> dict[str, Any]:
    import json

    from langgraph_memory_r1.bank import MemoryBank
    from langgraph_memory_r1.store import LanceDBStore

    with LanceDBStore(db) as store:
        about = store.about()
        if not about:
            return {"format": None, "embedder": None, "owners": 0, "memories": 0, "operations": 0}
        embedder = json.loads(about.get("embedder", "{}"))
        names = owners(store)
        found = {
            "format": about.get("format"),
            "embedder": embedder.get("spec") or embedder.get("model"),
            "owners": len(names),
        }
        if len(names) > _MOST_COUNTED:
            return found
        banks = [MemoryBank(store, name) for name in names]
        sizes = {"memories": sum(map(len, banks)), "largest": max(map(len, banks), default=0)}
        return found | sizes | {"operations": sum(len(bank.history()) for bank in banks)}


def _on_disk(folder: Path) -> dict[str, Any]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        "bytes": sum(path.stat().st_size for path in files),
        "fragments": sum(path.suffix == ".lance" and path.parent.name == "data" for path in files),
        "versions": sum(path.suffix == ".manifest" for path in files),
    }


def _locks() -> bool:
    from importlib.util import find_spec

    return find_spec("fcntl") is not None


def _disk(folder: Path) -> str | None:
    """The kind of file system below a folder, where the system tells it."""
    mounts = Path("/proc/self/mounts")
    if not mounts.is_file():
        return None
    here = folder.resolve()
    kinds = {}
    for line in mounts.read_text(errors="replace").splitlines():
        _, place, kind, *_ = line.split(" ")
        if here.is_relative_to(place.replace("\\040", " ")):
            kinds[len(place)] = kind
    return kinds[max(kinds)] if kinds else None


def _warnings(folder: dict[str, Any], db: str) -> Iterator[str]:
    if not folder["exists"]:
        yield f"There are no memories in {db} yet; begin with: memory-r1 remember TEXT --db {db}"
    if folder.get("locks") is False:
        yield "This system has no file locks; let one process at a time write to the folder."
    if (folder.get("disk") or "").startswith(_NETWORK_DISKS):
        yield f"{db} lies on a network disk ({folder['disk']}), which is untested; use a local one, or an object store."
    if folder.get("fragments", 0) > _MANY_FRAGMENTS:
        yield f"The table is in {folder['fragments']:,} pieces; any command that writes to it tidies up."
    if folder.get("largest", 0) > _MANY_MEMORIES:
        yield f"One owner has more than {_MANY_MEMORIES:,} memories, which are searched on disk; that is slower."
    if "://" in db:
        yield "Object stores have no locks between machines; one writer at a time is recommended."


def _show(found: dict[str, dict[str, Any]], warnings: list[str]) -> None:
    for name, value in found["software"].items():
        entry((name, FAINT), str(value), width=20)
    installed = [extra for extra, there in found["extras"].items() if there]
    entry(("extras", FAINT), ", ".join(installed) or "none", width=20)
    heading(f"{plain(found['folder']['db'])}")
    for name, value in found["folder"].items():
        if name not in ("db", "error"):
            entry((name, FAINT), _told(name, value), width=20)
    if "error" in found["folder"]:
        entry(("error", "bold red"), plain(found["folder"]["error"]), width=20)
    heading(counted(len(warnings), "warning") if warnings else "No warnings.")
    for warning in warnings:
        say("  ", plain(warning))


def _told(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "bytes":
        return f"{value / 1_000_000:,.1f} MB"
    return f"{value:,}" if isinstance(value, int) else str(value)
