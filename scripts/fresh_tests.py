"""Test what `scripts/compare_fresh.sh` has run, by the protocol of docs/prior.md ("Fresh runs").

    python scripts/fresh_tests.py runs/fresh [--prior priors/minilm-text-v1] [--before FOLDER]

The folder holds the reports `at-128`, `at-512` and `searches`. A task counts once, with its mean
over seeds. Suggestion against plain and against best-average, at both sizes: one family, corrected
by Holm; while a report is missing its tests count with p = 1, so the others are judged no milder
for it. With --prior, what was found is written into that prior's folder, and `metaft suggest`
says it. With --before, the suggestion stands beside that of another such folder, on the tasks and
seeds that both have.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from metaft.comparing.writing import JSON_FILE
from metaft.prior.fresh_runs import FreshRuns, FreshSize, Lead
from metaft.prior.margins import MARGIN_POINTS, TIE_POINTS
from metaft.significance import (
    NonInferiority,
    PairedComparison,
    compare_paired,
    holm,
    show_non_inferiority,
)

SUGGESTED, RIVALS = "learned", ("plain", "best-average")
SIZES = ("at-128", "at-512")
SEARCHES, SEARCHED = "searches", "tpe-10"
BEFORE = "learned before"

Report = Mapping[str, Any]
"""What `report.json` holds, see `metaft.comparing.report.Report`."""

SeedScores = Mapping[tuple[str, int], float]
"""Task and seed -> points."""


@dataclass(frozen=True, slots=True)
class FreshTest:
    """The suggestion against one rival.

    Attributes:
        at: Name of the report.
        rival: Name of the method.
        found: Suggestion - rival, in points.
        no_worse: Whether the suggestion is less than the margin worse.
        t_holm, wilcoxon_holm: p-values, corrected where the protocol corrects.
    """

    at: str
    rival: str
    found: PairedComparison
    no_worse: NonInferiority
    t_holm: float
    wilcoxon_holm: float


def main() -> None:
    """Read the reports, and print the tables."""
    arguments = _parse_arguments()
    reports = read_reports(arguments.folder)
    console = Console()
    for name, report in reports.items():
        console.print(standings(name, report), predictions(report))
    console.print(tests_table(primary_tests(reports), "Holm over both sizes and both rivals"))
    if searched := search_test(reports):
        console.print(tests_table(searched, "not corrected: one test"))
    if arguments.before:
        earlier = earlier_tests(reports, read_reports(arguments.before))
        console.print(tests_table(earlier, "not corrected: no test of the protocol"))
    if arguments.prior:
        fresh_runs(reports).save(arguments.prior)


def read_reports(folder: Path) -> dict[str, Report]:
    """Return the reports that are there, by name.

    Raises:
        SystemExit: If there is none.
    """
    paths = {name: folder / name / JSON_FILE for name in (*SIZES, SEARCHES)}
    found = {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}
    if not found:
        raise SystemExit(f"{folder} holds no report. Run scripts/compare_fresh.sh first")
    return found


def primary_tests(reports: Mapping[str, Report]) -> list[FreshTest]:
    """Return the tests of the protocol's family; those of a missing report are left out."""
    pairs = [(name, rival) for name in SIZES for rival in RIVALS]
    found = {
        (name, rival): _compare(reports[name], rival) for name, rival in pairs if name in reports
    }
    missing = [float("nan")] * (len(pairs) - len(found))
    t = holm([one.t_test.p_value for one, _ in found.values()] + missing)
    wilcoxon = holm([one.wilcoxon.p_value for one, _ in found.values()] + missing)
    corrected = zip(t[: len(found)], wilcoxon[: len(found)], strict=True)
    return [
        FreshTest(*pair, *compared, *p_values)
        for (pair, compared), p_values in zip(found.items(), corrected, strict=True)
    ]


def search_test(reports: Mapping[str, Report]) -> list[FreshTest]:
    """Return the test against ten full trials, where they have been run."""
    if SEARCHES not in reports:
        return []
    found, no_worse = _compare(reports[SEARCHES], SEARCHED)
    return [FreshTest(SEARCHES, SEARCHED, found, no_worse, *_p_values(found))]


def earlier_tests(reports: Mapping[str, Report], earlier: Mapping[str, Report]) -> list[FreshTest]:
    """Return the suggestion against the one that was made before, at each size."""
    return [
        _beside(name, scores_by_seed(reports[name]), scores_by_seed(earlier[name]))
        for name in SIZES
        if name in reports and name in earlier
    ]


def _beside(name: str, now: SeedScores, before: SeedScores) -> FreshTest:
    shared = sorted(now.keys() & before.keys())
    tasks = sorted({task for task, _ in shared})
    own, other = (
        np.array([np.mean([points[pair] for pair in shared if pair[0] == task]) for task in tasks])
        for points in (now, before)
    )
    found, no_worse = _compare_points(own, other)
    return FreshTest(name, BEFORE, found, no_worse, *_p_values(found))


def scores_by_seed(report: Report) -> SeedScores:
    """Return the score of the suggestion in each of its runs, in points, by task and seed."""
    return {
        (task, run["seed"]): 100 * run["score"]
        for task, result in unseen_results(report, SUGGESTED)
        for run in result["runs"]
    }


def _p_values(found: PairedComparison) -> tuple[float, float]:
    return found.t_test.p_value, found.wilcoxon.p_value


def _compare_points(own: np.ndarray, other: np.ndarray) -> tuple[PairedComparison, NonInferiority]:
    """Return the difference of two methods' points, and whether the first is no worse."""
    return compare_paired(own, other, tie=TIE_POINTS), show_non_inferiority(
        own - other, MARGIN_POINTS
    )


