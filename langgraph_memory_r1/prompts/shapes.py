"""JSON schemas of replies, as far as a role needs them; every field is required, and written in the order given."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

Schema: TypeAlias = dict[str, Any]

NUMBER: Final[Schema] = {"type": "integer", "minimum": 0}
"""The number under which a turn, a fact or a memory is shown."""
TEXT: Final[Schema] = {"type": "string"}
"""Of any length: with a least length, vLLM's grammar allows control characters."""


def record(**fields: Schema) -> Schema:
    """An object with these fields and no other."""
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def list_of(item: Schema) -> Schema:
    """Any number of these."""
    return {"type": "array", "items": item}
