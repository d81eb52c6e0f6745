"""Answering questions: where in the context an answer begins and ends."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from metaft.backbones.backbone import Backbone, Examples
from metaft.finetuning.answer_scores import score_answers
from metaft.finetuning.device import Compute
from metaft.finetuning.feed import Feed
from metaft.finetuning.head import fit_probe_head
from metaft.finetuning.model import Classifier
from metaft.finetuning.objectives import Objective
from metaft.finetuning.outcome import Scores
from metaft.finetuning.prefix_cache import PrefixCache
from metaft.finetuning.token_features import features_at
from metaft.recipes import Recipe
from metaft.tasks.split import stratified_order
from metaft.tasks.task import Answer, Split, Task

LONGEST_ANSWER = 30
"""Tokens of an answer, at most."""

NO_ANSWER = 0
"""Place of the token that stands for "no answer here": the first one."""

_PROBE_TOKENS = 5_000
"""Most tokens that the linear probe is fitted to."""

_EXCLUDED = -1e4
"""Score of tokens that are in no context."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """The best answer in one window.

    Attributes:
        row: Of the split, to which the window belongs.
        score: Sum of the scores of its ends.
        start, end: Characters of the context, the end not among them.
        none_score: The same sum for having no answer.
        loss: Of the right answer, in nats.
    """

    row: int
    score: float
    start: int
    end: int
    none_score: float
    loss: float


class AnswerObjective(Objective[Candidate]):
    """Scores for the first and the last token of the answer."""

    def __init__(self, task: Task, recipe: Recipe) -> None:
        super().__init__(task, recipe)
        self._guess_loss = 1.0

    @property
    def guess_loss(self) -> float:
        """Loss of a uniform guess among the tokens of a context."""
        return self._guess_loss

    def new_model(self, backbone: Backbone) -> Classifier:
        """Put a random head for tokens on a backbone."""
        return Classifier(backbone, 2, self.recipe.dropout, is_by_token=True)

    def fit_head(self, model: Classifier, cache: PrefixCache, compute: Compute) -> None:
        """Fit whether a token is the first, and whether it is the last, of an answer."""
        examples = cache.examples("train", self.recipe)
        ends = ends_of(examples, self.task.train, np.arange(len(examples)))
        at = np.array(
            [
                (row, token)
                for row, places in enumerate(examples.places or ())
                for token in np.flatnonzero(places[:, 0] >= 0)
            ]
        )
        is_end = at[:, 1:] == ends[at[:, 0]]  # (tokens, 2)
        chosen = np.sort(stratified_order(is_end @ np.array([1, 2]), seed=0)[:_PROBE_TOKENS])
        features = features_at(cache, self.recipe, compute, at[chosen])
        for end in (0, 1):
            probe = torch.nn.Linear(features.shape[1], 2)
            labels = is_end[chosen, end].astype(np.int64)
            fit_probe_head(probe, features, labels, is_regression=False)
            with torch.no_grad():
                model.head.weight[end] = probe.weight[1] - probe.weight[0]
                model.head.bias[end] = probe.bias[1] - probe.bias[0]

    def prepare(self, examples: Examples, compute: Compute) -> None:
        """Find the answers' first and last tokens; see `Objective.prepare`."""
        tokens = np.mean([(places[:, 0] >= 0).sum() + 1 for places in examples.places or ()])
        self._guess_loss = math.log(max(2.0, float(tokens)))
        ends = ends_of(examples, self.task.train, np.arange(len(examples)))
        self._ends = torch.from_numpy(ends).to(compute.device)

    def loss(self, model: Classifier, logits: Tensor, feed: Feed, rows: np.ndarray) -> Tensor:
        """Return the mean loss of both ends over the windows of a batch."""
        scores = in_context(logits, feed.examples, rows)
        ends = self._ends[torch.from_numpy(rows).to(self._ends.device)]
        return functional.cross_entropy(scores, ends)

    def read(
        self, model: Classifier, logits: Tensor, examples: Examples, rows: np.ndarray, split: Split
    ) -> list[Candidate]:
        """Return the best answer of each window."""
        scores = in_context(logits, examples, rows)
        ends = torch.from_numpy(ends_of(examples, split, rows)).to(scores.device)
        losses = functional.cross_entropy(scores, ends, reduction="none").mean(1)
        return best_answers(scores, examples, rows, losses.tolist())

    def score(self, answers: Sequence[Candidate], split: Split, rows: np.ndarray) -> Scores:
        """Score what is answered to whole questions; see `score_answers`."""
        windows_of = defaultdict(list)
        for window in answers:
            windows_of[window.row].append(window)
        chosen = [windows_of[int(row)] for row in rows]
        texts = [
            answer_from(windows, (split.text_pairs or ())[row], may_refuse=may_refuse(self.task))
            for windows, row in zip(chosen, rows, strict=True)
        ]
        right = [[one.text for one in (split.answers or ())[row]] for row in rows]
        losses = [window.loss for windows in chosen for window in windows]
        return score_answers(texts, right) | {"loss": float(np.mean(losses))}


