"""What an assistant quotes from memory is taken out; what it says itself stays."""

from __future__ import annotations

import pytest

from langgraph_memory_r1.quotes import without_quotes

DOG, BOTH = "Ana has a dog, Buddy.", "Ana has a dog, Buddy. Ana adopted another dog, Scout."


@pytest.mark.parametrize(
    ("said", "memories", "kept"),
    [
        ("Shall we go for a walk?", [DOG], "Shall we go for a walk?"),
        (DOG, [DOG], ""),
        (f"From my notes: {DOG} Shall we go?", [DOG], "Shall we go?"),
        ("I know: ANA HAS A DOG, BUDDY!\nNice.", [DOG], "Nice."),
        (f"- {DOG}\n- Ana likes tea a lot.\nAnything else?", [DOG, "Ana likes tea a lot"], "Anything else?"),
        (f"{BOTH} So two.", [DOG, BOTH], "So two."),
        ("Ana has a dog, Buddy, and next week a beagle called Rex moves in too.", [DOG],
         ", and next week a beagle called Rex moves in too."),
        ("Tea is good.", ["Tea"], "Tea is good."),
        ("Ana has a dog.", [DOG], "Ana has a dog."),
        ("Anything (.*)?", ["Anything (.*)? or [a-z]"], "Anything (.*)?"),
        ("", [DOG], ""),
    ],
)  # fmt: skip
def test_quotes_are_taken_out(said: str, memories: list[str], kept: str) -> None:
    assert without_quotes(said, memories) == kept
