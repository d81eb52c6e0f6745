"""The tests of the fresh comparison, on reports made up."""

from __future__ import annotations

import json
from pathlib import Path

import fresh_tests
import pytest
from rich.console import Console
from scipy import stats

from metaft.prior.fresh_runs import FreshRuns

_RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"

PLAIN = [50.0, 60.0, 70.0, 80.0, 55.0, 65.0, 75.0]
AVERAGE = [55.0, 62.0, 71.0, 80.5, 58.0, 66.0, 74.0]
LEARNED = [56.0, 63.5, 72.5, 81.0, 57.0, 68.0, 77.5]
PREDICTED = {"score": 0.7, "low": 0.565, "high": 0.78}


def _report(points: dict[str, list[float]], seen: tuple[int, ...] = ()) -> dict:
    tasks = [
        {
            "task": f"task {at}",
            "backbone": "minilm",
            "is_seen": at in seen,
            "results": [
                {"method": method, "score": values[at] / 100, "predicted": PREDICTED}
                for method, values in points.items()
            ],
        }
        for at in range(len(PLAIN))
    ]
    standing = {"datasets": 7, "mean_points": 1.0, "regret_points": 2.0, "seconds": 3.0}
    standings = [{"method": name, "runs": 35, "failures": 1, **standing} for name in points]
    return {
        "priors": ["tiny 0.3.0"],
        "train_rows": 128,
        "seeds": 5,
        "verdict": "So it is.",
        "tasks": tasks,
        "standings": standings,
    }


@pytest.fixture
def report() -> dict:
    return _report({"plain": PLAIN, "best-average": AVERAGE, "learned": LEARNED})


def _raw(rival: list[float]) -> tuple[float, float]:
    differences = [own - other for own, other in zip(LEARNED, rival, strict=True)]
    return stats.ttest_1samp(differences, 0).pvalue, stats.wilcoxon(differences).pvalue


def test_a_missing_size_makes_no_test_milder(report) -> None:
    (plain, average) = fresh_tests.primary_tests({"at-128": report})
    t, wilcoxon = _raw(PLAIN)
    assert plain.found.mean_difference == pytest.approx(sum(LEARNED) / 7 - sum(PLAIN) / 7)
    assert plain.t_holm == pytest.approx(4 * t), "the smallest of a family of four"
    assert plain.wilcoxon_holm == pytest.approx(4 * wilcoxon)
    assert average.t_holm == pytest.approx(3 * _raw(AVERAGE)[0])


def test_both_sizes_are_one_family(report) -> None:
    tests = fresh_tests.primary_tests({"at-128": report, "at-512": report})
    assert [(one.at, one.rival) for one in tests] == [
        ("at-128", "plain"),
        ("at-128", "best-average"),
        ("at-512", "plain"),
        ("at-512", "best-average"),
    ]
    assert tests[2].t_holm == pytest.approx(4 * _raw(PLAIN)[0])


def test_seen_tasks_do_not_count() -> None:
    report = _report({"plain": PLAIN, "best-average": AVERAGE, "learned": LEARNED}, seen=(0, 3))
    (plain, _) = fresh_tests.primary_tests({"at-128": report})
    assert plain.found.pairs == 5


def test_the_search_is_a_test_of_its_own(report) -> None:
    assert fresh_tests.search_test({"at-128": report}) == []
    (one,) = fresh_tests.search_test({"searches": _report({"learned": PLAIN, "tpe-10": LEARNED})})
    assert one.found.mean_difference < 0
    assert one.t_holm == one.found.t_test.p_value
    assert not one.no_worse.is_shown


def test_the_suggestion_of_before_is_compared_on_what_both_have(report) -> None:
    def with_runs(shift: float, seeds: int) -> dict:
        made = json.loads(json.dumps(report))
        for task in made["tasks"]:
            for result in task["results"]:
                # The third seed is far better; only one of both reports has it.
                scores = [result["score"] + shift, result["score"] + shift, 0.99][:seeds]
                result["runs"] = [{"seed": at, "score": one} for at, one in enumerate(scores)]
        return made

    (one,) = fresh_tests.earlier_tests({"at-512": with_runs(0.01, 3)}, {"at-512": with_runs(0, 2)})
    assert (one.at, one.rival, one.found.pairs) == ("at-512", "learned before", 7)
    assert one.found.mean_difference == pytest.approx(1.0)
    assert one.no_worse.is_shown


