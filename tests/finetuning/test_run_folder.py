from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from metaft.errors import RecipeError, UserError
from metaft.finetuning.loop import FineTuned, fine_tune
from metaft.finetuning.run_folder import check_out_folder, load_recipe_of_run, save_run
from metaft.recipes import Recipe

RECIPE = Recipe(
    learning_rate=1e-2, epochs=6, batch_size=8, precision="fp32", max_length=32, image_size=32
)


def _save(folder: Path, tuned: FineTuned, task: Any) -> None:
    assert tuned.model is not None
    outcome = tuned.outcome
    trace = {
        "backbone": "random/bert-2",
        "best_epoch": outcome.best_epoch,
        "validation": outcome.validation,
        "test": outcome.test,
        "curve": [
            {
                "epoch": record.epoch,
                "train_loss": record.train_loss,
                "validation": record.validation,
                "train_seconds": record.train_seconds,
            }
            for record in outcome.curve
        ],
        "costs": {"wall_seconds": 1.0, "cpu_seconds": 1.0, "peak_memory_mib": 100.0},
        "precision": outcome.precision,
        "device": outcome.device,
    }
    predicted = {"metric": task.metric, "score": 0.8, "low": 0.7, "high": 0.9}
    save_run(
        folder,
        model=tuned.model,
        task=task,
        recipe=RECIPE,
        trace=trace,
        init="pretrained",
        predicted=predicted,
    )


@pytest.mark.parametrize("kind", ["classification", "pair_classification", "regression"])
@pytest.mark.parametrize("pooling", ["mean", "native"])
def test_plain_transformers_gives_the_same_predictions(
    tiny_text_backbone, tiny_task, tmp_path: Path, kind: str, pooling: str
) -> None:
    task = tiny_task(kind=kind, classes=3)
    tuned = fine_tune(task, tiny_text_backbone(pooling=pooling), RECIPE)
    _save(tmp_path / "run", tuned, task)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run")
    pairs = None if task.test.text_pairs is None else list(task.test.text_pairs)
    texts = tokenizer(list(task.test.texts), pairs, padding=True, return_tensors="pt")
    backbone = tuned.model.backbone
    examples = backbone.encode(task.test, max_length=32, image_size=32)
    with torch.no_grad():
        theirs = model(**texts).logits
        ours = tuned.model.eval()(backbone.collate(examples, range(len(examples))))
    assert torch.allclose(theirs, ours, atol=5e-3)
    assert type(model).__module__.startswith("transformers.")


def test_the_pipeline_names_the_classes(tiny_text_backbone, tiny_task, tmp_path: Path) -> None:
    task = tiny_task(rows=64)
    _save(tmp_path / "run", fine_tune(task, tiny_text_backbone(), RECIPE), task)
    answers = pipeline("text-classification", model=str(tmp_path / "run"))(list(task.test.texts))
    assert {answer["label"] for answer in answers} <= set(task.label_names)
    right = [
        answer["label"] == task.label_names[label]
        for answer, label in zip(answers, task.test.labels, strict=True)
    ]
    assert np.mean(right) > 0.8


def test_plain_timm_gives_the_same_predictions(
    tiny_image_backbone, tiny_task, tmp_path: Path
) -> None:
    import timm

    task = tiny_task(kind="image_classification")
    tuned = fine_tune(task, tiny_image_backbone(), RECIPE)
    _save(tmp_path / "run", tuned, task)
    model = timm.create_model(f"local-dir:{tmp_path / 'run'}", pretrained=True).eval()
    backbone = tuned.model.backbone
    examples = backbone.encode(task.test, max_length=32, image_size=32)
    batch = backbone.collate(examples, range(len(examples)))
    with torch.no_grad():
        assert torch.allclose(model(batch["pixels"]), tuned.model.eval()(batch), atol=1e-4)


def test_the_folder_holds_what_the_design_says(
    tiny_text_backbone, tiny_task, tmp_path: Path
) -> None:
    task = tiny_task()
    _save(tmp_path / "run", fine_tune(task, tiny_text_backbone(), RECIPE), task)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"model.safetensors", "config.json", "recipe.yaml", "trace.json", "README.md"} <= names
    assert Recipe.from_mapping(yaml.safe_load((tmp_path / "run/recipe.yaml").read_text())) == RECIPE
    assert load_recipe_of_run(tmp_path / "run") == RECIPE
    assert json.loads((tmp_path / "run/trace.json").read_text())["precision"] == "fp32"
    card = (tmp_path / "run/README.md").read_text()
    assert "The prior expected accuracy 0.800 (0.700 to 0.900)" in card
    assert 'pipeline("text-classification"' in card
    assert not list(tmp_path.glob(".*")), "nothing half-written stays behind"


def test_a_score_that_is_no_number_loses_no_run(
    tiny_text_backbone, tiny_task, tmp_path: Path
) -> None:
    task = tiny_task()
    tuned = fine_tune(task, tiny_text_backbone(), RECIPE.with_settings({"epochs": 1}))
    texts: Any = dict.fromkeys(tuned.outcome.test, "nan")  # As a trace has it.
    outcome = dataclasses.replace(tuned.outcome, test=texts)
    _save(tmp_path / "run", FineTuned(tuned.model, outcome), task)
    accuracy = outcome.validation["accuracy"]
    assert f"| accuracy | {accuracy:.4f} | nan |" in (tmp_path / "run/README.md").read_text()


def test_a_failed_write_leaves_nothing(
    tiny_text_backbone, tiny_task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tiny_task()
    tuned = fine_tune(task, tiny_text_backbone(), RECIPE)
    monkeypatch.setattr(Recipe, "save", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        _save(tmp_path / "run", tuned, task)
    assert list(tmp_path.iterdir()) == []


def test_only_a_run_is_overwritten(tmp_path: Path) -> None:
    check_out_folder(tmp_path / "new", overwrite=False)
    check_out_folder(tmp_path, overwrite=False)  # Empty.
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="not empty"):
        check_out_folder(tmp_path, overwrite=False)
    with pytest.raises(UserError, match="no Run of metaft"):
        check_out_folder(tmp_path, overwrite=True)
    (tmp_path / "trace.json").write_text("{}")
    check_out_folder(tmp_path, overwrite=True)
    with pytest.raises(UserError, match="a file"):
        check_out_folder(tmp_path / "thesis.tex", overwrite=True)


def test_a_folder_without_a_recipe_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="holds no recipe"):
        load_recipe_of_run(tmp_path)
