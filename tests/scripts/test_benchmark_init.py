"""The comparison of initialisations: by rule, resumable, chosen apart from what is tested."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import benchmark_init
import few_shot_cells
import few_shot_choice
import few_shot_solving
import init_evidence
import init_figure
import init_report
import init_significance
import pytest
from few_shot_cells import DEVELOP, DEVELOP_MANY, FEW, MANY, Cell, Plan, Result
from held_out import NAMED, Split, split_datasets

from metaft.errors import PriorError, TaskError
from metaft.metalearning.train import meta_train
from metaft.prior.starting import StartEvidence, recommend_start
from metaft.recipes import Recipe
from metaft.tasks.card import relatives_of
from metaft.tasks.mirror import MIRROR_VARIABLE

METHODS = (*few_shot_cells.SIMPLE, "reptile", "meta-sgd", few_shot_cells.LAYERED)
WORDS = ("one", "two", "three", "four")


@pytest.fixture
def plan(tmp_path, monkeypatch, tiny_text_backbone, tiny_task):
    """Return a plan over tiny tasks and a tiny backbone, with two initialisations of it."""
    tasks = {
        name: tiny_task(name=name, rows=120, classes=2, seed=at) for at, name in enumerate(WORDS)
    }
    backbone = tiny_text_backbone(depth=2)
    for cached in (few_shot_solving._learned_start, few_shot_solving.read_initialisation):
        cached.cache_clear()
    monkeypatch.setattr(few_shot_solving, "_loaded", tasks.__getitem__)
    monkeypatch.setattr(few_shot_solving, "_pretrained", lambda: backbone)
    monkeypatch.setattr(
        few_shot_solving, "load_backbone", lambda *_, **__: tiny_text_backbone(depth=2)
    )
    monkeypatch.setattr(few_shot_cells, "RATES", (1e-3,))
    monkeypatch.setattr(few_shot_solving, "STEPS", 2)
    monkeypatch.setattr(few_shot_solving, "MANY_STEPS", 2)
    recipe = Recipe(frozen_fraction=0.5, batch_size=8, max_length=32, precision="fp32")
    monkeypatch.setattr(few_shot_solving, "RECIPE", recipe)
    return Plan(tmp_path, Split(WORDS[:3], WORDS[3:], ()), METHODS, seeds=1, shots=(4, 8, 16))


@pytest.fixture
def trained(plan, tiny_task, small_settings):
    """Return the same plan with its initialisations."""
    for algorithm in ("reptile", "meta-sgd"):
        settings = small_settings(algorithm=algorithm, frozen_fraction=0.5, steps=1)
        task = tiny_task(name="source", rows=60, classes=3)
        found = meta_train([task], few_shot_solving._pretrained(), settings)
        found.save(plan.inits / algorithm / "init.safetensors")
    return plan


@pytest.fixture
def small_settings():
    from metaft.metalearning.settings import MetaSettings

    def build(**changed):
        values = {"inner_steps": 1, "meta_batch_size": 1, "shots": (4,), "query_shots": 3}
        return MetaSettings(max_length=32, precision="fp32", ways=(2,), **values, **changed)

    return build


def test_a_run_goes_on_where_it_was_killed_and_is_reported(trained, tmp_path, capsys):
    pytest.importorskip("learn2learn")
    path = tmp_path / "results.jsonl"
    whole = sum(len(group.cells) for group in few_shot_solving.groups_of(trained, FEW, []))
    assert whole == 3 * 3 * len(METHODS)
    group = next(few_shot_solving.groups_of(trained, FEW, []))
    for result in itertools.islice(
        few_shot_solving.solve(trained, group, time.monotonic() + 99), 5
    ):
        benchmark_init._append(path, result)
    with path.open("a") as file:
        file.write('{"cell": {"sta')  # A kill may tear a line.

    kept = benchmark_init.read_results(path)
    assert len(kept) == 5
    assert sum(len(g.cells) for g in few_shot_solving.groups_of(trained, FEW, kept)) == whole - 5
    benchmark_init.run(trained, path, benchmark_init.STAGES, workers=1, seconds=600)
    results = benchmark_init.read_results(path)
    assert len({result.cell for result in results}) == len(results)
    for stage in benchmark_init.STAGES:
        assert not list(few_shot_solving.groups_of(trained, stage, results))
    for stage in (DEVELOP_MANY, MANY):
        assert {r.cell.method for r in results if r.cell.stage == stage} == {
            "pretrained",
            few_shot_choice.best_meta_learned(results, METHODS),
        }
    results = few_shot_choice.only_chosen(results, METHODS)  # Some came before there was a choice.
    assert len([r for r in results if r.cell.stage == FEW]) == whole

    init_report.print_report(trained, results)
    page = capsys.readouterr().out
    for words in (
        "Test accuracy, points",
        "the best of the first four",
        "Mean steps to 95 %",
        "(a decay of ",
        "on the way",
    ):
        assert words in page
    assert "| reptile | 1 | 1 |" in page
    init_figure.draw_curves(results, METHODS, tmp_path / "curves.svg")
    figure = (tmp_path / "curves.svg").read_text()
    assert all(
        f"<!-- {text} -->" in figure for text in ("16 shots, 3 datasets", "lp-ft", "reptile")
    )
    assert not any(f"<!-- {text} -->" in figure for text in ("prototype", few_shot_cells.LAYERED))
    folder = trained.inits / "reptile"
    init_evidence.write_evidence(trained, results, folder)
    evidence = StartEvidence.read(folder)
    assert (evidence.algorithm, evidence.datasets) == ("reptile", 3)
    assert recommend_start(folder, evidence.backbone, 16).init in ("pretrained", "meta")

    bare = tmp_path / "prior"
    bare.mkdir()
    init_evidence.write_evidence(trained, results, bare)
    told = recommend_start(bare, evidence.backbone, 16).why
    best = few_shot_choice.best_meta_learned(results, METHODS)
    assert f"holds no meta-learned initialisation; {best} against" in told
    (bare / "init.safetensors").write_bytes(b"of another training")
    with pytest.raises(PriorError, match="was compared"):
        init_evidence.write_evidence(trained, results, bare)


def test_time_that_is_up_starts_nothing(plan, tmp_path):
    path = tmp_path / "results.jsonl"
    benchmark_init.run(plan, path, (DEVELOP, FEW), workers=1, seconds=-1)
    assert benchmark_init.read_results(path) == []


def test_methods_without_their_initialisation_are_left_out(plan):
    assert plan.available() == list(METHODS[:4])


def _result(method, accuracy, *, stage=FEW, dataset="one", shots=8, rate=1e-3, head="zero", seed=0):
    return Result(Cell(stage, dataset, seed, shots, method, rate, head), 16, accuracy, (), 1.0)


def test_rate_and_head_are_chosen_on_the_development_datasets_alone():
    results = [
        _result("reptile", 0.9, stage=DEVELOP, dataset=dataset, rate=3e-5, head="prototype")
        for dataset in ("one", "two")
    ]
    results += [_result("reptile", 0.85, stage=DEVELOP), _result("reptile", 1.0, stage=FEW)]
    chosen = few_shot_choice.chosen_options(results, ["reptile", "lp-ft", "prototype"], 8)
    assert chosen == {
        "reptile": (3e-5, "prototype"),
        "lp-ft": (3e-4, "linear_probe"),
        "prototype": (0.0, "prototype"),
    }


def test_each_size_has_its_own_choice_and_other_results_do_not_count():
    developed = [
        _result("reptile", 0.9, stage=DEVELOP, shots=8, rate=1e-3),
        _result("reptile", 0.8, stage=DEVELOP, shots=8, rate=1e-4),
        _result("reptile", 0.8, stage=DEVELOP, shots=32, rate=1e-3),
        _result("reptile", 0.9, stage=DEVELOP, shots=32, rate=1e-4),
        _result("reptile", 0.9, stage=DEVELOP_MANY, shots=0, rate=3e-5),
    ]
    rates = {4: 1e-3, 8: 1e-3, 16: 1e-3, 32: 1e-4, 0: 3e-5}
    for shots, rate in rates.items():
        chosen = few_shot_choice.chosen_options(developed, ["reptile"], shots)
        assert chosen == {"reptile": (rate, "zero")}
    made = [
        _result("reptile", 0.5, stage=FEW if shots else MANY, shots=shots, rate=rate)
        for shots in rates
        for rate in (3e-5, 1e-4, 1e-3)
    ]
    kept = few_shot_choice.only_chosen([*developed, *made], ["reptile"])
    assert kept[: len(developed)] == developed
    assert {r.cell.shots: r.cell.rate for r in kept[len(developed) :]} == rates
    assert len(kept) == len(developed) + len(rates)


def test_every_option_is_shown_with_the_chosen_one_bold():
    results = [
        _result("reptile", 0.9, stage=DEVELOP, rate=3e-4, head="prototype"),
        _result("reptile", 0.8, stage=DEVELOP, rate=1e-3),
        _result("prototype", 0.7, stage=DEVELOP, rate=0.0, head="prototype"),
        _result("reptile", 0.6, stage=DEVELOP_MANY, rate=1e-3, shots=0),
    ]
    lines = init_report._options(None, results, ["prototype", "reptile"])
    assert [line for line in lines if " at " in line] == [
        f"Accuracy on the development datasets at {size} by rate; the chosen bold:"
        for size in ("8 shots", "512 rows")
    ]
    assert [line for line in lines if line.startswith(("| p", "| r"))] == [
        "| prototype | prototype | **70.0** |  |  |  |  |",
        "| reptile | zero |  |  |  |  | 80.0 |",
        "| reptile | prototype |  |  |  | **90.0** |  |",
        "| reptile | zero |  |  |  |  | **60.0** |",
        "| reptile | prototype |  |  |  |  |  |",
    ]


def test_datasets_count_once_and_only_where_every_method_has_them():
    results = [
        _result(method, accuracy, dataset=dataset, seed=seed)
        for method, accuracy in (("pretrained", 0.5), ("reptile", 0.7))
        for dataset in ("one", "two")
        for seed in (0, 1)
    ]
    results += [_result("reptile", 0.1, dataset="alone"), _result("pretrained", 0.9, seed=2)]
    means = init_significance.means_of(results, FEW, 8, ["pretrained", "reptile"])
    assert means == {"pretrained": {"two": 50.0}, "reptile": {"two": pytest.approx(70.0)}}
    assert init_significance.means_of(results, FEW, (8, 16), ["pretrained", "reptile"]) == {}
    assert few_shot_choice.best_meta_learned(results, ["reptile"]) is None


def test_the_rival_is_the_best_simple_one_and_the_family_is_corrected_together():
    scores = {"pretrained": 0.5, "lp-ft": 0.6, "reptile": 0.65, "anil": 0.6}
    results = [
        _result(method, score + 0.01 * (at % 3) * (method == "reptile"), dataset=f"d{at}", shots=n)
        for method, score in scores.items()
        for at in range(12)
        for n in (4, 8, 16)
    ]
    assert init_significance.best_simple(results, list(scores)) == "lp-ft"
    tests = init_significance.paired_tests(results, list(scores), "lp-ft")
    assert set(tests) == {(m, n) for m in ("reptile", "anil") for n in (0, 4, 8, 16)}
    gain = tests["reptile", 0]
    assert gain.found.mean_difference == pytest.approx(6.0)
    assert gain.wilcoxon_p_value == pytest.approx(8 * gain.found.wilcoxon.p_value)
    assert tests["anil", 8].t_p_value == 1.0


@pytest.mark.parametrize(("rate", "told"), [(1e-3, 1), (1e-4, 0)])
def test_nothing_is_told_of_many_rows_where_the_rival_has_another_rate(rate, told):
    results = [
        _result(method, 0.5 + 0.01 * at * gain, stage=MANY, dataset=f"d{at}", shots=0, rate=own)
        for method, own, gain in (("pretrained", 1e-3, 1), ("anil", rate, 2))
        for at in range(8)
    ]
    found = init_evidence._evidence_of_many(results, "anil")
    assert len(found) == told
    assert [size.difference for size in found] == [pytest.approx(3.5)] * told
    assert init_evidence._evidence_of_many(results, "maml") == []


def test_a_report_needs_no_mirror_and_may_be_made_of_some_draws(tmp_path, monkeypatch, capsys):
    path = tmp_path / "results.jsonl"
    for seed, accuracy in ((0, 0.5), (1, 0.75)):
        for method in ("pretrained", "lp-ft"):
            head = "zero" if method == "pretrained" else "linear_probe"
            result = _result(method, accuracy, rate=3e-4, head=head, seed=seed)
            benchmark_init._append(path, result)
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    for draws, mean in (([], "62.5"), (["--draws", "1"], "75.0")):
        options = ["report", "--inits", str(tmp_path), "--results", str(path), *draws]
        monkeypatch.setattr("sys.argv", ["benchmark_init.py", *options])
        benchmark_init._main()
        assert f"| lp-ft |  | {mean} |" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["benchmark_init.py", "sources"])
    with pytest.raises(TaskError, match=MIRROR_VARIABLE):
        benchmark_init._main()


def test_starts_at_many_rows_are_compared_at_one_rate_and_with_themselves_at_another(capsys):
    results = [
        _result(method, accuracy + 0.01 * at, stage=MANY, dataset=f"d{at}", shots=0, rate=rate)
        for method, rate, accuracy in (
            ("pretrained", 1e-4, 0.6),
            ("anil", 1e-4, 0.55),
            ("anil", 3e-4, 0.5),
        )
        for at in range(8)
    ]
    init_report.print_by_rate([*results, _result("anil", 0.9)])
    page = capsys.readouterr().out
    assert "| anil at 0.0001 | pretrained at 0.0001 | -5.00 |" in page
    assert "| anil at 0.0001 | anil at 0.0003 | +5.00 |" in page
    assert "| anil at 0.0003 | pretrained at 0.0001 |" not in page
    assert "| pretrained at 0.0001 | anil at 0.0003 |" not in page
    init_report.print_by_rate([])
    assert capsys.readouterr().out == ""


def test_steps_are_those_of_the_first_look_that_reaches_the_share():
    curve = {0: 0.3, 4: 0.7, 8: 0.69, 20: 0.9}
    assert init_significance.steps_to_share(curve, 0.69) == 4
    assert init_significance.steps_to_share(curve, 0.95) == 24


def test_curves_are_means_over_the_datasets_that_every_method_has():
    looked = {"one": ((0, 0.2), (12, 0.6)), "two": ((0, 0.4), (12, 0.9))}
    results = [
        replace(_result(method, 0.5, dataset=dataset, shots=shots), curve=curve)
        for method in ("reptile", "prototype")
        for dataset, curve in looked.items()
        for shots in (4, 8, 16)
        if (method, dataset) != ("prototype", "two")
    ]
    datasets, means = init_significance.accuracies_on_the_way(results, ["reptile"], [4])
    assert (datasets, means) == (2, {"reptile": {0: pytest.approx(30.0), 12: pytest.approx(75.0)}})
    by_both = init_report._curves(None, results, ["reptile", "prototype"])
    assert "over 1 datasets" in by_both[0]
    assert by_both[-2:] == [f"| {m} | 20.0 |  |  |  |  | 60.0 |" for m in ("reptile", "prototype")]
    assert init_report._curves(None, results, ["reptile"])[-1].endswith(" 75.0 |")
    assert init_report._curves(None, [], ["reptile"]) == []


@pytest.mark.mirror
def test_datasets_are_split_by_rule():
    split = split_datasets()
    assert (len(split.test), len(split.development)) == (20, 5)
    assert set(NAMED) <= set(split.test)
    assert len(split.sources) >= 50
    held_out = {*split.test, *split.development}
    assert not held_out & set(split.sources)
    for name in held_out:
        assert not relatives_of(name) & set(split.sources)
        assert not relatives_of(name) & held_out
