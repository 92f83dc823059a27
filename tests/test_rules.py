from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from langgraph_memory_r1.evals.locomo import load
from langgraph_memory_r1.rules import answer, decide, extract_facts
from langgraph_memory_r1.rules.sentences import asks
from langgraph_memory_r1.schemas import Add, Conversation, Delete, Fact, Memory, Noop, Operation, Turn, Update
from langgraph_memory_r1.tokenizer import terms

AT = datetime(2023, 5, 8, 13, 56, tzinfo=UTC)
LOCOMO = Path(__file__).parent.parent.parent / "shared/data/locomo/locomo10.json"


def facts_of(*texts: str, speaker: str = "Ann") -> list[str]:
    return [fact.text for fact in extract_facts([Turn(speaker, text, AT) for text in texts])]


def talk(*said: str | tuple[str, str]) -> tuple[list[str], list[Memory]]:
    """What happens when each text is said on a day of its own: the events of the last, and the memories."""
    memories: dict[str, Memory] = {}
    events: list[str] = []
    for number, item in enumerate(said):
        speaker, text = item if isinstance(item, tuple) else ("Ann", item)
        turn = Turn(speaker, text, AT + timedelta(days=number), f"t{number}", f"s{number}")
        operations = decide(extract_facts([turn]), list(memories.values()))
        events = [operation.event for operation in operations]
        for operation in operations:
            _apply(operation, memories)
    return events, list(memories.values())


def _apply(operation: Operation, memories: dict[str, Memory]) -> None:
    if isinstance(operation, Add):
        name = f"m{len(memories)}"
        memories[name] = Memory(
            name, operation.text, operation.speaker, operation.at, operation.source, operation.session
        )
    elif isinstance(operation, Update):
        old = memories[operation.id]
        memories[operation.id] = Memory(
            old.id, operation.text, old.speaker, operation.at or old.at, session=old.session
        )
    elif isinstance(operation, Delete):
        del memories[operation.id]


# --- facts


@pytest.mark.parametrize(
    ("said", "fact"),
    [
        ("I adopted a dog, Buddy.", "Ann adopted a dog, Buddy."),
        ("I live in Boston.", "Ann lives in Boston."),
        ("I'm vegan and I've two kids.", "Ann is vegan and Ann has two kids."),
        ("My sister plays chess with me.", "Ann's sister plays chess with Ann."),
        ("I took my kids to the zoo.", "Ann took their kids to the zoo."),
        ("Bob and I carry pianos.", "Bob and Ann carry pianos."),
        ("We moved to Rome.", "Ann: We moved to Rome."),
        ("I ran a race last Saturday.", "Ann ran a race last Saturday (6 May 2023)."),
        ("I no longer eat meat.", "Ann no longer eats meat."),
    ],
)
def test_a_fact_stands_alone(said: str, fact: str):
    assert facts_of(said) == [fact]


@pytest.mark.parametrize(
    "said",
    [
        "Hi, how are you?", "Good morning!", "Thanks a lot!", "Ok.", "Sounds good!", "Yes, exactly.",
        "See you tomorrow!",
        "Wow, that's amazing!", "How was your day?", "I'm fine, thanks. And you?", "Sure, why not?", "", "\x00 \n",
    ],
)  # fmt: skip
def test_small_talk_leaves_nothing(said: str):
    assert facts_of(said) == []


def test_facts_of_both_speakers_keep_their_turn():
    turns = [Turn("Ann", "I sing. Do you?", AT, "D1:1", "s1"), Turn("Bob", "I bought a piano, yes.", AT, "D1:2", "s1")]
    assert extract_facts(turns) == [
        Fact("Ann sings.", "Ann", AT, ("D1:1",), "s1"),
        Fact("Bob bought a piano, yes.", "Bob", AT, ("D1:2",), "s1"),
    ]


def test_a_sentence_that_leans_joins_the_one_before():
    assert facts_of("I adopted another dog. Her name is Scout.") == ["Ann adopted another dog. Her name is Scout."]


def test_a_short_answer_joins_its_question():
    turns = [Turn("Ann", "Nice! How long have you been married?", AT), Turn("Bob", "5 years already!", AT)]
    assert [fact.text for fact in extract_facts(turns)] == [
        'Bob, asked "How long have you been married?": 5 years already!'
    ]


def test_a_photo_is_a_fact():
    assert facts_of("Look! [shares a photo: a photo of a dog on a beach]") == ["Ann shared a photo: a dog on a beach."]


