"""Image backbones: any timm model whose blocks can be told apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from metaft.backbones.backbone import Backbone, Batch, Examples
from metaft.backbones.convolutions import quick_convolutions
from metaft.backbones.image_blocks import Outline, handed_in, outline_of, recorded
from metaft.backbones.image_files import decode_images
from metaft.errors import BackboneError
from metaft.tasks.task import Kind, Split

_BATCH_NORM = nn.modules.batchnorm._BatchNorm


class ImageBackbone(Backbone):
    """An encoder of timm: stem, ordered residual blocks, pooled features.

    BatchNorm keeps its pretrained statistics, also while its block learns: a row's features
    then depend neither on the batch size nor on its batch, cached states stay true, and
    few-shot episodes cannot leak into each other. Its scale and shift do learn.

    Attributes:
        model: The timm model without its classifier; gives pooled features.
        architecture: timm's name of it (`tf_efficientnet_lite0`).
        model_args: Arguments that timm built it with, beside the architecture.
    """

    modality = "image"
    model: Any
    architecture: str

    def __init__(
        self,
        model: nn.Module,
        *,
        identity: str,
        source: str,
        model_args: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.identity = identity
        self.source = source
        self.model = model
        self.model_args = dict(model_args)
        self.architecture = self.model.pretrained_cfg["architecture"]
        self._input = timm.data.resolve_model_data_config(self.model)
        self._mean = torch.tensor(self._input["mean"]).view(3, 1, 1)
        self._std = torch.tensor(self._input["std"]).view(3, 1, 1)
        self._classifier_path = _remove_classifier(self.model)
        self._outline: Outline = outline_of(self.model)
        self.depth = len(self._outline.units)
        self.width = self.token_width = self.model.head_hidden_size
        self.fingerprint = _fingerprint(self.architecture, self.model)
        self.freeze(0.0)
        self.eval()
        _refuse_uncuttable(self)

    @classmethod
    def from_folder(cls, folder: Path, identity: str, source: str) -> ImageBackbone:
        """Load from a folder with timm's config.json and model.safetensors, such as a Run.

        Raises:
            BackboneError: If a file is missing, broken, or does not fit the architecture.
        """
        weights_file = folder / "model.safetensors"
        if not weights_file.is_file():
            raise BackboneError(
                f"the folder {folder} holds no model.safetensors; other formats are not loaded",
                "Give a folder that a Run or timm's save_for_hf(safe_serialization=True) wrote",
            )
        config = json.loads((folder / "config.json").read_text())
        trained_size = (config.get("pretrained_cfg") or {}).get("input_size")
        model_args = {
            **_size_args(config["architecture"], trained_size),
            **(config.get("model_args") or {}),
        }
        model = _create(f"local-dir:{folder}", model_args, pretrained=True)
        return cls(model, identity=identity, source=source, model_args=model_args)

    @classmethod
    def from_packaged(cls, weights_file: Path, identity: str) -> ImageBackbone:
        """Load the state dict of a weight package; its names are foreign, its order is timm's.

        Args:
            weights_file: From `find_packaged`, so its SHA-256 is already checked.
            identity: `timm/architecture.tag`.
        """
        architecture = identity.removeprefix("timm/").partition(".")[0]
        model = _create(architecture, {})
        foreign = torch.load(weights_file, map_location="cpu", weights_only=True)
        renamed = dict(zip(model.state_dict(), foreign.values(), strict=True))
        model.load_state_dict(renamed)
        return cls(model, identity=identity, source="package", model_args={})

    @classmethod
    def from_architecture(cls, architecture: str, *, seed: int = 0) -> ImageBackbone:
        """Build with random weights, for tests and controls.

        Args:
            architecture: timm's name of it (`resnet18`).
            seed: Of the weights; the caller's own random numbers go on undisturbed.

        Raises:
            BackboneError: If timm has no such architecture.
        """
        model_args = _size_args(architecture)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = _create(architecture, model_args)
        identity = f"random/{architecture}"
        return cls(model, identity=identity, source="random", model_args=model_args)

    @classmethod
    def from_blueprint(
        cls, blueprint: Mapping[str, Any], weights: Mapping[str, Tensor], *, identity: str
    ) -> ImageBackbone:
        """Build what `blueprint` and `weights` describe."""
        model_args = blueprint["model_args"]
        with torch.random.fork_rng(devices=[]):
            model = _create(
                blueprint["architecture"],
                {**model_args, "pretrained_cfg": blueprint["pretrained_cfg"]},
            )
        backbone = cls(model, identity=identity, source="pack", model_args=model_args)
        backbone.model.load_state_dict(weights)
        backbone.fingerprint = _fingerprint(backbone.architecture, backbone.model)
        return backbone

    def _encode_anew(self, split: Split, *, max_length: int, image_size: int) -> Examples:
        """Decode and resize every row once; see `Backbone.encode`."""
        if split.images is None:
            raise BackboneError(
                f"the image backbone {self.identity!r} was given rows without images",
                "Choose a text backbone such as minilm",
            )
        pixels = decode_images(split.images, image_size, self._input["interpolation"])
        return Examples(columns={"pixels": pixels}, lengths=np.ones(len(split), dtype=np.int64))

    def collate(self, examples: Examples, rows: Sequence[int] | np.ndarray) -> Batch:
        """Gather rows and normalise them as the model was trained; see `Backbone.collate`."""
        column = examples.columns["pixels"]
        pixels = torch.as_tensor(column)[torch.as_tensor(rows)].float() / 255
        return {"pixels": (pixels - self._mean) / self._std}  # (rows, 3, side, side)

    def stem(self) -> list[nn.Module]:
        """Return the modules before the first block, and the parameters of the model itself."""
        modules = [self.model.get_submodule(path) for path in self._outline.stem]
        loose = [self.model.get_parameter(path) for path in self._outline.loose]
        return [*modules, nn.ParameterList(loose)] if loose else modules

    def blocks(self) -> list[nn.Module]:
        """Return the residual blocks in order, each with what downsamples before it."""
        units = [[self.model.get_submodule(path) for path in unit] for unit in self._outline.units]
        return [unit[0] if len(unit) == 1 else nn.ModuleList(unit) for unit in units]

    def hidden_states(self, batch: Batch, depths: Sequence[int]) -> dict[int, Tensor]:
        """Return the hidden states after some depths; see `Backbone.hidden_states`."""
        blocks = [self.model.get_submodule(path) for path in self._outline.blocks]
        found: dict[int, Tensor] = {}
        with recorded(blocks, depths, found):
            self._run(batch["pixels"])
        return found

    def forward(self, batch: Batch, *, start: int = 0, hidden: Tensor | None = None) -> Tensor:
        """Run the blocks from `start` on and pool; see `Backbone.forward`."""
        pixels = batch["pixels"]
        if start == 0:
            return self._run(pixels)
        if hidden is None:
            raise ValueError(f"start is {start}: the hidden state after that depth is needed")
        with handed_in(self.model, self._outline, start, _laid_out(hidden)):
            return self._run(pixels[:1])  # The stem runs on one row, for nothing but its shape.

    def _run(self, pixels: Tensor) -> Tensor:
        with quick_convolutions(pixels.device.type):
            features: Tensor = self.model(_laid_out(pixels))
        return features

    def pool(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Average over positions; see `Backbone.pool`."""
        if hidden.ndim == 3:  # (rows, tokens, channels)
            return hidden.mean(1)
        channels_last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
        return hidden.mean((1, 2) if channels_last else (2, 3))

    def train(self, mode: bool = True) -> ImageBackbone:
        """Set training mode everywhere but in frozen modules and BatchNorm statistics."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BATCH_NORM):
                module.train(False)
        return self

    def blueprint(self) -> dict[str, Any]:
        """Return architecture and preprocessing; see `Backbone.blueprint`."""
        return {
            "architecture": self.architecture,
            "model_args": self.model_args,
            "pretrained_cfg": {
                "architecture": self.architecture,
                "first_conv": self.model.pretrained_cfg.get("first_conv"),
                "classifier": self._classifier_path,
                **self._input,
            },
        }

    def save(
        self,
        folder: Path,
        head: nn.Linear,
        label_names: Sequence[str],
        *,
        kind: Kind = "image_classification",
        image_size: int | None = None,
    ) -> None:
        """Write one model that `timm.create_model("local-dir:FOLDER", pretrained=True)` loads.

        Args:
            folder: Exists already; files are written into it.
            head: `(outputs, width)` linear layer on the pooled features.
            label_names: Class names.
            kind: Images are classified.
            image_size: Pixels per side that the model was trained with, written down as its
                preprocessing; None keeps those of pretraining.
        """
        weights = dict(self.model.state_dict())
        weights[f"{self._classifier_path}.weight"] = head.weight
        weights[f"{self._classifier_path}.bias"] = head.bias
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        config = self._config(
            head.out_features, label_names, image_size or self._input["input_size"][-1]
        )
        (folder / "config.json").write_text(json.dumps(config, indent=2))

    def save_encoder(self, folder: Path) -> None:
        """Write a timm model whose classifier has learned nothing; see `Backbone.save_encoder`."""
        self.save(folder, nn.Linear(self.width, 2), ("0", "1"))

    def _config(self, classes: int, label_names: Sequence[str], side: int) -> dict[str, Any]:
        """Return timm's config.json for this model with a classifier of so many classes."""
        preprocessing = {"input_size": (3, side, side), "crop_pct": 1.0, "crop_mode": "center"}
        kept = {name: self.model.pretrained_cfg.get(name) for name in ("first_conv", "license")}
        return {
            "architecture": self.architecture,
            "num_classes": classes,
            "num_features": self.width,
            "label_names": list(label_names),
            "model_args": self.model_args,
            "pretrained_cfg": {
                **kept,
                **self._input,
                **preprocessing,
                "num_classes": classes,
                "classifier": self._classifier_path,
            },
        }


