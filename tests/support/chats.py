"""Small conversations in LoCoMo's shape, and a server that answers by rules, for the tests of evaluations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from langgraph_memory_r1.models import RulesChatModel
from support.openai_server import Says, completion

LINES = (
    ("Ann", "I adopted a dog called Buddy."),
    ("Bob", "I moved to Lisbon last week."),
    ("Ann", "I started to play the cello."),
    ("Bob", "I work as a baker now."),
    ("Ann", "I adopted another dog, Scout!"),
    ("Bob", "I stopped working as a baker."),
)
NUMBERS = (41, 42, 43, 44, 47, 48, 49, 50)
"""Of the conversations of the split `test`."""
QUESTIONS = (
    ("What is Ann's dog called?", "Buddy", ["D1:1"], 4),
    ("Where did Bob move to?", "Lisbon", ["D1:2"], 4),
    ("Which instrument does Ann play?", "the cello", ["D1:3"], 4),
    ("How many dogs does Ann have?", "2", ["D1:1", "D2:2"], 1),
    ("When did Bob move to Lisbon?", "1 May 2023", ["D1:2"], 2),
    ("Would Ann like a concert?", "Likely yes", [], 3),
)


def chats(count: int) -> list[dict[str, Any]]:
    """So many conversations that differ in a word of every turn."""
    return [_chat(number) for number in range(count)]


def _chat(number: int) -> dict[str, Any]:
    turns = [
        {"speaker": speaker, "dia_id": f"D{1 + index // 3}:{1 + index % 3}", "text": f"{text} Visit {number}."}
        for index, (speaker, text) in enumerate(LINES)
    ]
    return {
        "sample_id": f"conv-{NUMBERS[number]}",
        "conversation": {
            "speaker_a": "Ann",
            "speaker_b": "Bob",
            "session_1_date_time": f"1:00 pm on {8 + number} May, 2023",
            "session_1": turns[:3],
            "session_2_date_time": f"1:00 pm on {8 + number} June, 2023",
            "session_2": turns[3:],
        },
        "qa": [
            {"question": question, "answer": answer, "evidence": evidence, "category": category}
            for question, answer, evidence, category in QUESTIONS
        ],
    }


def data_file(folder: Path, count: int = 2) -> str:
    """A file of such conversations."""
    path = folder / "chats.json"
    path.write_text(json.dumps(chats(count)), "utf-8")
    return str(path)


def by_rules(body: dict[str, Any]) -> Says:
    """What the baseline without a model replies to a request."""
    kinds: dict[str, type[BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    messages = [kinds[each["role"]](each["content"]) for each in body["messages"]]
    return completion(RulesChatModel().invoke(messages).text)
