"""PersonaWorld: invented people tell, add to, correct, take back and repeat things; questions with gold answers.

    stories = generate("train")                          38 conversations, 152 questions
    stories = generate("test", seed=1, difficulty=Difficulty(sessions=16), conversations=12)

A synthetic benchmark, made here and without data: seeded, and in three splits that share no name, no value and no
frame of a sentence. Each story carries what every turn means, so that the right operations are known (`demonstrate`).

    names ─► phrases ─► story ─► questions ─► stories ─► world (the benchmark of the command line)
"""

from langgraph_memory_r1.evals.personaworld.phrases import EventKind
from langgraph_memory_r1.evals.personaworld.questions import CATEGORIES, UNKNOWN
from langgraph_memory_r1.evals.personaworld.stories import (
    LONG,
    QUESTIONS,
    SPLITS,
    OracleDecision,
    Story,
    demonstrate,
    generate,
)
from langgraph_memory_r1.evals.personaworld.story import Difficulty, Event, memory_text

__all__ = [
    "CATEGORIES", "LONG", "QUESTIONS", "SPLITS", "UNKNOWN",
    "OracleDecision", "Difficulty", "Event", "EventKind", "Story",
    "demonstrate", "generate", "memory_text",
]  # fmt: skip
