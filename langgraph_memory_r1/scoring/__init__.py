"""Metrics as pure functions: what an evaluation reports and what training uses as a reward is the same code.

    em            the same words in the same order, apart from case, punctuation and articles
    f1_mem0       F1 over sets of lower-case tokens (A-Mem, mem0, Memory-R1, and most papers that compare with them)
    f1_locomo     LoCoMo's own F1: stemmed multisets, with a rule for each category of questions
    f1_squad      F1 over multisets without punctuation and articles (SQuAD)
    bleu1_mem0    BLEU-1 with brevity penalty over Penn Treebank tokens (A-Mem, mem0, Memory-R1)

The variants lie up to 13 points apart on the same answers, so every number is reported under the name of its variant.
A gold answer given as an answer scores 1.0 in each of them. What cannot be computed is None, never 0.0.
"""

from langgraph_memory_r1.scoring.evidence import content_tokens, recall_at, token_coverage
from langgraph_memory_r1.scoring.metrics import (
    METRICS,
    Gold,
    Metric,
    abstained,
    answer_scores,
    answer_words,
    bleu1_mem0,
    em,
    f1_locomo,
    f1_mem0,
    f1_squad,
)

__all__ = [
    "METRICS", "Metric", "Gold",
    "em", "f1_mem0", "f1_locomo", "f1_squad", "bleu1_mem0", "abstained", "answer_words", "answer_scores",
    "recall_at", "token_coverage", "content_tokens",
]  # fmt: skip
