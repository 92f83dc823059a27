"""Sentences of a chat turn: split, judged worth remembering or not, and turned from "I" into the speaker's name.

English only, by word lists. The third person is put together for the verb next to "I"; a later verb of the same
sentence keeps its form ("Ann lives in Boston and work there"). "We" and "you" stay as they were said, behind the
speaker's name.
"""

from __future__ import annotations

import re

from langgraph_memory_r1.tokenizer import terms

__all__ = [
    "SHARED_PHOTO",
    "asks",
    "is_question",
    "is_worth_keeping",
    "leans_on_previous",
    "needs_question",
    "sentences",
    "statement_of",
    "subject",
    "third_person",
    "units",
]

_LONGEST = 1_000
_SHORT_ANSWER = 6
_NO_END = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|a\.m|p\.m|No)|\b[A-Z])\.$")
_PIECE = re.compile(r"(?<=[.!?…])[\"'”)]*\s+|\n+|\s+(?=\[)")

_SMALL_TALK = frozenset(
    "absolut agre ah alright amaz appreci awesom aw aww awww babe bet bud buddi bye care cheer cool congrat"
    " congratul cours cya definit dude exact excel fab fantast fine fun glad good gosh gotcha got great ha haha"
    " hear hello hey hi hiya huh hug inde interest kind know let lol look love luck luckili man mate mean morn nah"
    " need nice night no nope now oh ok okay perfect pleas pleasur proud realli right see share sound soon stay"
    " super support sure surpris sweet take talk tell thank thanx that there thing think thx time today tomorrow"
    " total true type use want way welcom well whoa wonder word worri wow yay ya yeah yep yes yet yup friend keep"
    " catch doing feel happi help idea impress incred incredibl inspir joy beauti wish lot bit say said one ever"
    " even start much mani make".split()
)
_QUESTION = re.compile(r"[?\uff1f\u061f][\"'”)\]]*$")
_BE = r"(?:is|are|am|was|were|isn't|aren't|wasn't|weren't)"
_HELP = r"(?:(?:do|does|did|has|have|had|can|could|will|would|shall|should|may|might|must)(?:n't)?|can't|won't|shan't)"
_PERSON = r"(?:I|you|we|he|she|it|they|my|your|his|her|our|their|there|this|that|(?-i:[A-Z])\w+)\b"
_WH = r"(?:who|whom|whose|what|when|where|which|why|how)"
_NO_MARK = re.compile(
    # "where do i live", "in which city ...", "how old am i", "whats my name"; not "what a day", "when i am tired".
    rf"(?:\w+ )?{_WH}(?:(?:'s|s|'re)\b"
    rf"|(?: (?!(?:I|you|we|he|she|it|they|an?|the|my|{_WH})\b)\w+){{0,3}}? (?:{_BE}|{_HELP})\b(?! (?:{_WH}|not)\b))"
    rf"|who(?:se)? (?!(?:I|you|we|he|she|they|knows|cares)\b)\w+|{_WH}$"
    # "am i vegan", "has my sister moved", "does ann like tea"; not "have a nice day", "will is my brother".
    rf"|(?:{_BE}|{_HELP}) {_PERSON}|(?:does|{_BE}) the\b|does (?!not\b)\w+ \w+",
    re.IGNORECASE,
)
"""How a question begins that ends without a mark."""
_BEFORE_ASKING = re.compile(
    r"(?:[^,]{1,30}, *|(?:and|so|but|ok|okay|hey|hi|well|please|now|then|also|do you know|i wonder)\b,? +){0,3}",
    re.IGNORECASE,
)
_REQUEST = re.compile(
    r"(?:(?:please|pls|can you|could you),? )?(?:tell|remind) me (?:again )?"
    rf"(?:about|all|if|whether|my|the name|{_WH})\b",
    re.IGNORECASE,
)
_REACTION = re.compile(
    r"(?:wow|sounds?|that's|that is|glad|happy for|can't wait|wishing|congrat\w*|take care|good luck|aw+|let me know"
    r"|feel free|keep (?:it |up|going|me)|no (?:problem|worries|doubt)"
    r"|you're (?:so|such|doing|awesome|amazing|right|an?))\b",
    re.IGNORECASE,
)
SHARED_PHOTO = " shared a photo: "
"""In a statement: what stands behind it is what a picture shows, and not what somebody said."""
_PHOTO = re.compile(
    r"\[shares? (?:a|an|the) (?:photo|picture|image)[^:\]]*: ?(?:an? (?:photo(?:graphy)?|picture) of )?(.+?)\]"
)
_ASKING = re.compile(
    r"(?:and |but |so |hey |oh |wow )*(?:who|what|when|where|why|which|how|do|does|did|is|are|am|was|were|has|have|had"
    r"|can|could|will|would|should|shall|may|any|isn't|aren't|don't|didn't|won't|haven't)\b",
    re.IGNORECASE,
)
_MINE = re.compile(r"\b(?:I|my|mine|me|we|our|ours|us|myself|ourselves)\b|\bI'", re.IGNORECASE)
_PRONOUN = re.compile(
    r"(?:It|It's|Its|He|He's|She|She's|They|They're|Their|Them|His|Her|That|That's|This|These|Those|And|But|So|Because)\b",
    re.IGNORECASE,
)


