"""What rows consist of, said before anything is trained on them: counts, what was left out and why, and leaks.

rows, removed = deduplicated(rows)
check_splits({"train": rows, "validation": others})
card = card_of({"train": rows, "validation": others}, skipped, removed)
Path("DATA.md").write_text(as_markdown(card))
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import combinations
from statistics import mean, median

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.prompts import PROMPT_VERSION, render
from langgraph_memory_r1.train.rows import ManagerRow, Row

_NAMED = 3


@dataclass(frozen=True, slots=True)
class SplitCard:
    """The rows of one split, counted."""

    rows: Mapping[str, int]
    """By node."""
    episodes: int
    probes: int
    kinds: Mapping[str, int]
    memories: tuple[int, int]
    """Memories in a bank or a prompt: in the median row, and at most."""
    gold_words: float
    """Words of a gold answer, on average."""
    fingerprint: str
    """SHA-256 over the rows; the same rows have the same."""


@dataclass(frozen=True, slots=True)
class DataCard:
    """What rows consist of."""

    splits: Mapping[str, SplitCard]
    skipped: Mapping[str, int] = field(default_factory=dict)
    duplicates: int = 0
    shared_questions: Mapping[str, int] = field(default_factory=dict)
    """Questions with the same answer in two splits, by "one, other"."""
    shared_episodes: int = 0
    """Episodes with rows in two splits: allowed only where the newest rows of a single one were held out."""
    prompt_version: str = PROMPT_VERSION


def deduplicated(rows: Iterable[Row]) -> tuple[list[Row], int]:
    """The rows without those that show and ask the same as an earlier one, and how many were taken out."""
    kept: dict[str, Row] = {}
    count = 0
    for row in rows:
        count += 1
        kept.setdefault(content_key(row), row)
    return list(kept.values()), count - len(kept)


def content_key(row: Row) -> str:
    """The same for rows that show the same and are judged by the same, whatever their ids."""
    shown = str(render(row.given, "compact")[-1].content)
    bank = sorted(memory.text for memory in row.bank) if isinstance(row, ManagerRow) else []
    return json.dumps([row.node, shown, bank, sorted(_questions(row))])


def leaks(splits: Mapping[str, Sequence[Row]], *, by_time: bool = False) -> list[str]:
    """What two splits share and must not, one sentence each: episodes, and rows with the same content.

    Args:
        splits: Rows by the name of their split.
        by_time: The splits are earlier and later rows, so that they may share the one episode that there is.
    """
    found = []
    for (one, first), (other, second) in combinations(splits.items(), 2):
        episodes = _episodes(first) & _episodes(second)
        if episodes and not (by_time and len(_episodes(first) | _episodes(second)) == 1):
            found.append(f"{one} and {other} share {len(episodes)} episode(s): {_some(episodes)}")
        same = {content_key(row): row.id for row in first}
        ids = {same[key] for row in second if (key := content_key(row)) in same}
        if ids:
            found.append(f"{one} and {other} share the content of {len(ids)} row(s): {_some(ids)}")
    return found


def check_splits(splits: Mapping[str, Sequence[Row]], *, by_time: bool = False) -> None:
    """Refuse splits that leak into each other, see `leaks`.

    Raises:
        InputError: They do; the message says what.
    """
    found = leaks(splits, by_time=by_time)
    if found:
        raise InputError(f"The splits leak: {'; '.join(found)}. Split by episode and remove duplicates first.")


def fingerprint(rows: Iterable[Row]) -> str:
    """A hash over the contents of rows, in their order, for manifests and for `the same data?`."""
    digest = sha256()
    for row in rows:
        digest.update(content_key(row).encode(errors="surrogatepass") + b"\n")
    return digest.hexdigest()


def card_of(
    splits: Mapping[str, Sequence[Row]], skipped: Mapping[str, int] | None = None, duplicates: int = 0
) -> DataCard:
    """The card of some splits.

    Args:
        splits: Rows by the name of their split.
        skipped: What gave no rows, by reason.
        duplicates: Rows that were taken out.
    """
    shared, episodes = {}, set[str]()
    for (one, first), (other, second) in combinations(splits.items(), 2):
        episodes |= _episodes(first) & _episodes(second)
        asked = [{pair for row in rows for pair in _questions(row)} for rows in (first, second)]
        shared[f"{one}, {other}"] = len(asked[0] & asked[1])
    left_out = {reason: count for reason, count in sorted((skipped or {}).items()) if count}
    counted = {name: _split(rows) for name, rows in splits.items()}
    return DataCard(counted, left_out, duplicates, shared, len(episodes))


def as_markdown(card: DataCard, title: str = "Training rows") -> str:
    """The card for people."""
    lines = [f"# {title}", "", f"Prompt version {card.prompt_version}.", ""]
    lines += ["| split | rows | episodes | questions | memories, median and most | words of a gold answer |"]
    lines += ["|---|---|---|---|---|---|"]
    for name, split in card.splits.items():
        rows = ", ".join(f"{node} {count:,}" for node, count in split.rows.items()) or "0"
        middle, most = split.memories
        cells = [name, rows, f"{split.episodes:,}", f"{split.probes:,}", f"{middle}, {most}", f"{split.gold_words:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    kinds = {name: split.kinds for name, split in card.splits.items() if split.kinds}
    lines += [""] + [f"Kinds in {name}: {_listed(counted)}." for name, counted in kinds.items()]
    lines += ["", "## Left out", ""]
    lines += [f"- {count:,}: {reason}" for reason, count in card.skipped.items()] or ["Nothing."]
    lines += [f"- {card.duplicates:,}: the same as another row"] if card.duplicates else []
    lines += ["", "## Between the splits", ""]
    lines += [f"- {pair}: {count:,} questions with the same answer" for pair, count in card.shared_questions.items()]
    lines += [_apart(card)]
    lines += ["", "## Fingerprints", ""]
    lines += [f"- {name}: `{split.fingerprint}`" for name, split in card.splits.items()]
    return "\n".join(lines) + "\n"


def _apart(card: DataCard) -> str:
    if len(card.splits) < 2:
        return "There is one split."
    if card.shared_episodes:
        return "- one episode, split by time: the newest rows validate, and the banks of both are alike"
    return "- no episode and no row stands in two of them"


def _split(rows: Sequence[Row]) -> SplitCard:
    sizes = [len(row.bank) if isinstance(row, ManagerRow) else len(row.memories) for row in rows]
    golds = [gold for row in rows for _, gold in _questions(row)]
    return SplitCard(
        rows=Counter(row.node for row in rows),
        episodes=len(_episodes(rows)),
        probes=len(golds),
        kinds=Counter(row.kind for row in rows if row.kind),
        memories=(int(median(sizes)), max(sizes)) if sizes else (0, 0),
        gold_words=mean(len(gold.split()) for gold in golds) if golds else 0.0,
        fingerprint=fingerprint(rows),
    )


def _questions(row: Row) -> list[tuple[str, str]]:
    if isinstance(row, ManagerRow):
        return [(probe.question, probe.gold) for probe in row.probes]
    return [(row.question, row.gold)]


def _episodes(rows: Iterable[Row]) -> set[str]:
    return {row.episode for row in rows if row.episode}


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:_NAMED]) + (", ..." if len(ordered) > _NAMED else "")


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
