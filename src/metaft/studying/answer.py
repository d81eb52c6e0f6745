"""The answer of a study: what it shows, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from metaft.comparing.formatting import format_count
from metaft.comparing.judging import Judgement
from metaft.comparing.verdict import ALPHA, outcome_of, state_verdict
from metaft.significance import fewest_pairs

if TYPE_CHECKING:
    from metaft.studying.report import FactorReport

_NOTHING = "Nothing can be compared yet."


def comparisons_at(datasets: int, family: Sequence[Judgement]) -> int:
    """Return how many comparisons Holm's correction is over at best, for one over some datasets.

    Those over more datasets can reach lower p-values: where they are shown to differ, they count
    no longer.

    Args:
        datasets: Of the comparison.
        family: Everything that is corrected together.
    """
    return sum(one.points.pairs <= datasets for one in family)


def state_factor(judgements: Sequence[Judgement], family: Sequence[Judgement]) -> str:
    """Say what is shown of the levels of a factor, those over equally many datasets together.

    Args:
        judgements: Of the factor.
        family: Everything that was corrected together, these among them.
    """
    by_size: dict[int, list[Judgement]] = {}
    for judgement in judgements:
        if judgement.points.pairs:
            by_size.setdefault(judgement.points.pairs, []).append(judgement)
    told = (state_verdict(some, comparisons_at(size, family)) for size, some in by_size.items())
    return " ".join(told) or _NOTHING


def state_answer(factors: Sequence[FactorReport]) -> str:
    """Say in one sentence what a study shows, with its evidence.

    Args:
        factors: With their judgements, corrected over all levels.
    """
    family = [one for factor in factors for one in factor.judgements]
    judged = [(factor, one) for factor in factors for one in factor.judgements if one.points.pairs]
    if not judged:
        return _NOTHING
    testable = [found for found in judged if _is_testable(found[1], family)]
    if not testable:
        most = max(one.points.pairs for _, one in judged)
        comparisons = comparisons_at(most, family)
        corrected = f" after a correction for {comparisons} comparisons" * (comparisons > 1)
        return (
            f"{format_count(most, 'dataset')} cannot show a difference{corrected}; the largest "
            f"mean difference is {_told(*_largest(judged))}."
        )
    better = [found for found in testable if outcome_of(found[1]) == "better"]
    worse = [found for found in testable if outcome_of(found[1]) == "worse"]
    open_ones = [found for found in testable if found not in better and found not in worse]
    return f"{'; '.join(_clauses(better, worse, open_ones))}."


_Found = tuple["FactorReport", Judgement]


def _is_testable(judgement: Judgement, family: Sequence[Judgement]) -> bool:
    """Say whether there are datasets enough to show a difference, after Holm's correction."""
    datasets = judgement.points.pairs
    return datasets >= fewest_pairs(ALPHA / comparisons_at(datasets, family))


def _clauses(
    better: Sequence[_Found], worse: Sequence[_Found], open_ones: Sequence[_Found]
) -> Iterator[str]:
    found = [*better, *worse, *open_ones]
    sizes = [one.points.pairs for _, one in found]
    low, high = min(sizes), max(sizes)
    over = f"Over {low if low == high else f'{low} to {high}'} datasets"
    if better or worse:
        parts = [
            f"{word} {', '.join(_told(*one) for one in some)}"
            for word, some in (("better:", better), ("worse:", worse))
            if some
        ]
        yield f"{over}, shown to differ from the reference are, {' and '.join(parts)}"
        if open_ones:
            largest = _told(*_largest(open_ones))
            yield f"of the other {len(open_ones)} nothing is shown, at most {largest}"
        return
    counted = "the one level is" if len(found) == 1 else f"none of {len(found)} levels is"
    negated = " not" if len(found) == 1 else ""
    yield f"{over}, {counted}{negated} shown to differ from its reference"
    yield f"the largest mean difference is {_told(*_largest(open_ones))}"


def _largest(found: Sequence[_Found]) -> _Found:
    return max(found, key=lambda one: abs(one[1].points.mean_difference))


def _told(factor: FactorReport, judgement: Judgement) -> str:
    """Return a level with its difference and the larger of its corrected p-values."""
    larger = max(judgement.t_test_holm, judgement.wilcoxon_holm)
    return (
        f"{judgement.method} less {judgement.reference} ({factor.factor}) "
        f"{judgement.points.mean_difference:+.1f} points (p = {larger:.2g} after Holm's correction)"
    )