def test_text_that_is_hardly_text_is_read_in_bounded_time():
    start = time.perf_counter()
    for text in ("a" * 200_000, "so, " * 50_000, "( " * 100_000, "n't " * 50_000, "I have a cat. " * 10_000):
        facts = extract_facts([Turn("Ann", text, AT)])
        assert all(len(fact.text) < 1_100 for fact in facts)
        decide(facts[:1_000], [])
    assert facts_of("\ud800\x00 I have a\x07 dog") == ["Ann has a dog"]
    assert time.perf_counter() - start < 20


# --- operations


@pytest.mark.parametrize(
    ("first", "then", "kept"),
    [
        ("I adopted a dog, Buddy.", "I adopted another dog, her name is Scout.", ("Buddy", "Scout")),
        ("I adopted a dog, Buddy.", "I also adopted Scout.", ("Buddy", "Scout")),
        ("I have a cat named Milo.", "We got a second cat, Nala.", ("Milo", "Nala")),
        ("I play the violin.", "I also play the cello.", ("violin", "cello")),
        ("I speak French.", "I speak Portuguese too.", ("French", "Portuguese")),
        ("I love hiking.", "I love kayaking as well.", ("hiking", "kayaking")),
        ("My daughter Mia is five.", "We have another daughter, Zoe.", ("Mia", "Zoe")),
        ("I'm allergic to peanuts.", "I'm also allergic to shellfish.", ("peanuts", "shellfish")),
    ],
)
def test_an_addition_updates_and_keeps_both(first: str, then: str, kept: tuple[str, str]):
    events, (memory,) = talk(first, then)
    assert events == ["UPDATE"]
    assert all(word in memory.text for word in kept)


@pytest.mark.parametrize(
    ("first", "then", "new", "old"),
    [
        ("I live in Boston.", "I moved to Denver last month.", "Denver", "Boston"),
        ("i live in paris", "i just moved to rome", "rome", "paris"),
        ("I live in Berlin with my wife.", "We moved to Munich last week.", "Munich", "Berlin"),
        ("My sister lives in Madrid.", "My sister moved to Lisbon.", "Lisbon", "Madrid"),
        ("I work as a nurse.", "I started a new job as a teacher.", "teacher", "nurse"),
        ("My favourite food is pizza.", "Actually my favourite food is sushi.", "sushi", "pizza"),
        ("My flight is on Monday.", "My flight has been moved to Tuesday.", "Tuesday", "Monday"),
        ("I'm 29 years old.", "I turned 30 yesterday.", "30", "29"),
        ("I play the piano.", "I switched from piano to violin.", "violin", "plays"),
    ],
)
def test_a_correction_supersedes(first: str, then: str, new: str, old: str):
    events, (memory,) = talk(first, then)
    assert events == ["UPDATE"]
    assert new in memory.text and old not in memory.text


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("I play the guitar.", "I stopped playing the guitar."),
        ("I play the guitar.", "Please forget about the guitar."),
        ("I play the drums.", "I don't play the drums any more."),
        ("I have a motorbike.", "I sold my motorbike."),
        ("I go to the gym every Monday.", "I no longer go to the gym."),
        ("I'm planning a trip to Rome.", "I cancelled the trip to Rome."),
        ("I smoke.", "I quit smoking."),
        ("I'm allergic to cats.", "Never mind, that was wrong about the cats."),
    ],
)
def test_a_retraction_deletes(first: str, then: str):
    assert talk("I love sushi.", first, then) == (["DELETE"], talk("I love sushi.")[1])


@pytest.mark.parametrize(
    "said",
    [
        "That's wrong.",
        "Scratch that.",
        "Never mind.",
        "Forget it.",
        "Please disregard that!",
        "I was just kidding.",
        "I was joking.",
        "That's a lie.",
        "What I told you was false.",
        "Never mind, I love you.",
        "That's not true, I think so.",
    ],
)
def test_a_bare_taking_back_deletes_nothing_that_is_remembered(said: str):
    remembered = [
        Memory(str(number), text, "Ann", AT)
        for number, text in enumerate(
            ["Ann has two kids.", "Ann loves lies and jokes.", "Ann thinks that tea is fine."]
        )
    ]
    operations = decide(extract_facts([Turn("Ann", said, AT)]), remembered)
    assert [operation.event for operation in operations] == ["NOOP"]