def may_refuse(task: Task) -> bool:
    """Say whether a model may find no answer: whether it has seen questions without one."""
    return task.kind == "qa" and not all(task.train.answers or ())


def ends_of(examples: Examples, split: Split, rows: np.ndarray) -> np.ndarray:
    """Return the first and last token of the first right answer in each window `(rows, 2)`.

    `NO_ANSWER` twice where the answer is not, or not wholly, in the window.
    """
    return np.array(
        [
            _ends_in((examples.places or ())[row], (split.answers or ())[_owner(examples, row)])
            for row in rows
        ],
        dtype=np.int64,
    )


def best_answers(
    scores: Tensor, examples: Examples, rows: np.ndarray, losses: Sequence[float]
) -> list[Candidate]:
    """Find the best answer of at most `LONGEST_ANSWER` tokens in each window.

    Args:
        scores: `(rows, tokens, 2)` of the first and the last token.
        examples: With the characters that tokens cover.
        rows: Windows that the scores belong to.
        losses: `(rows,)` of the right answers.
    """
    tokens = scores.shape[1]
    total = scores[:, :, None, 0] + scores[:, None, :, 1]  # (rows, first, last)
    allowed = torch.ones(tokens, tokens, dtype=torch.bool, device=scores.device)
    allowed = allowed.triu().tril(LONGEST_ANSWER - 1)
    allowed[NO_ANSWER] = False
    total = total.masked_fill(~allowed, 3 * _EXCLUDED)
    best, at = total.flatten(1).max(1)
    none = scores[:, NO_ANSWER].sum(1)
    found = zip(rows, at.tolist(), best.tolist(), none.tolist(), losses, strict=True)
    candidates = []
    for row, place, score, none_score, loss in found:
        first, last = divmod(place, tokens)
        places = (examples.places or ())[row]
        start, end = max(0, int(places[first, 0])), max(0, int(places[last, 1]))
        candidates.append(Candidate(_owner(examples, row), score, start, end, none_score, loss))
    return candidates


def answer_from(windows: Sequence[Candidate], context: str, *, may_refuse: bool) -> str:
    """Return the best answer that some window of a context gives.

    Args:
        windows: All of the context.
        context: The whole text.
        may_refuse: Whether there may be no answer, which is then empty.
    """
    start, end = answer_place(windows, may_refuse=may_refuse)
    return context[start:end]


def answer_place(windows: Sequence[Candidate], *, may_refuse: bool) -> tuple[int, int]:
    """Return the characters of the best answer, 0 and 0 for none; see `answer_from`."""
    best = max(windows, key=lambda window: window.score)
    if may_refuse and min(window.none_score for window in windows) > best.score:
        return 0, 0
    return best.start, best.end


def _owner(examples: Examples, row: int) -> int:
    return int(row if examples.owners is None else examples.owners[row])


def _ends_in(places: np.ndarray, answers: Sequence[Answer]) -> tuple[int, int]:
    if not answers:
        return NO_ANSWER, NO_ANSWER
    first, last = answers[0].start, answers[0].start + len(answers[0].text) - 1
    starts = np.flatnonzero((places[:, 0] <= first) & (first < places[:, 1]))
    ends = np.flatnonzero((places[:, 0] <= last) & (last < places[:, 1]))
    if not len(starts) or not len(ends):
        return NO_ANSWER, NO_ANSWER
    return int(starts[0]), int(ends[-1])


def in_context(logits: Tensor, examples: Examples, rows: np.ndarray) -> Tensor:
    """Return the scores of tokens that can be an end, and of `NO_ANSWER`, in float32."""
    excluded = np.ones(logits.shape[:2], dtype=bool)
    excluded[:, NO_ANSWER] = False
    for number, row in enumerate(rows):
        places = (examples.places or ())[row]
        excluded[number, : len(places)] &= places[:, 0] < 0
    mask = torch.from_numpy(excluded).to(logits.device)
    return logits.float().masked_fill(mask[:, :, None], _EXCLUDED)
