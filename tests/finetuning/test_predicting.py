from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from metaft.errors import RecipeError, UserError
from metaft.finetuning.loop import FineTuned, fine_tune
from metaft.finetuning.metrics import score_classes
from metaft.finetuning.predicting import open_run
from metaft.finetuning.run_folder import save_run
from metaft.recipes import Recipe
from metaft.tasks.task import Split, Task

RECIPE = Recipe(
    learning_rate=1e-2, epochs=6, batch_size=8, precision="fp32", max_length=40, image_size=32
)


@pytest.fixture
def trained(tiny_text_backbone, tiny_image_backbone, tiny_task, tmp_path: Path):
    """Return a function that trains on a tiny task and saves the Run."""

    def train(kind: str, **settings: object) -> tuple[Task, FineTuned, Path]:
        is_image = kind == "image_classification"
        backbone = tiny_image_backbone() if is_image else tiny_text_backbone()
        task, recipe = tiny_task(rows=64, kind=kind), RECIPE.with_settings(settings)
        tuned = fine_tune(task, backbone, recipe)
        outcome = tuned.outcome
        trace = {
            "backbone": backbone.identity,
            "best_epoch": outcome.best_epoch,
            "validation": outcome.validation,
            "test": outcome.test,
            "curve": [],
            "costs": {"wall_seconds": 1.0, "cpu_seconds": 1.0, "peak_memory_mib": 100.0},
            "precision": "fp32",
            "device": "cpu",
        }
        assert tuned.model is not None
        save_run(
            tmp_path / "run",
            model=tuned.model,
            task=task,
            recipe=recipe,
            trace=trace,
            init="pretrained",
            predicted=None,
        )
        return task, tuned, tmp_path / "run"

    return train


@pytest.mark.parametrize("kind", ["classification", "pair_classification", "image_classification"])
def test_classes_are_those_of_the_run(trained, kind: str) -> None:
    task, tuned, folder = trained(kind)
    found = open_run(folder).predict(task.test)
    probabilities = np.array([list(row["probabilities"].values()) for row in found])
    scores = score_classes(np.log(np.maximum(probabilities, 1e-9)), task.test.labels)
    assert scores["accuracy"] == tuned.outcome.test["accuracy"]
    assert scores["loss"] == pytest.approx(tuned.outcome.test["loss"], abs=1e-2)
    assert found[0]["label"] in task.label_names


def test_values_are_in_the_units_of_the_task(trained) -> None:
    task, tuned, folder = trained("regression")
    found = [row["value"] for row in open_run(folder).predict(task.test)]
    assert tuned.model is not None
    backbone = tuned.model.backbone
    examples = backbone.encode(task.test, max_length=40, image_size=0)
    with torch.no_grad():
        own = tuned.model.eval()(backbone.collate(examples, range(len(examples))))[:, 0]
    assert np.allclose(found, own, atol=1e-2)


@pytest.mark.parametrize("head", ["linear", "crf"])
def test_tags_are_those_of_the_run(trained, head: str) -> None:
    task, tuned, folder = trained("ner", head=head)
    found = open_run(folder).predict(Split(labels=np.zeros(len(task.test)), texts=task.test.texts))
    hits = [
        [word["tag"] for word in row["words"]] == [task.label_names[tag] for tag in tags]
        for row, tags in zip(found, task.test.tags or (), strict=True)
    ]
    assert np.mean(hits) > 0.9
    assert tuned.outcome.test["entity_f1"] > 0.9
    assert (folder / "crf.safetensors").exists() is (head == "crf")


def test_entities_stand_in_the_text_as_it_was_given(trained) -> None:
    _, _, folder = trained("ner")
    text = "the  old (river) was near"
    (found,) = open_run(folder).predict(Split(labels=np.zeros(1), texts=(text,)))
    assert [word["word"] for word in found["words"]] == [
        *("the", "old", "(", "river", ")", "was", "near")
    ]
    for entity in found["entities"]:
        assert text[entity["start"] : entity["end"]] == entity["text"]
    assert [entity["text"] for entity in found["entities"]] == ["river"]


def test_answers_are_those_of_the_run(trained) -> None:
    task, tuned, folder = trained("qa", max_length=16)
    found = open_run(folder).predict(task.test)
    right = [
        row["answer"] == answers[0].text
        for row, answers in zip(found, task.test.answers or (), strict=True)
    ]
    assert np.mean(right) == pytest.approx(tuned.outcome.test["exact_match"])
    for row, context in zip(found, task.test.text_pairs or (), strict=True):
        assert context[row["start"] : row["end"]] == row["answer"]


def test_a_head_beside_its_encoder_is_found(trained, monkeypatch: pytest.MonkeyPatch) -> None:
    from metaft.backbones import text_saving

    monkeypatch.setattr(text_saving, "with_token_head", lambda *_: None)
    task, _, folder = trained("ner")
    assert (folder / "head.safetensors").exists()
    predictor = open_run(folder)
    assert predictor.label_names == task.label_names
    found = predictor.predict(Split(labels=np.zeros(1), texts=("the old river was",)))
    assert [entity["text"] for entity in found[0]["entities"]] == ["river"]


def test_texts_beyond_the_models_positions_are_cut(trained) -> None:
    _, _, folder = trained("classification", max_length=4096, epochs=1)  # It has 64 positions.
    (found,) = open_run(folder).predict(Split(labels=np.zeros(1), texts=("the river " * 100,)))
    assert found["probability"] > 0


def test_a_text_without_words_has_no_entities(trained) -> None:
    _, _, folder = trained("ner", epochs=1)
    found = open_run(folder).predict(Split(labels=np.zeros(2), texts=(" ", "the river")))
    assert found[0] == {"entities": [], "words": []}
    assert len(found[1]["words"]) == 2


def test_what_is_no_run_is_refused(trained, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"holds no recipe\.yaml"):
        open_run(tmp_path)
    _, _, folder = trained("classification")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be loaded"):
        open_run(folder)
    (folder / "trace.json").write_text(json.dumps({}))
    with pytest.raises(UserError, match="cannot be loaded"):
        open_run(folder)


def test_nothing_is_drawn_at_random(trained) -> None:
    task, _, folder = trained("classification")
    torch.manual_seed(1)
    first = open_run(folder).predict(task.test)
    torch.manual_seed(2)
    assert open_run(folder).predict(task.test) == first
