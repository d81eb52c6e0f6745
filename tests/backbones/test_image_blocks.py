from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from metaft.backbones.image_blocks import handed_in, outline_of, recorded
from metaft.errors import BackboneError

# Residual blocks by the papers' own tables.
DEPTHS = {
    "tf_efficientnet_lite0": 16,
    "efficientnet_b0": 16,
    "mobilenetv2_100": 17,
    "resnet18": 8,
    "resnet50": 16,
    "vit_tiny_patch16_224": 12,
    "convnext_tiny": 18,
}


@pytest.mark.parametrize(("architecture", "depth"), DEPTHS.items())
def test_a_block_is_one_residual_block(architecture: str, depth: int) -> None:
    with torch.device("meta"):
        model = timm.create_model(architecture)
    outline = outline_of(model)
    assert len(outline.units) == depth
    kinds = {type(model.get_submodule(path)).__name__ for path in outline.blocks}
    # EfficientNets open with one block that widens nothing; it has a class of its own.
    assert kinds - {"DepthwiseSeparableConv"} in (
        {"InvertedResidual"},
        {"BasicBlock"},
        {"Bottleneck"},
        {"Block"},
        {"ConvNeXtBlock"},
    )


def test_what_downsamples_between_stages_goes_with_the_next_block() -> None:
    with torch.device("meta"):
        outline = outline_of(timm.create_model("convnext_tiny"))
    assert outline.units[3] == ("stages.1.downsample", "stages.1.blocks.0")


def test_class_token_and_positions_count_as_stem() -> None:
    with torch.device("meta"):
        outline = outline_of(timm.create_model("vit_tiny_patch16_224"))
    assert outline.loose == ("cls_token", "pos_embed")
    assert "patch_embed" in outline.stem


def test_a_model_that_names_no_blocks_is_refused() -> None:
    with pytest.raises(BackboneError, match="Sequential does not say which of its modules"):
        outline_of(nn.Sequential(nn.Linear(2, 2)))


def test_the_model_is_whole_again_after_an_error() -> None:
    model = timm.create_model("test_resnet")
    before = dict(model.named_modules())
    with pytest.raises(ZeroDivisionError), handed_in(model, outline_of(model), 2, torch.zeros(1)):
        raise ZeroDivisionError
    assert dict(model.named_modules()) == before


def test_nothing_runs_beyond_the_deepest_state_asked_for() -> None:
    model = timm.create_model("test_resnet").eval()
    blocks = [model.get_submodule(path) for path in outline_of(model).blocks]
    ran: list[int] = []
    for number, block in enumerate(blocks):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    found: dict[int, torch.Tensor] = {}
    with torch.no_grad(), recorded(blocks, [0, 2], found):
        model(torch.zeros(1, 3, 32, 32))
    assert sorted(found) == [0, 2]
    assert ran == [0, 1]
