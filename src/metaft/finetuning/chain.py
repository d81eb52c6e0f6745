"""A linear chain over tags: a conditional random field, as in BERT-CRF.

Source: Lafferty, McCallum & Pereira (2001), Conditional Random Fields, section 3.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from metaft.finetuning.entities import TagSteps

_BARRED = -1e4
"""Score of what may not be: finite, so that sums of it stay numbers in float32."""


class TagChain(nn.Module):
    """Scores of a tag after a tag, of first and of last tags.

    What may not be is barred: it is never decoded, and has no probability.

    Args:
        allowed: Which tags may stand where.

    Attributes:
        transitions: `(tags, tags)` score of the second tag after the first.
        first, last: `(tags,)` score of a row that begins or ends with a tag.
    """

    def __init__(self, allowed: TagSteps) -> None:
        super().__init__()
        count = len(allowed.first)
        self.transitions = nn.Parameter(torch.zeros(count, count))
        self.first = nn.Parameter(torch.zeros(count))
        self.last = nn.Parameter(torch.zeros(count))
        self.bar_transitions: Tensor
        self.bar_first: Tensor
        self.bar_last: Tensor
        self.register_buffer("bar_transitions", _bars(allowed.pairs))
        self.register_buffer("bar_first", _bars(allowed.first))
        self.register_buffer("bar_last", _bars(allowed.last))

    def log_likelihood(self, scores: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """Return the log-probability of each row's tags, in float32 (float64 of such scores).

        Of tags that may not be, as careless annotation has them, it is a number without meaning;
        see `allows`.

        Args:
            scores: `(rows, words, tags)` of any precision.
            tags: `(rows, words)` tag numbers; anything where there is no word.
            mask: `(rows, words)` true where there is a word; rows are filled up at the end.

        Returns:
            `(rows,)`, 0 for a row without words.
        """
        scores = _at_least_single(scores)
        return self._score_of(scores, tags, mask) - self._log_partition(scores, mask)

    def allows(self, tags: Tensor, mask: Tensor) -> Tensor:
        """Return whether each row's tags may be `(rows,)`; arguments as above."""
        bars = self.bar_transitions, self.bar_first, self.bar_last
        return _sum_along(tags, mask, *bars) == 0

    @torch.no_grad()
    def decode(self, scores: Tensor, mask: Tensor) -> list[list[int]]:
        """Return the most probable tags of each row (Viterbi); arguments as above."""
        scores = _at_least_single(scores)
        transitions, first, last = self._barred(scores.dtype)
        best = scores[:, 0] + first  # (rows, tags), the best score of a path that ends there
        came_from = []
        for at in range(1, scores.shape[1]):
            paths = best[:, :, None] + transitions  # (rows, tag before, tag)
            longer, before = paths.max(1)
            is_word = mask[:, at, None]
            best = torch.where(is_word, longer + scores[:, at], best)
            stay = torch.arange(best.shape[1], device=best.device).expand_as(before)
            came_from.append(torch.where(is_word, before, stay))
        tags = [(best + last).argmax(1)]
        for before in reversed(came_from):
            tags.append(before.gather(1, tags[-1][:, None])[:, 0])
        whole = torch.stack(tags[::-1], 1).tolist()
        words = mask.sum(1).tolist()
        return [row[:count] for row, count in zip(whole, words, strict=True)]

    def _score_of(self, scores: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """Return the score of the given tags `(rows,)`."""
        own = scores.gather(2, tags.clamp(min=0)[:, :, None])[:, :, 0] * mask
        return own.sum(1) + _sum_along(tags, mask, *self._barred(scores.dtype))

    def _log_partition(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Return the log of the summed weight of all allowed tags `(rows,)`."""
        transitions, first, last = self._barred(scores.dtype)
        total = scores[:, 0] + first  # (rows, tags), of all paths that end there
        for at in range(1, scores.shape[1]):
            longer = torch.logsumexp(total[:, :, None] + transitions, 1) + scores[:, at]
            total = torch.where(mask[:, at, None], longer, total)
        return torch.logsumexp(total + last, 1) * mask[:, 0]

    def _barred(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        return (
            self.transitions.to(dtype) + self.bar_transitions.to(dtype),
            self.first.to(dtype) + self.bar_first.to(dtype),
            self.last.to(dtype) + self.bar_last.to(dtype),
        )


def _sum_along(
    tags: Tensor, mask: Tensor, transitions: Tensor, first: Tensor, last: Tensor
) -> Tensor:
    """Sum what stands at each row's first tag, its steps and its last tag `(rows,)`."""
    tags = tags.clamp(min=0)
    steps = transitions[tags[:, :-1], tags[:, 1:]] * mask[:, 1:]
    at_end = (mask.sum(1) - 1).clamp(min=0)
    ends = first[tags[:, 0]] + last[tags.gather(1, at_end[:, None])[:, 0]]
    return steps.sum(1) + ends * mask[:, 0]


def _bars(allowed: np.ndarray) -> Tensor:
    return torch.where(torch.from_numpy(allowed), 0.0, _BARRED)


def _at_least_single(scores: Tensor) -> Tensor:
    return scores.to(torch.promote_types(scores.dtype, torch.float32))
