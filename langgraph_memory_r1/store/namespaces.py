"""Which namespaces a `ListNamespacesOp` means: pure functions over tuples of labels."""

from __future__ import annotations

from collections.abc import Iterable

from langgraph.store.base import ListNamespacesOp, MatchCondition


def select_namespaces(namespaces: Iterable[tuple[str, ...]], op: ListNamespacesOp) -> list[tuple[str, ...]]:
    """Those that meet every condition, cut to `max_depth`, each once, in order, one page of them."""
    found = {namespace for namespace in namespaces if all(_meets(namespace, c) for c in op.match_conditions or ())}
    cut = {namespace[: op.max_depth] for namespace in found} if op.max_depth is not None else found
    return sorted(cut)[op.offset : op.offset + op.limit]


def _meets(namespace: tuple[str, ...], condition: MatchCondition) -> bool:
    path = tuple(condition.path)
    if len(path) > len(namespace):
        return False
    if condition.match_type not in ("prefix", "suffix"):
        raise ValueError(f"Unsupported match type: {condition.match_type!r}. Use 'prefix' or 'suffix'.")
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))
