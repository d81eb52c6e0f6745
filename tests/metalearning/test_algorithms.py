"""One suite over all algorithms, and each one's sums against a computation of its own."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch.func import functional_call, grad
from torch.nn import functional

from metaft.backbones.image import ImageBackbone
from metaft.finetuning.device import Compute
from metaft.finetuning.model import Classifier
from metaft.metalearning.algorithms import ALGORITHMS

CPU = Compute("cpu", "fp32")
NAMES = list(ALGORITHMS)
GRADIENT_NAMES = ["fomaml", "maml", "meta-sgd"]


@pytest.fixture
def precise_backbone(tiny_text_backbone):
    """Return a tiny BERT in float64, which pools natively: metaft's own pooling is float32.

    Its weights are ten times as large as BERT starts with, so that no gradient is near zero.
    """
    backbone = tiny_text_backbone(pooling="native", seed=3).double()
    with torch.no_grad():
        for weight in backbone.parameters():
            if weight.ndim > 1:
                weight.mul_(10)
    return backbone


@pytest.fixture
def build(tiny_text_backbone, small_settings):
    """Return a factory of (algorithm, settings) on a backbone of its own."""

    def build(name, backbone=None, **changed):
        settings = small_settings(algorithm=name, **changed)
        backbone = backbone or tiny_text_backbone()
        backbone.freeze(settings.frozen_fraction or 1e-6)
        return ALGORITHMS[name](backbone, settings, CPU, {"tiny": 3}), settings

    return build


def _snapshot(backbone):
    return {name: value.detach().clone() for name, value in backbone.state_dict().items()}


def _query_loss(model, batch):
    return functional.cross_entropy(model(batch.inputs), batch.labels)


@pytest.mark.parametrize("name", NAMES)
def test_the_inner_loop_lowers_the_support_loss(build, tiny_task, episode_batches, name):
    algorithm, settings = build(name, inner_steps=8)
    episode = episode_batches(tiny_task(classes=3), algorithm.backbone, settings)

    learner = algorithm.adapt(episode)
    before = torch.tensor(float(episode.ways)).log()  # what a head of zeros gives
    for batch in episode.inner:
        assert algorithm.loss(learner, batch).item() < before.item()


@pytest.mark.parametrize("name", NAMES)
def test_a_meta_step_moves_the_weights_and_nothing_that_is_frozen(
    build, tiny_task, episode_batches, name
):
    algorithm, settings = build(name, frozen_fraction=0.5)
    backbone = algorithm.backbone
    before = _snapshot(backbone)

    algorithm.learn_from(episode_batches(tiny_task(), backbone, settings))
    algorithm.step()
    after = backbone.state_dict()
    moved = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert moved
    assert moved <= set(algorithm.weights)
    assert not any("embeddings" in key or "layer.0." in key for key in moved)
    assert all(weight.grad is None for weight in algorithm.learned.values())


@pytest.mark.parametrize("name", NAMES)
def test_adapting_leaves_the_backbone_itself_alone(build, tiny_task, episode_batches, name):
    algorithm, settings = build(name)
    before = _snapshot(algorithm.backbone)

    algorithm.adapt(episode_batches(tiny_task(), algorithm.backbone, settings))
    after = algorithm.backbone.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


@pytest.mark.parametrize("name", NAMES)
def test_batch_norm_buffers_do_not_leak(
    build, tiny_image_backbone, tiny_task, episode_batches, name
):
    algorithm, settings = build(name, backbone=tiny_image_backbone())
    before = {key: value.clone() for key, value in algorithm.backbone.named_buffers()}
    assert any("running_mean" in key for key in before)

    task = tiny_task(kind="image_classification")
    algorithm.learn_from(episode_batches(task, algorithm.backbone, settings))
    algorithm.step()
    after = dict(algorithm.backbone.named_buffers())
    assert all(torch.equal(value, after[key]) for key, value in before.items())


@pytest.mark.parametrize("name", NAMES)
def test_the_callers_random_numbers_go_on_undisturbed(build, tiny_task, episode_batches, name):
    algorithm, settings = build(name)
    episode = episode_batches(tiny_task(), algorithm.backbone, settings)
    state = torch.get_rng_state()

    algorithm.learn_from(episode)
    assert torch.equal(torch.get_rng_state(), state)


def test_reptile_moves_by_its_share_of_the_mean_way(
    build, precise_backbone, tiny_task, episode_batches
):
    algorithm, settings = build("reptile", precise_backbone, outer_rate=0.25)
    start = _snapshot(precise_backbone)
    episodes = [
        episode_batches(tiny_task(classes=3), precise_backbone, settings, number)
        for number in range(2)
    ]

    adapted = [
        _adapt_by_hand(precise_backbone, episode, settings.inner_rate) for episode in episodes
    ]
    for episode in episodes:
        algorithm.learn_from(episode)
    algorithm.step()
    for name, weight in algorithm.weights.items():
        mean = sum(model.backbone.get_parameter(name).detach() for model in adapted) / 2
        expected = start[name] + 0.25 * (mean - start[name])
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-12, atol=1e-14)


def test_fomaml_takes_the_query_gradient_at_the_adapted_weights(
    build, precise_backbone, tiny_task, episode_batches
):
    algorithm, settings = build("fomaml", precise_backbone, meta_batch_size=1)
    episode = episode_batches(tiny_task(classes=3), precise_backbone, settings)

    by_hand = _adapt_by_hand(precise_backbone, episode, settings.inner_rate)
    by_hand.zero_grad()
    expected_loss = _query_loss(by_hand, episode.query)
    expected_loss.backward()
    assert algorithm.learn_from(episode) == pytest.approx(expected_loss.item(), rel=1e-12)
    for name, weight in algorithm.weights.items():
        expected = by_hand.backbone.get_parameter(name).grad
        torch.testing.assert_close(weight.grad, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("head_init", ["zero", "prototype"])
@pytest.mark.parametrize("name", ["maml", "meta-sgd", "anil"])
def test_second_order_gradients_equal_those_of_torch_func(
    build, precise_backbone, tiny_task, episode_batches, name, head_init
):
    algorithm, settings = build(name, precise_backbone, meta_batch_size=1, head_init=head_init)
    episode = episode_batches(tiny_task(classes=3), precise_backbone, settings)
    outer = _outer_loss_by_torch_func(algorithm, episode, settings.inner_rate)
    learned = {key: value.detach().clone() for key, value in algorithm.learned.items()}

    expected = grad(outer)(learned)
    algorithm.learn_from(episode)
    for key, value in algorithm.learned.items():
        torch.testing.assert_close(value.grad, expected[key], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", ["maml", "meta-sgd", "anil"])
def test_second_order_gradients_equal_finite_differences(
    build, precise_backbone, tiny_task, episode_batches, name
):
    algorithm, settings = build(name, precise_backbone, meta_batch_size=1)
    episode = episode_batches(tiny_task(classes=3), precise_backbone, settings)
    algorithm.learn_from(episode)
    gradients = {key: value.grad.clone() for key, value in algorithm.learned.items()}
    generator = torch.Generator().manual_seed(0)
    direction = {
        key: torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for key, value in algorithm.learned.items()
    }

    def loss_along(distance):
        with torch.no_grad():
            for key, value in algorithm.learned.items():
                value.add_(distance * direction[key])
        loss = algorithm.learn_from(episode)
        with torch.no_grad():
            for key, value in algorithm.learned.items():
                value.sub_(distance * direction[key])
        return loss

    numeric = (loss_along(1e-5) - loss_along(-1e-5)) / 2e-5
    analytic = sum(float((gradients[key] * direction[key]).sum()) for key in gradients)
    assert numeric == pytest.approx(analytic, rel=1e-6)


@pytest.mark.parametrize("kind", ["classification", "image_classification"])
@pytest.mark.parametrize("name", ["maml", "meta-sgd"])
def test_checkpointing_changes_no_gradient(
    build, precise_backbone, tiny_task, episode_batches, name, kind
):
    start = precise_backbone if kind == "classification" else _tiny_vision_transformer()
    found = []
    for checkpointing in ("off", "on"):
        backbone = copy.deepcopy(start)
        algorithm, settings = build(
            name, backbone, checkpointing=checkpointing, frozen_fraction=0.5, inner_steps=3
        )
        assert algorithm.is_checkpointing is (checkpointing == "on")
        loss = 0.0
        for number in range(2):
            task = tiny_task(classes=3, kind=kind)
            episode = episode_batches(task, backbone, settings, number)
            loss += algorithm.learn_from(_in_float64(episode))
        found.append((loss, {key: value.grad for key, value in algorithm.learned.items()}))

    (loss, gradients), (loss_again, gradients_again) = found
    assert loss_again == pytest.approx(loss, rel=1e-12)
    assert any(gradient.abs().max() > 1e-6 for gradient in gradients.values())
    torch.testing.assert_close(gradients_again, gradients, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_prototypes_know_the_classes_before_the_first_step(build, tiny_task, episode_batches, name):
    algorithm, settings = build(name, head_init="prototype", inner_steps=8)
    episode = episode_batches(tiny_task(classes=3), algorithm.backbone, settings)
    model = algorithm.fresh_classifier(episode)

    uniform = torch.tensor(float(episode.ways)).log()
    support = sum(algorithm.loss(model, batch) for batch in episode.inner) / len(episode.inner)
    assert support < uniform
    assert algorithm.learn_from(episode) > 0


def test_anil_adapts_nothing_but_the_head(build, tiny_task, episode_batches):
    algorithm, settings = build("anil")
    episode = episode_batches(tiny_task(classes=3), algorithm.backbone, settings)

    adapted = dict(algorithm.adapt(episode).module.named_parameters())
    assert adapted.pop("head.weight").abs().max() > 0
    assert adapted.pop("head.bias").abs().max() > 0
    for name, weight in algorithm.backbone.named_parameters():
        assert torch.equal(adapted[f"backbone.{name}"], weight)
    algorithm.learn_from(episode)
    assert any(weight.grad.abs().max() > 0 for weight in algorithm.weights.values())


def test_multi_task_training_takes_a_step_of_adam_per_batch_on_the_tasks_own_head(
    build, precise_backbone, tiny_task, episode_batches
):
    by_hand = copy.deepcopy(precise_backbone)
    algorithm, settings = build("multi-task", precise_backbone, outer_rate=0.01, ways=(2,))
    episode = episode_batches(tiny_task(classes=3), precise_backbone, settings, number=2)
    assert set(episode.classes) != {0, 1}  # or the head's rows would need no choosing

    by_hand.freeze(1e-6)
    model = Classifier(by_hand, 3, dropout=0.0).double().eval()
    torch.nn.init.zeros_(model.head.weight)
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=0.01)
    for batch in (*episode.inner, episode.query):
        optimizer.zero_grad()
        logits = model(batch.inputs)[:, list(episode.classes)]
        functional.cross_entropy(logits, batch.labels).backward()
        optimizer.step()
    algorithm.learn_from(episode)
    algorithm.step()
    weight, _ = algorithm.heads["tiny"]
    torch.testing.assert_close(weight.detach(), model.head.weight.detach(), rtol=1e-9, atol=1e-12)
    for name, value in algorithm.weights.items():
        expected = by_hand.get_parameter(name).detach()
        torch.testing.assert_close(value.detach(), expected, rtol=1e-9, atol=1e-12)


def test_first_and_second_order_differ(build, precise_backbone, tiny_task, episode_batches):
    gradients = []
    for name in ("fomaml", "maml"):
        algorithm, settings = build(name, copy.deepcopy(precise_backbone), meta_batch_size=1)
        algorithm.learn_from(episode_batches(tiny_task(), algorithm.backbone, settings))
        gradients.append(algorithm.weights["model.bert.pooler.dense.weight"].grad)

    assert (gradients[0] - gradients[1]).norm() > 0.01 * gradients[1].norm()


def test_meta_sgd_starts_as_maml(build, precise_backbone, tiny_task, episode_batches):
    found = []
    for name in ("maml", "meta-sgd"):
        algorithm, settings = build(name, copy.deepcopy(precise_backbone))
        loss = algorithm.learn_from(
            episode_batches(tiny_task(classes=3), algorithm.backbone, settings)
        )
        found.append((loss, {key: value.grad for key, value in algorithm.weights.items()}))

    assert found[0][0] == found[1][0]
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-12, atol=1e-15)


def _tiny_vision_transformer():
    """Return a ViT in float64, whose attention is fused by default."""
    return ImageBackbone.from_architecture("test_vit").double()


def _in_float64(episode):
    """Return the episode with pixels as precise as the weights."""
    batches = [
        dataclasses.replace(
            batch,
            inputs={
                name: value.double() if value.is_floating_point() else value
                for name, value in batch.inputs.items()
            },
        )
        for batch in (*episode.inner, episode.query)
    ]
    return dataclasses.replace(episode, inner=tuple(batches[:-1]), query=batches[-1])


def _fresh(backbone, ways):
    """Copy a backbone and put a head of zeros on it."""
    model = Classifier(copy.deepcopy(backbone), ways, dropout=0.0).double().eval()
    torch.nn.init.zeros_(model.head.weight)
    return model


def _adapt_by_hand(backbone, episode, rate):
    """Run the inner loop with torch.optim.SGD on a copy."""
    model = _fresh(backbone, episode.ways)
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=rate)
    for batch in episode.inner:
        optimizer.zero_grad()
        _query_loss(model, batch).backward()
        optimizer.step()
    return model


def _outer_loss_by_torch_func(algorithm, episode, inner_rate):
    """Return learned parameters -> query loss after adaptation, written without learn2learn."""
    model = copy.deepcopy(algorithm.fresh_classifier(episode))
    head = {f"head.{name}": value.detach() for name, value in model.head.named_parameters()}
    adapting = [name for name in head if algorithm.settings.algorithm == "anil"]

    def loss(weights, batch):
        logits = functional_call(model, weights, (batch.inputs,))
        return functional.cross_entropy(logits, batch.labels)

    def outer(learned):
        weights = {f"backbone.{name}": learned[name] for name in algorithm.weights} | head
        for batch in episode.inner:
            gradients = grad(loss)(weights, batch)
            weights |= {
                name: value - learned.get(f"rate of {name}", inner_rate) * gradients[name]
                for name, value in weights.items()
                if name in (adapting or weights)
            }
        return loss(weights, episode.query)

    return outer