def _create(name: str, model_args: Mapping[str, Any], *, pretrained: bool = False) -> nn.Module:
    """Build a timm model, or say why it cannot be built."""
    try:
        return timm.create_model(name, pretrained=pretrained, **model_args)
    except (
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        OSError,
        SafetensorError,
    ) as error:
        raise BackboneError(
            f"the image backbone {name!r} cannot be loaded by timm: {error}",
            "Check the architecture's name and that the weights belong to it",
        ) from error


def _size_args(architecture: str, trained_size: Sequence[int] | None = None) -> dict[str, Any]:
    """Let models with learned positions take any image size: the positions are interpolated.

    Args:
        architecture: timm's name.
        trained_size: `(channels, height, width)` that the positions are for; the
            architecture's own by default.
    """
    known = timm.models.get_pretrained_cfg(architecture, allow_unregistered=True)
    if known is None or not known.fixed_input_size:
        return {}
    side = (trained_size or known.input_size)[-1]
    return {"img_size": side, "dynamic_img_size": True, "dynamic_img_pad": True}


def _laid_out(pixels: Tensor) -> Tensor:
    """Put the channels last in memory, as convolutions on a CPU want them; the numbers stay."""
    if pixels.ndim == 4 and pixels.device.type == "cpu":
        return pixels.contiguous(memory_format=torch.channels_last)
    return pixels


