from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from metaft.backbones.text import TextBackbone
from metaft.backbones.text_saving import HEAD_FILE
from metaft.errors import BackboneError
from metaft.tasks.task import Kind, Split

TEXTS = ("the river was near", "an engine of some very old planet near the kitchen", "winter")
SPLIT = Split(labels=np.zeros(3, dtype=np.int64), texts=TEXTS)
SMALL = {"vocab_size": 200, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
FAMILIES = {
    "bert": transformers.BertConfig(**SMALL, intermediate_size=32),
    "distilbert": transformers.DistilBertConfig(
        vocab_size=200, dim=16, n_layers=3, n_heads=2, hidden_dim=32
    ),
    "electra": transformers.ElectraConfig(**SMALL, embedding_size=16, intermediate_size=32),
    "roberta": transformers.RobertaConfig(
        **SMALL, intermediate_size=32, max_position_embeddings=66, pad_token_id=1
    ),
    "mpnet": transformers.MPNetConfig(
        **SMALL, intermediate_size=32, max_position_embeddings=66, pad_token_id=1
    ),
    "deberta-v2": transformers.DebertaV2Config(
        **SMALL, intermediate_size=32, relative_attention=True, pos_att_type=["p2c", "c2p"]
    ),
    "modernbert": transformers.ModernBertConfig(
        **SMALL, intermediate_size=32, pad_token_id=0, cls_token_id=2, sep_token_id=3
    ),
    "gpt2": transformers.GPT2Config(
        vocab_size=200, n_embd=16, n_layer=3, n_head=2, n_positions=64, pad_token_id=0
    ),
}


@pytest.fixture
def tokenizer(tiny_text_backbone):
    return tiny_text_backbone().tokenizer


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest, tokenizer) -> TextBackbone:
    config = FAMILIES[request.param]
    return TextBackbone.from_config(copy.deepcopy(config), tokenizer, pooling="native").eval()


def _batch(backbone: TextBackbone):
    examples = backbone.encode(SPLIT, max_length=48, image_size=96)
    return backbone.collate(examples, [0, 1, 2])


def test_every_family_splits_into_its_blocks(family: TextBackbone) -> None:
    assert family.depth == len(family.blocks()) == 3
    inside = {id(p) for block in family.blocks() for p in block.parameters()}
    stem = {id(p) for module in family.stem() for p in module.parameters()}
    assert stem
    assert not stem & inside


@torch.no_grad()
def test_every_family_goes_on_from_any_depth(family: TextBackbone) -> None:
    batch = _batch(family)
    whole = family(batch)
    assert whole.shape == (3, family.width)
    states = family.hidden_states(batch, [0, 1, 2, 3])
    assert sorted(states) == [0, 1, 2, 3]
    for depth in (1, 2, 3):
        assert torch.allclose(family(batch, start=depth, hidden=states[depth]), whole, atol=1e-6)
    assert torch.equal(family(batch), whole), "running a part leaves the model as it was"


@torch.no_grad()
def test_every_family_is_saved_as_its_own_classifier(family: TextBackbone, tmp_path: Path) -> None:
    head = nn.Linear(family.width, 3)
    family.save(tmp_path, head, ["a", "b", "c"])
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    batch = _batch(family)
    assert torch.allclose(theirs(**batch).logits, head(family(batch)), atol=1e-5)
    assert theirs.config.id2label == {0: "a", 1: "b", 2: "c"}


@torch.no_grad()
def test_every_family_gives_the_states_of_tokens(family: TextBackbone) -> None:
    batch = _batch(family)
    whole = family.token_states(batch)
    assert whole.shape == (*batch["input_ids"].shape, family.token_width)
    states = family.hidden_states(batch, [1, 2, 3])
    for depth, hidden in states.items():
        assert torch.allclose(family.token_states(batch, start=depth, hidden=hidden), whole)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["ner", "qa"])
def test_every_family_is_saved_with_its_head_for_tokens(
    family: TextBackbone, tmp_path: Path, kind: Kind
) -> None:
    outputs = 3 if kind == "ner" else 2
    head, names = nn.Linear(family.token_width, outputs), ["O", "B-a", "I-a"][:outputs]
    family.save(tmp_path, head, names if kind == "ner" else [], kind=kind)
    batch = _batch(family)
    own = head(family.token_states(batch))
    if (tmp_path / HEAD_FILE).exists():  # It has more layers in between, which did not learn.
        assert family.model.config.model_type == "modernbert"
        states = AutoModel.from_pretrained(tmp_path).eval()(**batch).last_hidden_state
        weights = load_file(tmp_path / HEAD_FILE)
        theirs = states @ weights["weight"].T + weights["bias"]
    elif kind == "ner":
        model = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
        assert model.config.id2label[1] == "B-a"
        theirs = model(**batch).logits
    else:
        answer = AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()(**batch)
        theirs = torch.stack([answer.start_logits, answer.end_logits], 2)
    mask = batch["attention_mask"].bool()
    assert torch.allclose(theirs[mask], own[mask], atol=1e-5)


@torch.no_grad()
def test_padding_changes_nothing(family: TextBackbone) -> None:
    examples = family.encode(SPLIT, max_length=48, image_size=96)
    together = family(family.collate(examples, [0, 1, 2]))
    for row in range(3):
        alone = family(family.collate(examples, [row]))
        assert torch.allclose(alone[0], together[row], atol=1e-5)


