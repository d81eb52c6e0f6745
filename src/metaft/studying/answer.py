"""The answer of a study: what it shows, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from metaft.comparing.judging import Judgement
from metaft.comparing.verdict import outcome_of, state_verdict
from metaft.significance import fewest_pairs

if TYPE_CHECKING:
    from metaft.studying.report import FactorReport

_NOTHING = "Nothing can be compared yet."


def state_factor(judgements: Sequence[Judgement]) -> str:
    """Say what is shown of the levels of a factor, those over equally many datasets together."""
    by_size: dict[int, list[Judgement]] = {}
    for judgement in judgements:
        if judgement.points.pairs:
            by_size.setdefault(judgement.points.pairs, []).append(judgement)
    return " ".join(state_verdict(some) for some in by_size.values()) or _NOTHING


def state_answer(factors: Sequence[FactorReport]) -> str:
    """Say in one sentence what a study shows, with its evidence.

    Args:
        factors: With their judgements, corrected over all levels.
    """
    judged = [(factor, one) for factor in factors for one in factor.judgements if one.points.pairs]
    if not judged:
        return _NOTHING
    testable = [found for found in judged if found[1].points.pairs >= fewest_pairs()]
    if not testable:
        most = max(one.points.pairs for _, one in judged)
        return (
            f"{most} dataset{'s' * (most != 1)} cannot show a difference; the largest mean "
            f"difference is {_told(*_largest(judged))}."
        )
    better = [found for found in testable if outcome_of(found[1]) == "better"]
    worse = [found for found in testable if outcome_of(found[1]) == "worse"]
    open_ones = [found for found in testable if found not in better and found not in worse]
    return f"{'; '.join(_clauses(better, worse, open_ones))}."


_Found = tuple["FactorReport", Judgement]


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
