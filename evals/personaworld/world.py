"""PersonaWorld as one of the benchmarks: `memory-r1 eval personaworld --split test`, made on the spot.

benchmark("personaworld").load(None, "test")
PersonaWorld(seed=1, conversations=12, difficulty=Difficulty(sessions=16)).load(None)
PersonaWorld.of(["seed=1", "conversations=12", "sessions=16"])
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any, ClassVar, Final

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.benchmark import Benchmark, Dataset, Licence, Skipped, Source
from langgraph_memory_r1.evals.personaworld import CATEGORIES, LONG, QUESTIONS, SPLITS, UNKNOWN, Difficulty, generate
from langgraph_memory_r1.schemas import Conversation, Question

__all__ = ["PersonaWorld"]

_OWN: Final = {"seed": 0, "conversations": None, "questions": QUESTIONS}
_KNOBS: Final = {item.name: item.default for item in fields(Difficulty)}


class PersonaWorld(Benchmark):
    """Conversations of invented people; nothing is downloaded.

    Args:
        seed: Other stories for another seed.
        conversations: How many; None is the split's own number.
        questions: How many about each conversation.
        difficulty: How hard they are.
    """

    name: ClassVar = "personaworld"
    title: ClassVar = "PersonaWorld"
    licence: ClassVar = Licence(
        "Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0", "Invented by this library, on the spot."
    )
    splits: ClassVar = (*reversed(SPLITS), *LONG)
    default_split: ClassVar = "test"
    categories: ClassVar = CATEGORIES
    metric: ClassVar = "em"
    judge: ClassVar = "strict"

    def __init__(
        self,
        *,
        seed: int = 0,
        conversations: int | None = None,
        questions: int = QUESTIONS,
        difficulty: Difficulty | None = None,
    ) -> None:
        self._own: dict[str, Any] = {"seed": seed, "conversations": conversations, "questions": questions}
        self._difficulty = difficulty

    @classmethod
    def of(cls, changes: Sequence[str]) -> PersonaWorld:
        """The world that `key=value` pairs describe: arguments of this class, or fields of `Difficulty`.

        Raises:
            InputError: A key is unknown, or a value is no number that can be meant; the message names it.
        """
        given: dict[str, Any] = dict(_change(change) for change in changes)
        own = {key: value for key, value in given.items() if key in _OWN}
        knobs = {key: value for key, value in given.items() if key in _KNOBS}
        return cls(**own, difficulty=Difficulty(**knobs) if knobs else None)

    def load(
        self,
        path: str | os.PathLike[str] | None,
        split: str | None = None,
        *,
        on_skip: Callable[[str], None] | None = None,
        allow_modified: bool = False,
    ) -> Dataset:
        """One split, made anew.

        Raises:
            InputError: A file was named, there is no such split, or it says itself how hard it is.
        """
        if path is not None:
            raise self._without_file()
        chosen = self._split(split, None, None)
        told = tuple(story.conversation for story in generate(chosen, difficulty=self._difficulty, **self._own))
        content = json.dumps([asdict(each) for each in told], default=str).encode()
        return Dataset(
            self.name, chosen, hashlib.sha256(content).hexdigest(), modified=False, conversations=told,
            notes=self.notes(None),
        )  # fmt: skip

    def source(self, split: str | None = None) -> Source:
        """There is none.

        Raises:
            InputError: Always.
        """
        raise self._without_file()

    def unanswerable(self, question: Question) -> bool:
        """Whether what is asked about was taken back."""
        return question.gold == UNKNOWN

    def parse(self, content: bytes, place: str, skipped: Skipped) -> Iterable[Conversation]:
        """There is no file to read.

        Raises:
            InputError: Always.
        """
        raise self._without_file()

    def notes(self, source: Source | None) -> tuple[str, ...]:
        """What is not as it is by default."""
        told = ", ".join(f"{key}={value}" for key, value in self._changed().items())
        return (f"the world is not the default one: {told}",) if told else ()

    def _changed(self) -> dict[str, Any]:
        knobs = asdict(self._difficulty) if self._difficulty else {}
        return {key: value for key, value in (self._own | knobs).items() if value != (_OWN | _KNOBS)[key]}

    def _without_file(self) -> InputError:
        return InputError(f"{self.name} is made on the spot and has no data file; leave --data and --download out.")


def _change(change: str) -> tuple[str, float | int]:
    key, _, value = change.partition("=")
    known = _OWN | _KNOBS
    if key not in known:
        close = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}."
        raise InputError(f"PersonaWorld has no {key!r} to set; {hint}")
    share = isinstance(known[key], float)
    try:
        number = float(value) if share else int(value)
    except ValueError as error:
        what = "a share from 0 to 1" if share else "a whole number"
        raise InputError(f"{key} is {what}, not {value!r}; write {key}={known[key] or 1}") from error
    if key in _OWN and number < (least := int(key != "seed")):
        raise InputError(f"{key}={number} is out of range; give {least} to any number.")
    return key, number