def _remove_classifier(model: Any) -> str:
    """Take the classifier off, so that the model gives pooled features; return its path."""
    classifier = model.get_classifier()
    path = next((path for path, module in model.named_modules() if module is classifier), None)
    if path is None or not isinstance(classifier, nn.Linear):
        raise BackboneError(
            f"{type(model).__name__} does not end in one linear classifier",
            "Choose another timm model, such as tf_efficientnet_lite0 or resnet18",
        )
    model.reset_classifier(0)
    return path


def _fingerprint(architecture: str, model: nn.Module) -> str:
    """Hash the architecture and every pretrained number, the same from whatever source."""
    digest = hashlib.sha256(architecture.encode())
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():  # Not BatchNorm's count of batches: nothing reads it.
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _refuse_uncuttable(backbone: ImageBackbone) -> None:
    """Refuse a family whose state between two blocks is more than one block's output.

    Raises:
        BackboneError: If running from the middle gives other features than running it whole.
    """
    middle = max(1, backbone.depth // 2)
    batch = {"pixels": torch.linspace(-1, 1, 2 * 3 * 64 * 64).view(2, 3, 64, 64)}
    try:
        with torch.no_grad():
            whole = backbone(batch)
            hidden = backbone.hidden_states(batch, [middle])[middle]
            difference = float((backbone(batch, start=middle, hidden=hidden) - whole).abs().max())
    except TypeError:  # A block that takes or gives a list of states (DenseNet).
        difference = float("inf")
    if difference > 1e-4 * float(whole.abs().max()):
        raise BackboneError(
            f"{backbone.architecture} cannot be run from a block in its middle: its blocks "
            "pass on more than one state",
            "Choose another timm model, such as tf_efficientnet_lite0 or resnet18",
        )
