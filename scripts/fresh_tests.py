"""Test what `scripts/compare_fresh.sh` has run, by the protocol of docs/prior.md ("Fresh runs").

    python scripts/fresh_tests.py runs/fresh

The folder holds the reports `at-128`, `at-512` and `searches`. A task counts once, with its mean
over seeds. Suggestion against plain and against best-average, at both sizes: one family, corrected
by Holm; while a report is missing its tests count with p = 1, so the others are judged no milder
for it.
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
from metaft.prior.comparisons import MARGIN_POINTS, TIE_POINTS
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

Report = Mapping[str, Any]
"""What `report.json` holds, see `metaft.comparing.report.Report`."""


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
    folder = _parse_arguments().folder
    reports = read_reports(folder)
    console = Console()
    for name, report in reports.items():
        console.print(standings(name, report), predictions(report))
    console.print(tests_table(primary_tests(reports), "Holm over both sizes and both rivals"))
    if searched := search_test(reports):
        console.print(tests_table(searched, "not corrected: one test"))


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
    p_values = found.t_test.p_value, found.wilcoxon.p_value
    return [FreshTest(SEARCHES, SEARCHED, found, no_worse, *p_values)]


def _compare(report: Report, rival: str) -> tuple[PairedComparison, NonInferiority]:
    own, other = (np.array(points_of(report, method)) for method in (SUGGESTED, rival))
    return compare_paired(own, other, tie=TIE_POINTS), show_non_inferiority(
        own - other, MARGIN_POINTS
    )


def points_of(report: Report, method: str) -> list[float]:
    """Return a method's mean score over the seeds on each task that counts, in points."""
    return [
        100 * result["score"]
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
    found = [
        (task["task"], result["score"], result["predicted"])
        for task in report["tasks"]
        if not task["is_seen"]
        for result in task["results"]
        if result["method"] == SUGGESTED
    ]
    outside = [task for task, score, told in found if not told["low"] <= score <= told["high"]]
    bias = compare_paired(*np.transpose([(100 * s, 100 * told["score"]) for _, s, told in found]))
    exceptions = f", not those of {', '.join(outside)}" if outside else ""
    return (
        f"{len(found) - len(outside)} of {len(found)} mean scores lie within the predicted "
        f"interval{exceptions}; reached less predicted "
        f"{bias.mean_difference:+.1f} points (p {bias.t_test.p_value:.2g}, "
        f"{bias.wilcoxon.p_value:.2g})"
    )


def tests_table(tests: Sequence[FreshTest], title: str) -> Table:
    """Return one row per test."""
    columns = ("at", "rival", "mean (95 %)", "shift", "t", "Wilcoxon", "d_z", "w/t/l", "no worse")
    table = Table(*columns, title=title)
    for test in tests:
        found, counts = test.found, test.found.win_tie_loss
        interval = f"({found.mean_interval.low:.2f}, {found.mean_interval.high:.2f})"
        table.add_row(
            test.at,
            test.rival,
            f"{found.mean_difference:+.2f} {interval}",
            f"{found.shift:+.2f}",
            f"{test.t_holm:.2g}",
            f"{test.wilcoxon_holm:.2g}",
            f"{found.effect_size:.2f}",
            f"{counts.wins}/{counts.ties}/{counts.losses}",
            "yes" if test.no_worse.is_shown else "no",
        )
    return table


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="what compare_fresh.sh wrote to: OUT")
    return parser.parse_args()


if __name__ == "__main__":
    main()
