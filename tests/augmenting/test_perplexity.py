from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from metaft.augmenting.measures import measure_effects
from metaft.augmenting.perplexity import LanguageModel
from metaft.augmenting.sheet import effect_table
from metaft.augmenting.versions import Varied
from metaft.errors import BackboneError
from metaft.recipes import Recipe

CPU = "cpu"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_text_backbone) -> Path:
    """Return a folder with a small random GPT-2 whose tokens are those of the tiny texts."""
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = tiny_text_backbone().tokenizer
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=12, n_embd=8, n_layer=1, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def language_model(folder: Path) -> LanguageModel:
    return LanguageModel.load(str(folder), offline=True)


@torch.no_grad()
def _by_hand(language_model: LanguageModel, texts: list[str]) -> float:
    """Take the tokens one by one, with nothing behind them and nothing padded."""
    losses = []
    for text in texts:
        ids = language_model._tokenizer(text, truncation=True, max_length=12)["input_ids"]
        for at in range(1, len(ids)):
            logits = language_model._model(torch.tensor([ids[:at]])).logits[0, -1]
            losses.append(-torch.log_softmax(logits, 0)[ids[at]].item())
    return math.exp(sum(losses) / len(losses))


def test_perplexity_is_that_of_a_computation_by_hand(language_model) -> None:
    texts = ["the old river", "some kitchen was near a very old river with the winter of a violin"]
    assert len(language_model._tokenizer(texts[1])["input_ids"]) > 12, "it is cut"
    found = language_model.perplexity(texts, CPU)
    assert found == pytest.approx(_by_hand(language_model, texts), rel=1e-5)
    assert found > 1.0


def test_the_texts_of_other_batches_do_not_matter(language_model, monkeypatch) -> None:
    from metaft.augmenting import perplexity

    texts = ["the river", "a soccer violin", "some very old planet near the kitchen"]
    together = language_model.perplexity(texts, CPU)
    monkeypatch.setattr(perplexity, "_TEXTS_AT_ONCE", 1)
    assert language_model.perplexity(texts, CPU) == pytest.approx(together, rel=1e-5)
    assert math.isnan(language_model.perplexity([], CPU))


def test_every_method_has_one_and_without_a_model_there_is_no_column(
    language_model, tiny_text_backbone, tiny_task
) -> None:
    task = tiny_task(rows=16)
    recipe = Recipe(augmentation="swap+deletion", augmentation_strength=0.4, max_length=32)
    varied = Varied.prepare(task, tiny_text_backbone(), recipe)
    effects = {e.method: e for e in measure_effects(varied, language_model=language_model)}
    before = effects["none"].perplexity
    assert before == pytest.approx(language_model.perplexity(task.train.texts, CPU), rel=1e-5)
    assert len({e.perplexity for e in effects.values()}) == len(effects) == 4
    assert "perplexity" in effect_table(list(effects.values()))[0]
    assert "perplexity" not in effect_table(measure_effects(varied))[0]


def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"nothing_such.*cannot be loaded"):
        LanguageModel.load(str(tmp_path / "nothing_such"), offline=True)
