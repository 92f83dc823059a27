"""What an adapter was trained for, kept beside its weights in `manifest.json` and checked before it is used.

    write_manifest("runs/manager-7", Manifest(base="Qwen/Qwen3-4B", role="manage", data=..., rank=16, score=0.81))
    check_adapter("runs/manager-7", base="Qwen/Qwen3-4B", role="manage")

An adapter on another base, under another prompt or in another role does not fail: it answers, and worse than no
adapter at all. So it is refused, with the way out.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.jsonl import write_file
from langgraph_memory_r1.prompts import PROMPT_VERSION, Role

FILE: Final = "manifest.json"
_PEFT_FILE: Final = "adapter_config.json"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Manifest:
    """What an adapter was trained for, from what, and how well that went."""

    base: str
    """The model below it: a name, or a folder."""
    role: Role
    data: str
    """A hash of the training data."""
    rank: int = Field(ge=1)
    """Of its LoRA matrices."""
    score: float | None = None
    """On held-out data; None where nothing was measured."""
    prompt_version: str = PROMPT_VERSION


_MANIFEST = TypeAdapter(Manifest)


def write_manifest(folder: str | Path, manifest: Manifest) -> Path:
    """Write the manifest into an adapter's folder, whole or not at all, and return its path."""
    path = Path(folder) / FILE
    write_file(path, [json.dumps(asdict(manifest), indent=2, ensure_ascii=False).encode(), b"\n"])
    return path


def read_manifest(folder: str | Path) -> Manifest:
    """Read the manifest in an adapter's folder.

    Raises:
        InputError: There is none, or it cannot be read.
    """
    path = Path(folder) / FILE
    try:
        return _MANIFEST.validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"The adapter {str(folder)!r} has no {FILE} that says what it is for; give a trained adapter's folder, "
            "or write the file with langgraph_memory_r1.models.write_manifest."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{str(path)!r} is no manifest of an adapter: {field}: {first['msg']}.") from error


def check_adapter(
    folder: str | Path, *, base: str | None = None, role: Role | None = None, on_server: bool = False
) -> Manifest:
    """Check that an adapter fits what it is going to be used for, and return its manifest.

    Args:
        folder: The adapter.
        base: The model that it is going to sit on; None where that cannot be known.
        role: The role that it is going to play; None accepts any.
        on_server: The base is a server's, so that its folder may lie on another machine: then the folder's name counts.

    Raises:
        InputError: It was trained for another base, prompt version or role, or its weights have another rank than it
            says; the message is the way out.
    """
    manifest = read_manifest(folder)

    def refusal(problem: str, fix: str) -> InputError:
        return InputError(f"The adapter {str(folder)!r} {problem}; {fix}.")

    if base is not None and not _same_base(manifest.base, base, on_server=on_server):
        fix = f"start a server of {manifest.base!r} with it" if on_server else f"load it with hf:{manifest.base}"
        raise refusal(f"sits on {manifest.base!r}, not on {base!r}", fix)
    if manifest.prompt_version != PROMPT_VERSION:
        versions = f"prompt version {manifest.prompt_version}, this library speaks {PROMPT_VERSION}"
        raise refusal(f"was trained with {versions}", "train it again, or install the version that it was trained with")
    if role is not None and manifest.role != role:
        raise refusal(f"plays the role {manifest.role!r}, not {role!r}", f"give an adapter for {role!r}")
    rank = _peft_rank(Path(folder))
    if rank is not None and rank != manifest.rank:
        raise refusal(
            f"has rank {rank}, its manifest says {manifest.rank}",
            "put the manifest and the weights of one run together",
        )
    return manifest


def _same_base(trained: str, base: str, *, on_server: bool) -> bool:
    """Return whether two names or folders are one model.

    They are if they are equal, one folder, or a name and a folder that was downloaded from it.
    """
    if trained == base:
        return True
    here, there = Path(trained).expanduser(), Path(base).expanduser()
    if here.is_dir() and there.is_dir():
        return here.samefile(there)
    if here.name != there.name:
        return False
    if on_server and Path(base).is_absolute() and not there.is_dir():
        return True  # a folder on the server's machine, of which only the name can be compared
    name = there if here.is_dir() else here
    return here.is_dir() != there.is_dir() and not name.is_absolute()


def _peft_rank(folder: Path) -> int | None:
    """Return the rank that the weights really have, where their configuration lies beside the manifest."""
    path = folder / _PEFT_FILE
    if not path.is_file():
        return None
    try:
        rank = json.loads(path.read_bytes()).get("r")
    except (ValueError, AttributeError) as error:
        raise InputError(f"{str(path)!r} cannot be read; save the adapter again.") from error
    return rank if isinstance(rank, int) else None
