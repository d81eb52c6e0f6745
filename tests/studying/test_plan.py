from __future__ import annotations

from pathlib import Path

import pytest

from metaft.backbones.load import load_backbone
from metaft.errors import BackboneError, StudyError, TaskError
from metaft.studying.plan import plan_study
from metaft.traces.store import TraceStore

FREEZING = {"none": {}, "half": {"frozen_fraction": 0.5}}


@pytest.fixture
def store(tmp_path: Path) -> TraceStore:
    return TraceStore(f"sqlite:///{tmp_path}/traces.db")


def test_a_plan_holds_every_run(card_of, files: list[str], store) -> None:
    plan = plan_study(card_of(factors={"freezing": FREEZING}, seeds=2), "small", store)
    assert [unit.task for unit in plan.units] == files
    assert len(plan.runs) == len({key for unit in plan.units for key in unit.keys.values()}) == 8
    assert {run.recipe.frozen_fraction for run in plan.runs} == {0.0, 0.5}
    assert [run.seed for run in plan.runs] == [0] * 4 + [1] * 4, "one seed complete first"
    assert plan.left_out == ()


def test_what_does_not_fit_a_task_is_left_out_with_its_reason(card_of, files, store) -> None:
    levels = {"none": {}, "flip": {"augmentation": "flip"}, "swap": {"augmentation": "swap"}}
    plan = plan_study(card_of(factors={"augmentation": levels}), "small", store)
    assert set(plan.units[0].arms) == {("none",), ("swap",)}
    first = plan.left_out[0]
    assert (first.task, first.what) == (files[0], "augmentation: flip")
    assert "allowed there are synonyms" in first.why


def test_a_warmup_that_is_longer_than_the_run_is_left_out(card_of, store) -> None:
    levels = {"none": {}, "2": {"warmup_steps": 2}, "3": {"warmup_steps": 3}}
    plan = plan_study(card_of(factors={"warm-up": levels}), "small", store)
    assert set(plan.units[0].arms) == {("none",), ("2",)}, "16 rows in batches of 8 are 2 steps"
    assert "warmup_steps is 3, but the run has 2 steps" in plan.left_out[0].why


def test_tasks_that_cannot_be_loaded_are_left_out(card_of, files, tmp_path, store) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text("nothing\n")
    plan = plan_study(
        card_of(factors={"freezing": FREEZING}, tasks=[files[0], str(broken)]), "small", store
    )
    assert len(plan.units) == 1
    assert (plan.left_out[0].task, plan.left_out[0].what) == (str(broken), "")
    with pytest.raises(StudyError, match="nothing of 'tiny' can be run"):
        plan_study(card_of(factors={"freezing": FREEZING}, tasks=[str(broken)]), "small", store)


def test_unknown_tasks_and_backbones_are_errors(card_of, store) -> None:
    with pytest.raises(TaskError, match="no task 'sms_spm'"):
        plan_study(card_of(factors={"freezing": FREEZING}, tasks=["sms_spm"]), "small", store)
    wrong = card_of(factors={"freezing": FREEZING}, backbones=["no/such"])
    with pytest.raises(BackboneError, match="no/such"):
        plan_study(wrong, "small", store, offline=True)


def test_methods_become_recipes_searches_and_starts(card_of, store) -> None:
    card = card_of(
        methods=["plain", "mine", "search-grid-2", "init-maml"],
        recipes={"mine": {"schedule": "adaptive"}},
        search_space={"learning_rate": [1e-3, 1e-2]},
    )
    plan = plan_study(card, "small", store, offline=True)
    arms = plan.units[0].arms
    assert set(arms) == {("plain",), ("mine",), ("search-grid-2",)}
    assert arms["plain",].recipe.learning_rate == 5e-5
    assert arms["mine",].recipe.schedule == "adaptive"
    assert arms["mine",].recipe.epochs == 1, "what the base sets holds for all methods"
    assert arms["search-grid-2",].search is not None
    assert len(list(plan.searches)) == 2
    assert len(plan.runs) == 4
    (why,) = {one.why for one in plan.left_out}
    assert "--inits names no folder" in why
    assert "metaft meta-train --tasks all --stages init --algorithm maml" in why
    assert "--held-out" in why


def test_what_a_method_chooses_is_not_taken_back_by_the_base(card_of, store) -> None:
    base = {"learning_rate": 1e-5, "epochs": 9, "max_length": 16}
    plan = plan_study(card_of(methods=["plain", "half_frozen"], base=base), "small", store)
    plain, half = (arm.recipe for arm in plan.units[0].arms.values())
    assert (plain.learning_rate, plain.epochs, plain.max_length) == (1e-5, 9, 16)
    assert (half.learning_rate, half.epochs, half.max_length) == (3e-4, 3, 16)


def test_a_space_that_does_not_fit_is_left_out(card_of, store) -> None:
    card = card_of(
        methods=["plain", "search-asha-2"],
        search_space={"schedule": ["linear", "cosine"], "epochs": [2]},
    )
    plan = plan_study(card, "small", store)
    assert set(plan.units[0].arms) == {("plain",)}
    assert "the space varies schedule" in plan.left_out[0].why


def test_a_start_is_the_backbone_with_the_learned_weights(
    card_of, store, tmp_path, backbone_folder: str
) -> None:
    import torch

    from metaft.metalearning.initialisation import Initialisation
    from metaft.metalearning.settings import MetaSettings

    pretrained = load_backbone(backbone_folder)
    name, weight = next(iter(pretrained.named_parameters()))
    moved = Initialisation(
        differences={name: torch.ones_like(weight, dtype=torch.bfloat16)},
        backbone=backbone_folder,
        backbone_fingerprint=pretrained.fingerprint,
        settings=MetaSettings(algorithm="maml"),
        tasks=("sms_spam",),
        steps=1,
        train_seconds=1.0,
        peak_memory_mib=1.0,
    )
    moved.save(tmp_path / "inits" / "maml" / "init.safetensors")
    card = card_of(methods=["plain", "init-maml", "init-reptile"])
    plan = plan_study(card, "small", store, inits=tmp_path / "inits")
    start = plan.units[0].arms["init-maml",].start
    assert start.tasks == ("sms_spam",)
    assert not plan.units[0].is_seen
    loaded = load_backbone(start.identity)
    assert loaded.fingerprint == start.fingerprint != pretrained.fingerprint
    assert torch.equal(dict(loaded.named_parameters())[name], weight + 1)
    assert len(set(plan.units[0].keys.values())) == 2
    assert "there is no" in plan.left_out[0].why
    again = plan_study(card, "small", store, inits=tmp_path / "inits")
    assert again.units[0].keys == plan.units[0].keys, "so that the study goes on where it was"
