"""Meta-training: reproducible, resumable, limited in time, and the pretrained weights stay."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from safetensors import safe_open

from metaft.errors import PriorError, RecipeError, RunFailedError, TaskError
from metaft.metalearning.algorithms import ALGORITHMS
from metaft.metalearning.initialisation import apply_initialisation, load_initialisation
from metaft.metalearning.train import _episode_at, meta_train, train_initialisation

NAMES = list(ALGORITHMS)


class _KilledError(Exception):
    """Stands for a kill between two steps."""


@pytest.fixture
def tasks(tiny_task):
    return [tiny_task(name=name, classes=3, rows=60, seed=at) for at, name in enumerate("ab")]


@pytest.fixture
def backbone(tiny_text_backbone):
    return tiny_text_backbone()


def _assert_same(left, right):
    assert set(left.differences) == set(right.differences)
    assert all(torch.equal(value, right.differences[k]) for k, value in left.differences.items())
    assert left.learned_rates == right.learned_rates


def _kill_after(step):
    def on_step(record):
        if record.step == step:
            raise _KilledError

    return on_step


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_the_result(tasks, backbone, small_settings, name):
    settings = small_settings(algorithm=name)
    first = meta_train(tasks, backbone, settings)

    _assert_same(first, meta_train(tasks[::-1], backbone, settings))
    other = meta_train(tasks, backbone, dataclasses.replace(settings, seed=1))
    assert first.fingerprint != other.fingerprint


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_training_goes_on_to_the_same_result(
    tasks, backbone, small_settings, tmp_path, name
):
    settings = small_settings(algorithm=name, steps=4)
    whole = meta_train(tasks, backbone, settings)
    path = tmp_path / "checkpoint"
    with pytest.raises(_KilledError):
        meta_train(
            tasks,
            backbone,
            settings,
            checkpoint=path,
            checkpoint_seconds=0,
            on_step=_kill_after(2),
        )

    steps = []
    resumed = meta_train(tasks, backbone, settings, checkpoint=path, on_step=steps.append)
    assert [record.step for record in steps] == [3, 4]
    assert all(record.steps == 4 and record.wall_seconds > 0 for record in steps)
    assert resumed.steps == 4
    _assert_same(resumed, whole)


def test_a_finished_training_can_be_prolonged(tasks, backbone, small_settings, tmp_path):
    settings, path = small_settings(algorithm="fomaml", steps=4), tmp_path / "checkpoint"
    whole = meta_train(tasks, backbone, settings)
    meta_train(tasks, backbone, dataclasses.replace(settings, steps=2), checkpoint=path)

    _assert_same(meta_train(tasks, backbone, settings, checkpoint=path), whole)


def test_a_training_cannot_be_shorter_than_its_checkpoint(
    tasks, backbone, small_settings, tmp_path
):
    path = tmp_path / "checkpoint"
    meta_train(tasks, backbone, small_settings(steps=2), checkpoint=path)
    with pytest.raises(PriorError, match=r"steps is 1, but the checkpoint .* has taken 2"):
        meta_train(tasks, backbone, small_settings(steps=1), checkpoint=path)


@pytest.mark.parametrize("change", ["settings", "tasks", "backbone"])
def test_the_checkpoint_of_another_training_is_refused(
    tasks, backbone, small_settings, tiny_text_backbone, tmp_path, change
):
    settings, path = small_settings(), tmp_path / "checkpoint"
    meta_train(tasks, backbone, settings, checkpoint=path)
    if change == "settings":
        settings = dataclasses.replace(settings, inner_rate=0.5)
    elif change == "tasks":
        tasks = tasks[:1]
    else:
        backbone = tiny_text_backbone(seed=9)
    with pytest.raises(PriorError, match=r"is of another meta-training: .* there and .* here"):
        meta_train(tasks, backbone, settings, checkpoint=path)


def test_a_torn_checkpoint_is_refused(tasks, backbone, small_settings, tmp_path):
    path = tmp_path / "checkpoint"
    path.write_bytes(b"torn")
    with pytest.raises(PriorError, match="Delete it to start anew"):
        meta_train(tasks, backbone, small_settings(), checkpoint=path)


@pytest.mark.parametrize("name", NAMES)
def test_the_given_backbone_stays_as_it_is(tasks, backbone, small_settings, name):
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    result = meta_train(tasks, backbone, small_settings(algorithm=name))

    after = backbone.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert all(weight.requires_grad for weight in backbone.parameters())
    assert bool(result.learned_rates) is (name == "meta-sgd")


def test_embeddings_and_frozen_blocks_keep_their_pretrained_weights(
    tasks, backbone, small_settings
):
    whole = meta_train(tasks, backbone, small_settings(algorithm="fomaml"))
    upper = meta_train(tasks, backbone, small_settings(algorithm="fomaml", frozen_fraction=0.5))

    assert not any("embeddings" in name for name in whole.differences)
    assert any("layer.0." in name for name in whole.differences)
    assert all("layer.1." in name for name in upper.differences)


def test_images_are_meta_trained_too(tiny_image_backbone, tiny_task, small_settings):
    task = tiny_task(kind="image_classification", classes=3)
    backbone = tiny_image_backbone()
    result = meta_train([task], backbone, small_settings(algorithm="fomaml"))

    apply_initialisation(backbone, result)
    assert result.differences


def test_meta_training_lowers_the_loss_after_adaptation(tasks, backbone, small_settings):
    losses = []
    settings = small_settings(
        algorithm="maml", steps=30, outer_rate=0.01, inner_rate=0.1, ways=(3,)
    )
    meta_train(tasks, backbone, settings, on_step=lambda record: losses.append(record.loss))

    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_episodes_are_passed_over_again_each_once_per_epoch(small_settings):
    settings = small_settings(episodes=7)
    epochs = [[_episode_at(7 * epoch + at, settings) for at in range(7)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]

    fresh = small_settings(episodes=None)
    assert [_episode_at(visit, fresh) for visit in (0, 5, 900)] == [0, 5, 900]


def test_the_memory_is_said_before_the_first_step(tasks, backbone, small_settings):
    said = []
    meta_train(
        tasks,
        backbone,
        small_settings(algorithm="maml"),
        on_plan=said.append,
        on_step=lambda step: said.append(step.step),
    )
    plan, *steps = said
    assert steps == [1, 2, 3]
    assert plan.checkpointed_mib > 0
    assert plan.whole_mib > 0


def test_checkpointing_trains_the_same_weights(tasks, backbone, small_settings):
    found = [
        meta_train(tasks, backbone, small_settings(algorithm="meta-sgd", checkpointing=setting))
        for setting in ("off", "on")
    ]
    for name, difference in found[0].differences.items():
        other = found[1].differences[name]
        torch.testing.assert_close(other.float(), difference.float(), rtol=0.05, atol=1e-6)


def test_a_time_limit_ends_after_at_least_one_step(tasks, backbone, small_settings):
    result = meta_train(tasks, backbone, small_settings(steps=500), time_limit_seconds=0)
    assert result.steps == 1
    assert result.train_seconds > 0
    assert result.cpu_seconds > 0
    assert result.peak_memory_mib > 0


def test_held_out_tasks_take_no_part(tasks, backbone, small_settings):
    result = meta_train(tasks, backbone, small_settings(), excluded=frozenset({"a"}))
    assert result.tasks == ("b",)


def test_settings_that_freeze_everything_are_refused(tasks, backbone, small_settings):
    with pytest.raises(RecipeError, match="freezes all 2 blocks"):
        meta_train(tasks, backbone, small_settings(frozen_fraction=0.9))


def test_a_task_of_another_modality_is_refused(tiny_task, backbone, small_settings):
    task = tiny_task(kind="image_classification")
    with pytest.raises(TaskError, match="is a task of images, but the backbone"):
        meta_train([task], backbone, small_settings())


def test_a_loss_that_is_not_finite_fails_the_run(tasks, backbone, small_settings):
    with torch.no_grad():
        backbone.get_parameter("model.encoder.layer.1.output.dense.weight").fill_(float("nan"))
    with pytest.raises(RunFailedError, match="the query loss is nan in step 1"):
        meta_train(tasks, backbone, small_settings())


def test_names_become_a_saved_initialisation(backbone, small_settings, tmp_path, tiny_task):
    folder, out = tmp_path / "backbone", tmp_path / "prior" / "init.safetensors"
    folder.mkdir()
    backbone.save(folder, torch.nn.Linear(backbone.width, 2), ["no", "yes"])
    data = _write_csv(tmp_path / "rows.csv", tiny_task(rows=120))
    settings = small_settings(steps=2)

    early = train_initialisation([str(data)], str(folder), settings, out, time_limit_seconds=0)
    assert early.steps == 1
    assert list(out.parent.glob("*checkpoint*"))
    done = train_initialisation([str(data)], str(folder), settings, out)
    assert done.steps == 2
    assert [path.name for path in out.parent.iterdir()] == ["init.safetensors"]
    _assert_same(load_initialisation(out), done)
    with safe_open(out, "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.bfloat16}  # noqa: SIM118


def _write_csv(path, task):
    rows = zip(task.train.texts, task.train.labels, strict=True)
    path.write_text("text,label\n" + "".join(f"{text},class {label}\n" for text, label in rows))
    return path