def sentences(text: str) -> list[str]:
    """Split a text into sentences, cleaned of control characters; a run without an end is cut at a space."""
    clean = "".join(char if char.isprintable() or char == "\n" else " " for char in text.replace("\u2019", "'"))
    joined: list[str] = []
    for piece in filter(None, (part.strip() for part in _PIECE.split(clean))):
        if joined and _NO_END.search(joined[-1]):
            joined[-1] += f" {piece}"
        else:
            joined.append(piece)
    parts: list[str] = []
    for piece in joined:
        sentence = " ".join(piece.split())
        while len(sentence) > _LONGEST:
            end = sentence.rfind(" ", 1, _LONGEST) if " " in sentence[1:_LONGEST] else _LONGEST
            parts.append(sentence[:end].strip())
            sentence = sentence[end:].strip()
        if sentence:
            parts.append(sentence)
    return parts


def units(text: str) -> list[str]:
    """Split a memory into sentences; one that leans on the sentence before stays with it."""
    parts: list[str] = []
    for sentence in sentences(text):
        if parts and leans_on_previous(sentence):
            parts[-1] += f" {sentence}"
        else:
            parts.append(sentence)
    return parts or [text]


def is_question(sentence: str) -> bool:
    """Return whether a sentence asks: by its mark, by how it begins where it ends without one, or as a request."""
    if _QUESTION.search(sentence) or _REQUEST.match(sentence):
        return True
    if re.search(r"[.!…:]\W*$", sentence):
        return False
    asking = _BEFORE_ASKING.match(sentence)
    return any(_NO_MARK.match(sentence, start) for start in {0, asking.end() if asking else 0})


def asks(text: str) -> bool:
    """Return whether a text ends with a question."""
    parts = sentences(text)
    return bool(parts) and is_question(parts[-1])


def statement_of(sentence: str) -> str:
    """Return what a sentence states: itself, what a photo shows, what stands before the asking in a question, or ""."""
    if photo := _PHOTO.fullmatch(sentence):
        return f"I{SHARED_PHOTO}{photo[1]}."
    if not is_question(sentence):
        return sentence
    head, _, _ = sentence.rpartition(", ")
    return f"{head}." if head and _MINE.search(head) and not _ASKING.match(head) else ""


def is_worth_keeping(sentence: str) -> bool:
    """Return whether a statement says anything: one telling word about the speaker, or two about anything else."""
    telling = [term for term in terms(sentence) if term not in _SMALL_TALK]
    if _MINE.search(sentence):
        return bool(telling)
    return len(telling) >= 2 and not _REACTION.match(sentence)


def needs_question(statement: str) -> bool:
    """Return whether a statement says little without the question that it answers."""
    short = len(statement.split()) <= _SHORT_ANSWER and not _MINE.search(statement)
    return short or leans_on_previous(statement)


def leans_on_previous(sentence: str) -> bool:
    """Return whether a sentence begins with a word that stands for something said before."""
    return _PRONOUN.match(sentence) is not None