def test_a_bare_taking_back_is_of_what_was_said_just_before():
    def events(*texts: str) -> list[str]:
        facts = [Fact(text, "Ann") for text in texts]
        return [operation.event for operation in decide(facts, [Memory("1", "Ann likes tea.", "Ann")])]

    assert events("Ann adopted a dog.", "Ann: Scratch that.") == ["NOOP"]
    assert events("Ann adopted a dog.", "Ann likes tea.", "Ann: Scratch that.") == ["ADD", "NOOP", "NOOP"]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("I adopted a dog, Buddy.", "I also love jazz."),
        ("I live in Boston.", "My sister moved to Denver."),
        ("I live in Boston.", "I was moved to tears by the film."),
        ("I live in Boston.", "Now I'm happy and I love my garden in spring."),
        ("I play the guitar.", "My brother stopped playing the guitar."),
        ("I play the guitar.", "I won't stop playing music."),
        ("I like tea.", "I actually like coffee."),
        ("I like tea.", "I will never forget the day my son was born."),
        ("I adopted a dog.", "I saw another dog in the park that I would love to adopt."),
        ("My dog is sick.", "My dog is cute."),
        (("Ann", "I live in Boston."), ("Bob", "I moved to Denver.")),
        (("Ann", "I adopted a dog, Rex."), ("Bob", "I adopted another dog.")),
        (("Ann", "I play the guitar."), ("Bob", "I stopped playing the guitar.")),
    ],
)
def test_what_only_looks_alike_is_added(first: str | tuple[str, str], then: str | tuple[str, str]):
    events, memories = talk(first, then)
    assert events == ["ADD"]
    assert memories[0] == talk(first)[1][0] and len(memories) == 2


def test_what_is_known_is_a_noop_that_says_so():
    memory = Memory("a", "Ann adopted a dog, Buddy.", "Ann", AT)
    (operation,) = decide([Fact("Ann adopted a dog.", "Ann", AT, ("t1",))], [memory])
    assert operation == Noop("already remembered: Ann adopted a dog.", ("t1",))


def test_the_opposite_of_what_is_known_is_not_known():
    memory = Memory("a", "Ann eats meat.", "Ann", AT)
    assert [operation.event for operation in decide([Fact("Ann doesn't eat meat.", "Ann", AT)], [memory])] == ["ADD"]


def test_facts_of_one_turn_see_each_other():
    turn = Turn("Ann", "I live in Boston. I moved to Denver. I play the guitar. I stopped playing the guitar.", AT, "t")
    operations = decide(extract_facts([turn]), [])
    assert [(operation.event, getattr(operation, "text", "")) for operation in operations] == [
        ("ADD", "Ann moved to Denver."),
        ("NOOP", ""),
    ]


def test_one_operation_for_a_memory_that_two_facts_change():
    memory = Memory("a", "Ann adopted a dog, Buddy.", "Ann", AT, ("t0",))
    facts = [Fact(f"Ann adopted another dog, {name}.", "Ann", AT, (f"t{name}",)) for name in ("Scout", "Max")]
    (operation,) = decide(facts, [memory])
    assert isinstance(operation, Update) and operation.source == ("tScout", "tMax")
    assert operation.text == "Ann adopted a dog, Buddy. Ann adopted another dog, Scout. Ann adopted another dog, Max."


def test_only_the_sentence_that_is_taken_back_goes():
    memory = Memory("a", "Ann adopted a dog, Buddy. Ann plays the guitar.", "Ann", AT)
    (operation,) = decide([Fact("Ann stopped playing the guitar.", "Ann", AT)], [memory])
    assert isinstance(operation, Update) and operation.text == "Ann adopted a dog, Buddy."


def test_a_long_sentence_keeps_what_its_outdated_value_stood_among():
    memory = Memory("a", "Ann lives in Boston with her husband, three cats and a piano.", "Ann", AT)
    (operation,) = decide([Fact("Ann moved to Denver.", "Ann", AT + timedelta(days=9))], [memory])
    assert isinstance(operation, Update)
    assert operation.text == f"{memory.text} Ann moved to Denver (17 May 2023)."


# --- answers