def test_reports_are_read_and_printed(report, tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "at-128").mkdir()
    (tmp_path / "at-128" / "report.json").write_text(json.dumps(report))
    monkeypatch.setattr("sys.argv", ["fresh_tests.py", str(tmp_path)])
    monkeypatch.setattr(fresh_tests, "Console", lambda: Console(width=200))
    fresh_tests.main()
    said = capsys.readouterr().out
    assert "So it is." in said
    assert "5 of 7 mean scores lie within" in said
    assert "not those of task 0, task 3;" in said
    assert f"{sum(LEARNED) / 7 - 70:+.1f} points" in said
    assert "+2.93" in said
    assert "not corrected" not in said, "nothing has been searched"


def test_a_prior_is_told_what_was_found(report, tmp_path: Path, monkeypatch) -> None:
    for name, rows in (("at-128", 128), ("at-512", 512)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps({**report, "train_rows": rows}))
    prior = tmp_path / "prior"
    prior.mkdir()
    monkeypatch.setattr("sys.argv", ["fresh_tests.py", str(tmp_path), "--prior", str(prior)])
    fresh_tests.main()
    runs = FreshRuns.read(prior)
    assert (runs.prior, runs.backbone, runs.tasks) == ("tiny 0.3.0", "minilm", 7)
    assert [size.train_rows for size in runs.sizes] == [128, 512]
    found = runs.sizes[0]
    assert found.on_plain.points == pytest.approx(sum(LEARNED) / 7 - sum(PLAIN) / 7)
    assert found.on_average.points == pytest.approx(sum(LEARNED) / 7 - sum(AVERAGE) / 7)
    assert found.on_plain.t_p_value == pytest.approx(4 * _raw(PLAIN)[0])
    assert found.on_predicted.points == pytest.approx(sum(LEARNED) / 7 - 70)
    missed = stats.ttest_1samp([points - 70 for points in LEARNED], 0).pvalue
    assert found.on_predicted.t_p_value == pytest.approx(min(1, 2 * missed))


@pytest.mark.parametrize(
    ("change", "message"),
    [({}, "no report of at-512"), ({"priors": ["other 1.0"]}, "different priors")],
)
def test_a_prior_is_told_nothing_of_half_a_comparison(report, change, message) -> None:
    reports = {"at-128": report, **({"at-512": {**report, **change}} if change else {})}
    with pytest.raises(SystemExit, match=message):
        fresh_tests.fresh_runs(reports)


def test_a_folder_without_reports_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no report"):
        fresh_tests.read_reports(tmp_path)


@pytest.mark.parametrize("folder", ["fresh", "fresh-0.3.0"])
def test_the_figures_of_the_page_are_those_of_the_reports(folder: str) -> None:
    reports = fresh_tests.read_reports(_RESULTS / folder)
    said = (_RESULTS.parent / "prior.md").read_text()
    earlier = fresh_tests.earlier_tests(reports, fresh_tests.read_reports(_RESULTS / "fresh-0.3.0"))
    for test in [
        *fresh_tests.primary_tests(reports),
        *fresh_tests.search_test(reports),
        *(earlier if folder == "fresh" else ()),
    ]:
        found, counts = test.found, test.found.win_tie_loss
        interval = f"({found.mean_interval.low:.2f}, {found.mean_interval.high:.2f})"
        row = f"| {test.rival} | {found.mean_difference:+.2f} {interval} | {found.shift:+.2f} |"
        assert row in said
        assert f"| {found.effect_size:.2f} | {counts.wins}/{counts.ties}/{counts.losses} |" in said
    for report in reports.values():
        for one in report["standings"]:
            figures = [one[key] for key in ("mean_points", "regret_points", "seconds")]
            assert " | ".join(f"{value:.2f}" for value in figures) in said
