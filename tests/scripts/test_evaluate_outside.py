from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import evaluate_outside
import numpy as np
import pytest

from metaft.recipes import Recipe


def _backbone(validation: list[float], test: list[float]) -> evaluate_outside.Backbone:
    recipes = tuple(
        Recipe(learning_rate=1e-5 * (at + 1), schedule="linear") for at in range(len(test))
    )
    return evaluate_outside.Backbone("b", recipes, 500, np.array(validation), np.array(test))


@pytest.mark.parametrize("trials", [1, 2, 3, 6])
def test_random_search_is_expected_over_all_subsets(trials: int) -> None:
    target = _backbone([5, 3, 1, 4, 2, 6], [10, 40, 20, 80, 50, 30])
    subsets = list(itertools.combinations(range(6), trials))
    scores = [target.test[max(s, key=lambda at: target.validation[at])] for s in subsets]
    assert evaluate_outside.expect_random(target, trials) == pytest.approx(np.mean(scores))


def test_regret_is_below_the_best_on_validation() -> None:
    target = _backbone([1, 4, 2, 3], [90, 80, 60, 50])
    figures = evaluate_outside.Figures.of(75.0, target)
    assert figures.regret == 5.0
    assert figures.flattered_regret == 15.0
    assert figures.normalised_regret == 0.5


def test_choosers_learn_from_the_seen_runs_alone() -> None:
    validation = [float(50 + at) for at in range(20)]
    source = _backbone([*validation, 0.0], [0.0] * 21)
    assert evaluate_outside.choose_best(source, np.arange(10)) == 9
    assert evaluate_outside.choose_by_surrogate(source, np.arange(20)) >= 15


def test_both_directions_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluate_outside, "SOURCE_RUNS", (16, 64))
    rng = np.random.default_rng(0)
    rates = 10 ** rng.uniform(-6, -3, 120)
    for name, level in (("one", 0.8), ("other", 0.9)):
        with (tmp_path / f"{name}.jsonl").open("w") as file:
            for rate in rates.tolist():
                file.write(json.dumps(_run(rate, level - 0.1 * (np.log10(rate) + 4.5) ** 2)) + "\n")
    evaluate_outside.main([str(tmp_path / "one.jsonl"), str(tmp_path / "other.jsonl")])
    printed = capsys.readouterr().out
    assert "## one -> other, 120 recipes" in printed
    assert "## other -> one, 120 recipes" in printed
    (line, _) = (line for line in printed.splitlines() if line.startswith("| surrogate: "))
    assert float(line.split("|")[3]) < 0.5


def _run(rate: float, score: float) -> dict[str, Any]:
    return {
        "num_train_epochs": 3,
        "train_batch_size": 16,
        "total_model_steps": 300,
        "learning_rate": rate,
        "warmup_steps": 30,
        "cls_drop_out": 0.1,
        "learning_curves": {"matched": [[300, score]], "mismatched": [[300, score]]},
    }
