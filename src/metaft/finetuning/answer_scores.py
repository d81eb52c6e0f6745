"""Scores of answers to questions, by the official rules of SQuAD.

Source: Rajpurkar et al. (2016), SQuAD: 100,000+ Questions for Machine Comprehension of Text,
and its evaluation script (lower case, no punctuation, no articles, single spaces).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from metaft.finetuning.outcome import Scores

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Return an answer as it is compared."""
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def is_exact(answer: str, right: str) -> bool:
    """Say whether two answers are the same."""
    return normalised(answer) == normalised(right)


def word_f1(answer: str, right: str) -> float:
    """Return the harmonic mean of precision and recall over words, in [0, 1]."""
    mine, theirs = normalised(answer).split(), normalised(right).split()
    if not mine or not theirs:  # No answer is right where there is none.
        return float(mine == theirs)
    shared = sum((Counter(mine) & Counter(theirs)).values())
    return 2 * shared / (len(mine) + len(theirs))


def score_answers(answers: Sequence[str], right: Sequence[Sequence[str]]) -> Scores:
    """Score answers, each by the right one that it agrees with best.

    Args:
        answers: One per question; empty where the model finds none.
        right: The right answers to each; none where there is no answer.

    Returns:
        `exact_match` and `f1`, means over the questions, in [0, 1].
    """
    pairs = [(answer, given or [""]) for answer, given in zip(answers, right, strict=True)]
    exact = [any(is_exact(answer, one) for one in given) for answer, given in pairs]
    overlap = [max(word_f1(answer, one) for one in given) for answer, given in pairs]
    count = max(1, len(pairs))
    return {"exact_match": sum(exact) / count, "f1": sum(overlap) / count}