@torch.no_grad()
def test_mean_pooling_by_hand(tiny_text_backbone) -> None:
    backbone = tiny_text_backbone().eval()
    batch = _batch(backbone)
    states = backbone.hidden_states(batch, [2])[2]
    for row in range(3):
        tokens = int(batch["attention_mask"][row].sum())
        mean = states[row, :tokens].mean(0)
        expected = (mean - mean.mean()) / mean.std(correction=0)
        assert torch.allclose(backbone(batch)[row], expected, atol=1e-3)


def test_long_texts_are_cut_and_counted(tiny_text_backbone) -> None:
    backbone = tiny_text_backbone()
    examples = backbone.encode(SPLIT, max_length=8, image_size=96)
    assert examples.lengths.max() == 8
    assert examples.truncated == 1
    assert backbone.encode(SPLIT, max_length=10**4, image_size=96).truncated == 0


def test_pairs_are_told_apart(tiny_text_backbone) -> None:
    backbone = tiny_text_backbone()
    pair = Split(labels=np.zeros(1), texts=("river",), text_pairs=("engine",))
    examples = backbone.encode(pair, max_length=48, image_size=96)
    assert examples.columns["token_type_ids"][0].tolist() == [0, 0, 0, 1, 1]


def test_the_fingerprint_is_of_weights_and_pooling(tiny_text_backbone) -> None:
    first = tiny_text_backbone(seed=1).fingerprint
    assert first == tiny_text_backbone(seed=1).fingerprint
    assert first != tiny_text_backbone(seed=2).fingerprint
    assert first != tiny_text_backbone(seed=1, pooling="native").fingerprint


def _save_encoder(backbone: TextBackbone, folder: Path) -> None:
    backbone.model.save_pretrained(folder)
    backbone.tokenizer.save_pretrained(folder)


def test_a_folder_without_a_trained_pooler_is_mean_pooled(
    tiny_text_backbone, tmp_path: Path
) -> None:
    original = tiny_text_backbone()
    _save_encoder(original, tmp_path)
    loaded = TextBackbone.from_folder(tmp_path, "mine", "folder")
    assert loaded.pooling == "mean"
    assert loaded.fingerprint == original.fingerprint


@pytest.mark.parametrize(("mean", "pooling"), [(True, "mean"), (False, "native")])
def test_a_sentence_encoder_says_how_it_pools(
    tiny_text_backbone, tmp_path: Path, mean: bool, pooling: str
) -> None:
    _save_encoder(tiny_text_backbone(), tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    declared = {"pooling_mode_mean_tokens": mean}
    (tmp_path / "1_Pooling/config.json").write_text(json.dumps(declared))
    assert TextBackbone.from_folder(tmp_path, "mine", "folder").pooling == pooling


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BackboneError, match="cannot be loaded"):
        TextBackbone.from_folder(tmp_path, "mine", "folder")


def test_weights_that_were_cut_off_are_refused(tiny_text_backbone, tmp_path: Path) -> None:
    _save_encoder(tiny_text_backbone(), tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BackboneError, match="cannot be loaded"):
        TextBackbone.from_folder(tmp_path, "mine", "folder")


@torch.no_grad()
def test_a_decoder_without_padding_fills_rows_up_with_the_end(tokenizer, tmp_path: Path) -> None:
    config = copy.deepcopy(FAMILIES["gpt2"])
    config.pad_token_id = None
    transformers.GPT2Model(config).save_pretrained(tmp_path)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, eos_token="[SEP]"
    ).save_pretrained(tmp_path)
    backbone = TextBackbone.from_folder(tmp_path, "mine", "folder").eval()
    assert backbone.pad_token_id == backbone.model.config.pad_token_id
    assert backbone.tokenizer.pad_token == "[SEP]"
    examples = backbone.encode(SPLIT, max_length=48, image_size=96)
    together = backbone(backbone.collate(examples, [0, 1, 2]))
    assert together.shape == (3, 16)
    for row in range(3):
        alone = backbone(backbone.collate(examples, [row]))
        assert torch.allclose(alone[0], together[row], atol=1e-5)


def test_pickled_weights_are_refused(tiny_text_backbone, tmp_path: Path) -> None:
    _save_encoder(tiny_text_backbone(), tmp_path)
    weights = transformers.utils.cached_file(str(tmp_path), "model.safetensors")
    torch.save({}, tmp_path / "pytorch_model.bin")
    Path(weights).unlink()
    with pytest.raises(BackboneError, match="safetensors"):
        TextBackbone.from_folder(tmp_path, "mine", "folder")


def test_images_are_refused(tiny_text_backbone) -> None:
    images = Split(labels=np.zeros(1), images=(b"",))
    with pytest.raises(BackboneError, match="without texts"):
        tiny_text_backbone().encode(images, max_length=8, image_size=96)


def test_loading_says_nothing(tiny_text_backbone, tmp_path: Path, capfd) -> None:
    _save_encoder(tiny_text_backbone(), tmp_path)
    capfd.readouterr()  # What saving said.
    TextBackbone.from_folder(tmp_path, "mine", "folder")
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_a_trimmed_vocabulary_answers_the_same_and_comes_back_whole(
    tiny_text_backbone, tiny_task
) -> None:
    backbone = tiny_text_backbone()
    task = tiny_task()
    examples = backbone.encode(task.train, max_length=32, image_size=0)
    batch = backbone.collate(examples, range(8))
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone.eval()
    whole = backbone(batch)
    backbone.trim_vocabulary([examples])
    tokens = {int(token) for row in examples.columns["input_ids"] for token in row}
    embedding = backbone.model.get_input_embeddings()
    assert len(embedding.weight) == len(tokens | {backbone.tokenizer.pad_token_id})
    assert torch.equal(backbone(batch), whole)
    backbone.restore_vocabulary()
    after = backbone.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(before[name], value) for name, value in after.items())
