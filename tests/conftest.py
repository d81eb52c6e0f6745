"""Tiny real models and tasks that every test may use, and a home of its own for metaft's files."""

from __future__ import annotations

import contextlib
import io
import os
import string
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

# Read when the libraries are imported, so they come first.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"

import hypothesis
import numpy as np
import pytest

from metaft.tasks.task import Answer, Kind, Metric, Split, Task

if TYPE_CHECKING:
    from metaft.backbones.image import ImageBackbone
    from metaft.backbones.text import Pooling, TextBackbone

# The same examples every time, and no clock: neighbours on the machine fail no test.
hypothesis.settings.register_profile(
    "metaft",
    derandomize=True,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("metaft")

_CLASS_WORDS = ("river", "engine", "violin", "lawyer", "planet", "kitchen", "soccer", "winter")
_FILLERS = ("the", "a", "of", "was", "near", "some", "old", "very", "with", "under")
_METRICS: dict[str, Metric] = {
    "regression": "pearson",
    "ner": "entity_f1",
    "qa": "exact_match",
}
_WORDS_PER_TEXT = 6
_SIDE_PIXELS = 16


class TextBackboneFactory(Protocol):
    """Builds a small random BERT."""

    def __call__(
        self, *, depth: int = 2, width: int = 16, pooling: Pooling = "mean", seed: int = 0
    ) -> TextBackbone: ...


class ImageBackboneFactory(Protocol):
    """Builds a small random timm model."""

    def __call__(self, *, seed: int = 0) -> ImageBackbone: ...


class TaskFactory(Protocol):
    """Builds a task that a tiny model can learn: one word (or colour) gives the class away."""

    def __call__(
        self,
        *,
        rows: int = 48,
        classes: int = 2,
        kind: Kind = "classification",
        seed: int = 0,
        name: str = "tiny",
    ) -> Task: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("METAFT_DATA"):
        return
    skip = pytest.mark.skip(reason="METAFT_DATA names no mirror of real datasets")
    for item in items:
        if "mirror" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def metaft_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Keep the user's own store and caches out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        home = str(tmp_path_factory.mktemp("home"))
        patch.setenv("METAFT_HOME", home)
        yield home


@pytest.fixture(autouse=True)
def _without_mirror(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the mirror from tests that do not ask for it: they must pass without one."""
    if "mirror" not in request.keywords:
        monkeypatch.delenv("METAFT_DATA", raising=False)


@pytest.fixture(scope="session")
def tiny_text_backbone() -> TextBackboneFactory:
    """Return a factory of small random BERTs; each call gives a fresh one."""
    from transformers import BertConfig, BertTokenizer

    from metaft.backbones.text import TextBackbone

    vocabulary = _vocabulary()

    def build(
        *, depth: int = 2, width: int = 16, pooling: Pooling = "mean", seed: int = 0
    ) -> TextBackbone:
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=2,
            intermediate_size=2 * width,
            max_position_embeddings=64,
        )
        tokenizer: Any = BertTokenizer(vocab=vocabulary)
        return TextBackbone.from_config(config, tokenizer, pooling=pooling, seed=seed)

    return build


@pytest.fixture(scope="session")
def backbone_folder(
    tmp_path_factory: pytest.TempPathFactory, tiny_text_backbone: TextBackboneFactory
) -> str:
    """Return a folder with a tiny backbone, as `load_backbone` and `--backbone` take it."""
    from torch import nn

    folder = tmp_path_factory.mktemp("backbone")
    backbone = tiny_text_backbone()
    backbone.save(folder, nn.Linear(backbone.width, 2), ("no", "yes"))
    return str(folder)


@pytest.fixture(scope="session")
def tiny_image_backbone() -> ImageBackboneFactory:
    """Return a factory of small random residual networks; each call gives a fresh one."""
    from metaft.backbones.image import ImageBackbone

    def build(*, seed: int = 0) -> ImageBackbone:
        return ImageBackbone.from_architecture("test_resnet", seed=seed)

    return build


@pytest.fixture(scope="session")
def tiny_task() -> TaskFactory:
    """Return a factory of tasks: `rows` for training, half as many for each other split."""

    def build(
        *,
        rows: int = 48,
        classes: int = 2,
        kind: Kind = "classification",
        seed: int = 0,
        name: str = "tiny",
    ) -> Task:
        rng = np.random.default_rng(seed)
        splits = [_split(kind, count, classes, rng) for count in (rows, rows // 2, rows // 2)]
        return Task(
            name=name,
            kind=kind,
            train=splits[0],
            validation=splits[1],
            test=splits[2],
            label_names=_label_names(kind, classes),
            metric=_METRICS.get(kind, "accuracy"),
            source="file",
        )

    return build


class _PoolOfThisProcess:
    """Does at once what is submitted."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments))
        return future

    def is_death(self, error: Exception) -> bool:
        return False

    def stop(self) -> None:
        """Nothing runs on."""


@pytest.fixture
def workers_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let recorder, searches and studies do their work here, one worker after the other."""
    from metaft.searching import working
    from metaft.studying import running
    from metaft.traces import recorder

    def open_pool(engine: str, workers: int, address: str | None = None) -> Any:
        return contextlib.nullcontext(_PoolOfThisProcess(workers))

    for module in (recorder, running, working):
        monkeypatch.setattr(module, "open_pool", open_pool)


def _vocabulary() -> dict[str, int]:
    """Whole words of the tiny tasks, and single characters for every other word."""
    characters = string.ascii_lowercase + string.digits + string.punctuation
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_CLASS_WORDS, *_FILLERS]
    tokens += [*characters, *(f"##{character}" for character in characters)]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def _label_names(kind: Kind, classes: int) -> tuple[str, ...]:
    if kind in ("regression", "qa"):
        return ()
    names = _CLASS_WORDS[:classes]
    return ("O", *(f"B-{name}" for name in names)) if kind == "ner" else names


def _split(kind: Kind, rows: int, classes: int, rng: np.random.Generator) -> Split:
    labels = np.arange(rows) % classes  # balanced, whatever the size
    rng.shuffle(labels)
    if kind == "image_classification":
        return Split(labels=labels, images=tuple(_image(label, rng) for label in labels.tolist()))
    texts = _texts(labels, rng)
    if kind == "ner":
        return _tagged(texts, labels)
    if kind == "qa":
        return _asked(texts, labels)
    pairs = _texts(labels, rng) if kind == "pair_classification" else None
    if kind == "regression":
        targets = labels + rng.normal(0, 0.1, rows)
        return Split(labels=targets, texts=texts)
    return Split(labels=labels, texts=texts, text_pairs=pairs)


def _tagged(texts: tuple[str, ...], labels: np.ndarray) -> Split:
    """Tag the word that gives the class away, and no other."""
    words = tuple(tuple(text.split()) for text in texts)
    tags = tuple(
        np.array([(word == _CLASS_WORDS[label]) * (label + 1) for word in row], dtype=np.int64)
        for row, label in zip(words, labels.tolist(), strict=True)
    )
    return Split(labels=labels + 1, texts=texts, words=words, tags=tags)


def _asked(texts: tuple[str, ...], labels: np.ndarray) -> Split:
    """Ask for the word that gives the class away."""
    found = [_CLASS_WORDS[label] for label in labels.tolist()]
    answers = tuple(
        (Answer(word, text.index(word)),) for text, word in zip(texts, found, strict=True)
    )
    questions = tuple(f"some {number}" for number in range(len(texts)))
    ones = np.ones(len(texts), dtype=np.int64)
    return Split(labels=ones, texts=questions, text_pairs=texts, answers=answers)


def _texts(labels: np.ndarray, rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(_text(label, rng) for label in labels.tolist())


def _text(label: int, rng: np.random.Generator) -> str:
    words = [str(word) for word in rng.choice(_FILLERS, _WORDS_PER_TEXT)]
    words.insert(int(rng.integers(_WORDS_PER_TEXT)), _CLASS_WORDS[label])
    return " ".join([*words, str(rng.integers(10**6))])  # the number keeps texts apart


def _image(label: int, rng: np.random.Generator) -> bytes:
    """Draw noise in which one colour channel is bright; give it as PNG."""
    from PIL import Image

    pixels = rng.integers(0, 100, (_SIDE_PIXELS, _SIDE_PIXELS, 3), dtype=np.uint8)
    pixels[:, :, label % 3] += 100
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()
