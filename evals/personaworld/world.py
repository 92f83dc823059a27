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

_ARGUMENTS: Final = {"seed": 0, "conversations": None, "questions": QUESTIONS}
_DIFFICULTY: Final = {item.name: item.default for item in fields(Difficulty)}


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
        self._arguments: dict[str, Any] = {"seed": seed, "conversations": conversations, "questions": questions}
        self._difficulty = difficulty

    @classmethod
    def of(cls, changes: Sequence[str]) -> PersonaWorld:
        """Return the world that `key=value` pairs describe: arguments of this class, or fields of `Difficulty`.

        Raises:
            InputError: A key is unknown, or a value is no number that can be meant; the message names it.
        """
        settings: dict[str, Any] = dict(map(_read_setting, changes))
        arguments = {key: value for key, value in settings.items() if key in _ARGUMENTS}
        difficulty = {key: value for key, value in settings.items() if key in _DIFFICULTY}
        return cls(**arguments, difficulty=Difficulty(**difficulty) if difficulty else None)

    def load(
        self,
        path: str | os.PathLike[str] | None,
        split: str | None = None,
        *,
        on_skip: Callable[[str], None] | None = None,
        allow_modified: bool = False,
    ) -> Dataset:
        """Make one split.

        Raises:
            InputError: A file was named, there is no such split, or it says itself how hard it is.
        """
        if path is not None:
            raise self._without_file()
        chosen = self._split(split, None, None)
        conversations = tuple(
            story.conversation for story in generate(chosen, difficulty=self._difficulty, **self._arguments)
        )
        content = json.dumps([asdict(each) for each in conversations], default=str).encode()
        return Dataset(
            self.name, chosen, hashlib.sha256(content).hexdigest(), modified=False, conversations=conversations,
            notes=self.notes(None),
        )  # fmt: skip

    def source(self, split: str | None = None) -> Source:
        """Refuse, as there is no file.

        Raises:
            InputError: Always.
        """
        raise self._without_file()

    def unanswerable(self, question: Question) -> bool:
        """Return whether what is asked about was taken back."""
        return question.gold == UNKNOWN

    def parse(self, content: bytes, location: str, skipped: Skipped) -> Iterable[Conversation]:
        """Refuse, as there is no file to read.

        Raises:
            InputError: Always.
        """
        raise self._without_file()

    def notes(self, source: Source | None) -> tuple[str, ...]:
        """Name what is not as it is by default."""
        settings = self._arguments | (asdict(self._difficulty) if self._difficulty else {})
        defaults = _ARGUMENTS | _DIFFICULTY
        changed = ", ".join(f"{key}={value}" for key, value in settings.items() if value != defaults[key])
        return (f"the world is not the default one: {changed}",) if changed else ()

    def _without_file(self) -> InputError:
        return InputError(f"{self.name} is made on the spot and has no data file; leave --data and --download out.")


def _read_setting(change: str) -> tuple[str, float | int]:
    """Return the key and the number of `key=value`.

    Raises:
        InputError: The key is unknown, or the value is no number that can be meant.
    """
    key, _, value = change.partition("=")
    defaults = _ARGUMENTS | _DIFFICULTY
    if key not in defaults:
        close = difflib.get_close_matches(key, defaults, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(defaults)}."
        raise InputError(f"PersonaWorld has no {key!r} to set; {hint}")
    share = isinstance(defaults[key], float)
    try:
        number = float(value) if share else int(value)
    except ValueError as error:
        what = "a share from 0 to 1" if share else "a whole number"
        raise InputError(f"{key} is {what}, not {value!r}; write {key}={defaults[key] or 1}") from error
    if key in _ARGUMENTS and number < (least := int(key != "seed")):  # Difficulty checks the range of its own fields
        raise InputError(f"{key}={number} is out of range; give {least} to any number.")
    return key, number
