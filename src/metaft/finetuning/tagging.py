"""Tagging: a tag for every word, by a linear head or by a chain over its scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from metaft.backbones.backbone import Backbone, Examples
from metaft.finetuning.chain import TagChain
from metaft.finetuning.device import Compute
from metaft.finetuning.entities import OUTSIDE, TagSteps, scheme_steps, score_tags
from metaft.finetuning.feed import Feed
from metaft.finetuning.head import fit_probe_head
from metaft.finetuning.model import Classifier
from metaft.finetuning.objectives import Objective
from metaft.finetuning.outcome import Scores
from metaft.finetuning.prefix_cache import PrefixCache
from metaft.finetuning.token_features import features_at
from metaft.tasks.split import stratified_order
from metaft.tasks.task import Split

_USUAL_SHARE = 0.01
"""What the scheme bars is allowed all the same where so many of a tag's words stand so: then the
tags are of another scheme, such as the older BIO in which entities begin with I."""

_PROBE_WORDS = 5_000
"""Most words that the linear probe is fitted to: its cost grows with them. Chosen, not tuned."""


@dataclass(frozen=True, eq=False, slots=True)
class TaggedRow:
    """What a model says of one row.

    Attributes:
        tags: `(words,)` tag numbers.
        loss: Mean over the words whose first token was seen, in nats; NaN without such words.
    """

    tags: np.ndarray
    loss: float


@dataclass(frozen=True, eq=False, slots=True)
class _Words:
    """The words of a batch, those that were cut off left out.

    Attributes:
        places: `(rows, words)` first token of each.
        tags: `(rows, words)` right tag of each.
        mask: `(rows, words)` where there is a word.
    """

    places: Tensor
    tags: Tensor
    mask: Tensor


class TagObjective(Objective[TaggedRow]):
    """A tag for every word; a word goes by its first token."""

    def new_model(self, backbone: Backbone) -> Classifier:
        """Put a random head for tokens on a backbone, and the chain where the recipe wants one."""
        chain = TagChain(_steps_of(self)) if self.recipe.head == "crf" else None
        outputs, dropout = self.task.num_outputs, self.recipe.dropout
        return Classifier(backbone, outputs, dropout, is_by_token=True, chain=chain)

    def fit_head(self, model: Classifier, cache: PrefixCache, compute: Compute) -> None:
        """Fit a logistic regression to some words of the training rows."""
        examples, tags = cache.examples("train", self.recipe), self.task.train.tags or ()
        found = [np.flatnonzero(places >= 0) for places in examples.places or ()]
        row_of = np.repeat(np.arange(len(found)), [len(words) for words in found])
        labels = np.concatenate([t[w] for t, w in zip(tags, found, strict=True)])
        chosen = np.sort(stratified_order(labels, seed=0)[:_PROBE_WORDS])
        places = [place[words] for place, words in zip(examples.places or (), found, strict=True)]
        at = np.stack([row_of, np.concatenate(places)], 1)[chosen]  # (words, 2): row, token
        features = features_at(cache, self.recipe, compute, at)
        fit_probe_head(model.head, features, labels[chosen], is_regression=False)

    def prepare(self, examples: Examples, compute: Compute) -> None:
        """See `Objective.prepare`; the tags are put together batch by batch."""

    def loss(self, model: Classifier, logits: Tensor, feed: Feed, rows: np.ndarray) -> Tensor:
        """Return the mean loss of the words in a batch."""
        words = _words_of(feed.examples, rows, self.task.train.tags, logits.device)
        scores = _at_words(logits, words).float()
        if model.chain is None:
            total = functional.cross_entropy(
                scores[words.mask],
                words.tags[words.mask],
                label_smoothing=self.recipe.label_smoothing,
                reduction="sum",
            )
            return total / words.mask.sum().clamp(min=1)
        likelihood = model.chain.log_likelihood(scores, words.tags, words.mask)
        counted = model.chain.allows(words.tags, words.mask)
        count = (words.mask.sum(1) * counted).sum().clamp(min=1)
        return -torch.where(counted, likelihood, 0.0).sum() / count

    def read(
        self, model: Classifier, logits: Tensor, examples: Examples, rows: np.ndarray, split: Split
    ) -> list[TaggedRow]:
        """Return the best tags of each row; words that were cut off are outside."""
        return read_tags(
            logits, examples, rows, self.task.label_names, chain=model.chain, right=split.tags
        )

    def score(self, answers: Sequence[TaggedRow], split: Split, rows: np.ndarray) -> Scores:
        """Score entities, and words; see `score_tags`."""
        given = [(split.tags or ())[row] for row in rows]
        scores = score_tags([answers[row].tags for row in rows], given, self.task.label_names)
        return scores | {"loss": float(np.nanmean([answers[row].loss for row in rows]))}


def read_tags(
    logits: Tensor,
    examples: Examples,
    rows: np.ndarray,
    label_names: Sequence[str],
    *,
    chain: TagChain | None = None,
    right: Sequence[np.ndarray] | None = None,
) -> list[TaggedRow]:
    """Return the best tags of each row; words that were cut off are outside.

    Args:
        logits: `(rows, tokens, tags)`.
        examples: With the first token of each word.
        rows: That the logits belong to.
        label_names: Tag number -> name.
        chain: Scores of a tag after a tag, where there is one.
        right: The right tags of all rows, which the losses are about; they are NaN without.
    """
    words = _words_of(examples, rows, right, logits.device)
    scores = _at_words(logits, words).float()
    if chain is None:
        best = zip(scores.argmax(2), words.mask, strict=True)
        found = [row[mask].tolist() for row, mask in best]
    else:
        found = chain.decode(scores, words.mask)
    losses = [math.nan] * len(rows) if right is None else _losses(chain, scores, words)
    outside = label_names.index(OUTSIDE) if OUTSIDE in label_names else 0
    return [
        TaggedRow(_on_all_words(tags, (examples.places or ())[row], outside), loss)
        for tags, row, loss in zip(found, rows, losses, strict=True)
    ]


def _words_of(
    examples: Examples,
    rows: np.ndarray,
    right: Sequence[np.ndarray] | None,
    device: torch.device,
) -> _Words:
    """Put the words of some rows side by side; their tags are 0 where none are given."""
    places = [(examples.places or ())[row] for row in rows]
    tags = [np.zeros_like(place) for place in places] if right is None else [right[r] for r in rows]
    seen = [place >= 0 for place in places]
    width = max(1, *(int(flags.sum()) for flags in seen))
    at = np.zeros((3, len(rows), width), dtype=np.int64)
    for number, flags in enumerate(seen):
        count = int(flags.sum())
        at[0, number, :count] = places[number][flags]
        at[1, number, :count] = tags[number][flags]
        at[2, number, :count] = 1
    moved = torch.from_numpy(at).to(device)
    return _Words(moved[0], moved[1], moved[2].bool())


def _at_words(logits: Tensor, words: _Words) -> Tensor:
    """Pick the first token of each word: `(rows, words, tags)`."""
    index = words.places[:, :, None].expand(-1, -1, logits.shape[2])
    return logits.gather(1, index)


def _losses(chain: TagChain | None, scores: Tensor, words: _Words) -> list[float]:
    """Return the mean loss of each row's words; NaN without words, and where tags may not be."""
    if chain is None:
        by_tag = scores.transpose(1, 2)  # (rows, tags, words)
        each = functional.cross_entropy(by_tag, words.tags, reduction="none")
        total = (each * words.mask).sum(1)
    else:
        total = -chain.log_likelihood(scores, words.tags, words.mask)
        total = torch.where(chain.allows(words.tags, words.mask), total, torch.nan)
    losses: list[float] = (total / words.mask.sum(1)).tolist()
    return losses


def _on_all_words(tags: Sequence[int], places: np.ndarray, outside: int) -> np.ndarray:
    """Give the words that no token was seen of the tag of words outside."""
    whole = np.full(len(places), outside, dtype=np.int64)
    whole[places >= 0] = tags
    return whole


def _steps_of(objective: TagObjective) -> TagSteps:
    """Return what the scheme allows, and what the training rows do often."""
    rows, steps = objective.task.train.tags or (), scheme_steps(objective.task.label_names)
    count = len(steps.first)
    pairs, first, last = np.zeros((count, count)), np.zeros(count), np.zeros(count)
    for tags in rows:
        np.add.at(pairs, (tags[:-1], tags[1:]), 1)
        first[tags[0]] += 1
        last[tags[-1]] += 1
    words = np.maximum(1, pairs.sum(0) + first)  # Of each tag.
    return TagSteps(
        steps.pairs | (pairs > _USUAL_SHARE * words[None, :]),
        steps.first | (first > _USUAL_SHARE * words),
        steps.last | (last > _USUAL_SHARE * words),
    )