BANK = talk(
    "I adopted a dog, Buddy.", "I live in Boston.", "My favourite colour is green.", "My sister Ella lives in Oslo.",
    "I have three cats.", "I'm allergic to peanuts.", "I ran a marathon last Sunday.",
    "I have been married for five years.",
    "I adopted another dog, her name is Scout.", "I moved to Denver last month.", "I met Tom at the gym yesterday.",
    "I visited the aquarium.", "I'm 29.", "I work as a nurse.",
)[1]  # fmt: skip


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("When did Ann run a marathon?", "7 May 2023"),
        ("When did Ann move to Denver?", "April 2023"),
        ("When did Ann visit the aquarium?", "19 May 2023"),
        ("How many dogs do I have?", "2"),
        ("How many cats does Ann have?", "three"),
        ("How long has Ann been married?", "five years"),
        ("How old is Ann?", "29"),
        ("Where does Ann live?", "Denver"),
        ("Where does Ella live?", "Oslo"),
        ("Who did Ann meet at the gym?", "Tom"),
        ("Who lives in Oslo?", "Ella"),
        ("What is Ann's favourite colour?", "green"),
        ("What is Ann allergic to?", "peanuts"),
        ("What is Ann's job?", "Ann works as a nurse"),
        ("Does Ann have a dog?", "Yes"),
        ("Is Ann allergic to peanuts?", "Yes"),
        ("Does Ann play the guitar?", "I don't know."),
        ("What is the capital of France?", "I don't know."),
        ("", "I don't know."),
    ],
)
def test_an_answer_is_short_and_rests_on_memories(question: str, expected: str):
    text, selected = answer(question, BANK, None)
    assert text == expected
    assert bool(selected) == (expected != "I don't know.")
    assert all(0 <= number < len(BANK) for number in selected)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("I forgot, which sister does Ann have?", "Vera"),
        ("Tell me, what is Ann's sister called?", "Vera"),
        ("What is the name of Ann's doctor?", "Moro"),
        ("Quick question: on which day did Ann mention the doctor Moro?", "8 May 2023"),
        ("Since when is Moro Ann's doctor?", "8 May 2023"),
    ],
)
def test_what_is_said_around_a_question_and_a_name_is_left_out(question: str, expected: str):
    texts = ("Just so you know, my sister is called Vera, imagine that.", "Honestly, Moro is what I call my doctor.")
    memories = [Memory(str(number), f"Ann: {text}", "Ann", AT) for number, text in enumerate(texts)]
    assert answer(question, memories)[0] == expected


@pytest.mark.parametrize(
    "text",
    [
        "how old am i",
        "where do i live",
        "whats my dogs name",
        "who's my boss",
        "am i vegan",
        "have i been to rome",
        "has my sister moved",
        "in which city do i live",
        "ok how many dogs do i have",
        "and where does bob live",
        "please tell me where i live",
        "Tell me about my dog.",
        "hey, where do i work",
        "don't i have a cat",
        "did i tell you my age",
        "is Ann my sister",
    ],
)
def test_a_question_needs_no_mark(text: str):
    assert asks(text)
    assert not extract_facts([Turn("user", text, AT)])


@pytest.mark.parametrize(
    "text",
    [
        "I am 40 years old",
        "what a lovely dog i have",
        "when i was young i lived in rome",
        "when i am tired i drink tea",
        "What I like is tea.",
        "do not forget i have a cat",
        "Will is my brother and lives in Rome",
        "have dinner with ann tomorrow",
        "did the dishes",
        "can't eat nuts",
        "i know what you mean",
        "which is why i moved to rome",
        "how i love jazz",
        "is allergic to nuts",
        "does not eat meat",
        "remind me to call my mother",
    ],
)
def test_a_statement_is_no_question(text: str):
    assert not asks(text)


def test_an_answer_without_memories_is_not_known():
    assert answer("Where does Ann live?", [], None) == ("I don't know.", ())


# --- LoCoMo


@pytest.fixture(scope="module")
def conversation() -> Conversation:
    if not LOCOMO.exists():
        pytest.skip(f"needs LoCoMo at {LOCOMO}; its licence keeps it out of the project")
    return next(found for found in load(LOCOMO) if found.id == "conv-26")


def test_locomo_facts_lose_little(conversation: Conversation):
    facts = extract_facts(conversation.turns)
    covered = {source for fact in facts for source in fact.source}
    known = set(terms(" ".join(fact.text for fact in facts)))
    asked = [question for question in conversation.questions if question.gold and question.evidence]
    evidence = [turn for question in asked for turn in question.evidence]
    shares = [len(gold & known) / len(gold) for question in asked if (gold := set(terms(question.gold or "")))]
    assert sum(turn in covered for turn in evidence) / len(evidence) > 0.97
    assert sum(shares) / len(shares) > 0.88


def test_locomo_support_group(conversation: Conversation):
    adds = [operation for operation in decide(extract_facts(conversation.turns[:60]), []) if isinstance(operation, Add)]
    memories = [Memory(str(number), add.text, add.speaker, add.at, add.source) for number, add in enumerate(adds)]
    text, selected = answer("When did Caroline go to the LGBTQ support group?", memories, None)
    assert text == "7 May 2023"
    assert memories[selected[0]].source == ("D1:3",)


def test_names_of_several_are_all_given() -> None:
    pets = "Maya adopted a dog, his name is Buddy. Maya adopted another dog, Scout!"
    memories = [
        Memory("a", pets, "Maya"),
        Memory("b", "Leo is a nurse.", "Leo"),
        Memory("c", "Maya has a cat, Luna.", "Maya"),
    ]
    assert answer("What are the names of Maya's dogs?", memories)[0] == "Buddy and Scout"
    assert answer("What are the names of Maya's pets?", memories) == ("Buddy, Scout and Luna", (0, 2))
    assert answer("What is the name of Maya's cat?", memories)[0] == "Luna"
