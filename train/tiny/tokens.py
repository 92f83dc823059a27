"""The tiny base's tokenizer: whole words and names of its world, and the fixed parts of prompts and replies.

The two compact instructions are one token each, and a reply's JSON is a handful: `{"operations":[{"event":"`, `ADD`,
`","fact":`, `0` ... So a prompt has about a hundred tokens, and choosing an operation is choosing one token. A name is
one token wherever it stands, and so is a number, which makes finding and copying them easy. Any other text is spelt in
bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from itertools import chain
from typing import Any, Final

from langgraph_memory_r1.evals.personaworld.names import all_names
from langgraph_memory_r1.prompts import answer, manage

PAD, END, SYSTEM, USER, ASSISTANT = SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
TEMPLATE: Final = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_YEAR: Final = date(2024, 1, 1)
_DAYS: Final = 366
_MOST: Final = 20_000
_FIXED: Final = (
    manage.COMPACT, answer.COMPACT,
    "Memories:\n[", ".\n[", "Memories:\n(none)\n", "Facts:\n[fact 0] ", "Question: ", "Now: ",
    '{"operations":[{"event":"', "ADD", "UPDATE", "DELETE", "NOOP", '","fact":', ',"id":', ',"text":"', '"}]}', "}]}",
    '{"selected":[', '],"answer":"', '"}', "I don't know",
)  # fmt: skip
_NAME: Final = r"[A-Z][aeiou][a-z][aeiou](?![A-Za-z])"
# A space before a name belongs to the word before it: a name is the same token wherever it stands.
_WORDS: Final = rf"\d\d|\d|{_NAME}|'s| ?[a-z]+(?: (?=[A-Z]))?| ?[A-Z][a-z]*| ?[^\sA-Za-z\d]+(?: (?=[A-Z])|\n)?|\s+"


def train_tokenizer(texts: Iterable[str]) -> Any:
    """Train a fast tokenizer with a chat template; its words are all names, and those of the texts."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=_MOST, min_frequency=2, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    # All names, and each twice: what the trainer sees once does not become a token (`min_frequency`).
    tokenizer.train_from_iterator(chain(texts, all_names(), all_names()), trainer)
    days = ((_YEAR + timedelta(days=number)).isoformat() for number in range(_DAYS))
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in (*_FIXED, *days)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, model_max_length=1024)
    fast.chat_template = TEMPLATE
    return fast