def _compare(report: Report, rival: str) -> tuple[PairedComparison, NonInferiority]:
    own, other = (np.array(points_of(report, method)) for method in (SUGGESTED, rival))
    return _compare_points(own, other)


def points_of(report: Report, method: str) -> list[float]:
    """Return a method's mean score over the seeds on each task that counts, in points."""
    return [100 * result["score"] for _, result in unseen_results(report, method)]


def unseen_results(report: Report, method: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return a method's result on each task that counts, with the task's name."""
    return [
        (task["task"], result)
        for task in report["tasks"]
        if not task["is_seen"]
        for result in task["results"]
        if result["method"] == method
    ]


def standings(name: str, report: Report) -> Table:
    """Return the methods of one report: score, regret, seconds, failures."""
    title = f"{name}: {report['train_rows']} rows, {report['seeds']} seeds; {report['verdict']}"
    table = Table("method", "tasks", "points", "regret", "seconds", "runs", "failed", title=title)
    for one in report["standings"]:
        figures = (f"{one[key]:.2f}" for key in ("mean_points", "regret_points", "seconds"))
        counts = (str(one[key]) for key in ("runs", "failures"))
        table.add_row(one["method"], str(one["datasets"]), *figures, *counts)
    return table


def predictions(report: Report) -> str:
    """Say how many tasks' mean scores lie within the predicted intervals, and which do not."""
    found = _predicted(report)
    outside = [task for task, score, told in found if not told["low"] <= score <= told["high"]]
    bias = reached_less_predicted(report)
    exceptions = f", not those of {', '.join(outside)}" if outside else ""
    return (
        f"{len(found) - len(outside)} of {len(found)} mean scores lie within the predicted "
        f"interval{exceptions}; reached less predicted "
        f"{bias.mean_difference:+.1f} points (p {bias.t_test.p_value:.2g}, "
        f"{bias.wilcoxon.p_value:.2g})"
    )


def _predicted(report: Report) -> list[tuple[str, float, Mapping[str, float]]]:
    """Return task, mean score and prediction of what was suggested."""
    return [
        (task, result["score"], result["predicted"])
        for task, result in unseen_results(report, SUGGESTED)
    ]


def reached_less_predicted(report: Report) -> PairedComparison:
    """Compare the scores that were reached with those that were predicted, in points."""
    pairs = [(100 * score, 100 * told["score"]) for _, score, told in _predicted(report)]
    return compare_paired(*np.transpose(pairs))


def fresh_runs(reports: Mapping[str, Report]) -> FreshRuns:
    """Return what `metaft suggest` says of it; predictions are corrected over the sizes.

    Raises:
        SystemExit: If a size is missing, or the reports are of different priors or tasks.
    """
    if missing := [name for name in SIZES if name not in reports]:
        raise SystemExit(f"no report of {', '.join(missing)}: nothing is told of half a comparison")
    sized = [reports[name] for name in SIZES]
    told = {(*report["priors"], task["backbone"]) for report in sized for task in report["tasks"]}
    counts = {len(points_of(report, SUGGESTED)) for report in sized}
    if len(told) != 1 or len(counts) != 1:
        raise SystemExit("the reports are of different priors, backbones or numbers of tasks")
    ((prior, backbone),), (tasks,) = told, counts
    leads = {
        (one.at, one.rival): _lead(one.found, one.t_holm, one.wilcoxon_holm)
        for one in primary_tests(reports)
    }
    missed = [reached_less_predicted(report) for report in sized]
    t = holm([one.t_test.p_value for one in missed])
    wilcoxon = holm([one.wilcoxon.p_value for one in missed])
    sizes = (
        FreshSize(
            report["train_rows"],
            report["seeds"],
            *(leads[name, rival] for rival in RIVALS),
            _lead(missed[at], t[at], wilcoxon[at]),
        )
        for at, (name, report) in enumerate(zip(SIZES, sized, strict=True))
    )
    return FreshRuns(prior, backbone, tasks, tuple(sizes))


def _lead(found: PairedComparison, t_p_value: float, wilcoxon_p_value: float) -> Lead:
    interval = found.mean_interval
    return Lead(
        found.mean_difference,
        interval.low,
        interval.high,
        float(t_p_value),
        float(wilcoxon_p_value),
    )


def tests_table(tests: Sequence[FreshTest], title: str) -> Table:
    """Return one row per test."""
    table = Table("at", "rival", *DIFFERENCE, "no worse", title=title)
    for test in tests:
        told = tell_difference(test.found, test.t_holm, test.wilcoxon_holm)
        table.add_row(test.at, test.rival, *told, "yes" if test.no_worse.is_shown else "no")
    return table


DIFFERENCE = ("mean (95 %)", "shift", "t", "Wilcoxon", "d_z", "w/t/l")
"""Heads of the columns that `tell_difference` fills."""


def tell_difference(found: PairedComparison, t: float, wilcoxon: float) -> tuple[str, ...]:
    """Return the cells of a paired comparison, with p-values as they were corrected."""
    counts = found.win_tie_loss
    interval = f"({found.mean_interval.low:.2f}, {found.mean_interval.high:.2f})"
    return (
        f"{found.mean_difference:+.2f} {interval}",
        f"{found.shift:+.2f}",
        f"{t:.2g}",
        f"{wilcoxon:.2g}",
        f"{found.effect_size:.2f}",
        f"{counts.wins}/{counts.ties}/{counts.losses}",
    )


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="what compare_fresh.sh wrote to: OUT")
    parser.add_argument("--before", type=Path, help="another such folder, of an earlier prior")
    parser.add_argument("--prior", type=Path, help="folder of the prior that is told of it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