def subject(text: str, speaker: str | None) -> frozenset[str]:
    """Return the words for what a sentence is about where it is not the speaker: "Ann's sister …", "Ann: Bob …"."""
    name = re.escape(speaker or "")
    match = re.match(rf"(?:[^,:]*, )?(?:{name}'s|my|their) (.+)|{name}: (?:\w+, )?(.+)", text, re.IGNORECASE)
    if not match:
        return frozenset()
    words = re.findall(r"[\w'-]+", match[1] or match[2])[:3]
    if not words or words[0].lower() in ("we", "our"):
        return frozenset()
    end = next((n for n, word in enumerate(words) if n and re.fullmatch(r"is|are|was|has|have|\w+(?:s|ed)", word)), 3)
    return frozenset(terms(" ".join(words[:end])))


_MODAL = frozenset(
    "can could will would shall should must may might can't cannot couldn't won't wouldn't shouldn't mustn't did"
    " didn't had hadn't was wasn't used ought had is has are were does and or who that no not".split()
)
_PAST = frozenset(
    "ate became began bit blew bought bred broke brought built came caught chose cut did drank drew drove dug fed"
    " fell felt fled flew forgot fought found froze gave got grew heard held hid hit hung hurt kept knew laid"
    " laughed lay led left lent let lit lost made meant met paid put quit ran rang read rode rose said sang sat"
    " saw sent set shook shot shut slept sold spent spoke spread stole stood stuck swam swore swung taught thought"
    " threw told took tore understood went woke won wore wrote".split()
)
_BASE_ED = frozenset("need feed speed breed bleed seed proceed succeed exceed embed shed wed".split())
_ADVERB = frozenset(
    "actually also always almost already both currently even ever finally first generally hardly honestly just"
    " kind kinda mostly never normally not now often once only originally personally probably rarely really"
    " recently regularly seldom simply sometimes soon sort sorta still then though thus together too totally truly"
    " typically usually".split()
)
_IRREGULAR = {"am": "is", "be": "is", "have": "has", "haven't": "hasn't", "don't": "doesn't", "dont": "doesn't"}
_SHORT = {"'m": "is", "'ve": "has", "'ll": "will"}
_FIRST = re.compile(
    r"\b[Ii](?P<short>'(?:m|ve|ll))\b|\b[Ii]'d(?P<had> (?:\w+ly )?(?:been|\w+ed)\b)?"
    r"|(?P<other>\b[Mm](?:y|ine|e|yself))\b"
    rf"|\b[Ii]\b(?:(?P<adverb>(?: (?:no longer|{'|'.join(sorted(_ADVERB))}|\w+ly))*) (?P<verb>[a-z][a-z']*))?"
)
_COMPANY = re.compile(r"(?:^|[,;:.] )(?!I\b)(?:\w[\w']* ){1,3}and $")
"""Before "I": somebody else who does the same, as in "Bob and I"."""


def third_person(sentence: str, name: str) -> str:
    """Put a sentence about its speaker into the third person: "I adopted my dog" → "Ann adopted their dog"."""
    mentioned = False

    def replace(match: re.Match[str]) -> str:
        nonlocal mentioned
        first, mentioned = not mentioned, True
        if word := (match["other"] or "").lower():
            if word in ("me", "myself"):
                return name if word == "me" else "themselves"
            return f"{name}'s" if first or word == "mine" else "their"
        if match["short"]:
            return f"{name} {_SHORT[match['short']]}"
        if match[0][1:3] == "'d":
            return f"{name} {'had' if match['had'] else 'would'}{match['had'] or ''}"
        if not match["verb"]:
            return name
        verb = match["verb"] if _COMPANY.search(sentence, 0, match.start()) else _third(match["verb"])
        return f"{name}{match['adverb']} {verb}"

    text = _FIRST.sub(replace, sentence)
    if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text):
        return text[:1].upper() + text[1:]
    return f"{name}: {text}"


def _third(verb: str) -> str:
    """Return the third person of a verb in the present; other forms stay as they are."""
    if verb in _IRREGULAR:
        return _IRREGULAR[verb]
    if verb in _MODAL or verb in _PAST or "'" in verb or (verb.endswith("ed") and verb not in _BASE_ED):
        return verb
    if re.search(r"(?:s|x|z|ch|sh|o)$", verb):
        return f"{verb}es"
    return f"{verb[:-1]}ies" if re.search(r"[^aeiou]y$", verb) else f"{verb}s"
