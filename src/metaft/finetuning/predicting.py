"""Predictor: a Run's model at work on new texts, questions or images."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from metaft.backbones.backbone import Examples
from metaft.backbones.text_files import longest_input, quiet_transformers
from metaft.backbones.text_saving import HEAD_FILE
from metaft.backbones.tokens import encode_questions, encode_words
from metaft.errors import UserError
from metaft.finetuning.answering import answer_place, best_answers, in_context
from metaft.finetuning.batches import evaluation_batches
from metaft.finetuning.chain import TagChain
from metaft.finetuning.entities import entities_in, has_entities, scheme_steps
from metaft.finetuning.run_folder import CHAIN_FILE, TRACE_FILE, load_recipe_of_run
from metaft.finetuning.tagging import read_tags
from metaft.tasks.task import Split

Prediction = dict[str, Any]

_WORD = re.compile(r"\w+|[^\w\s]")
_ROWS = 64  # Of a batch of texts or images.


class Predictor(ABC):
    """A Run's model.

    Attributes:
        kind: Of the task that it was trained on.
        has_pairs: Whether its rows were pairs of texts.
    """

    has_pairs = False

    def __init__(self, folder: Path, kind: str) -> None:
        self.kind = kind
        self.recipe = load_recipe_of_run(folder)

    @abstractmethod
    def predict(self, split: Split) -> list[Prediction]:
        """Return one answer per row.

        Args:
            split: Its texts, text pairs or images; labels do not matter.
        """


def open_run(folder: Path) -> Predictor:
    """Load the model of a Run.

    Raises:
        RecipeError: If the folder is no Run.
        UserError: If its model cannot be loaded.
    """
    load_recipe_of_run(folder)
    try:
        trace = json.loads((folder / TRACE_FILE).read_text())
        predictor = _CLASSES.get(trace["kind"], _TextClasses)(folder, trace["kind"])
        # Older Runs do not say it; of their regressions nobody can tell.
        predictor.has_pairs = trace.get("has_pairs", trace["kind"] in ("pair_classification", "qa"))
        return predictor
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(
            f"the Run in {folder} cannot be loaded: {error}", "Train it again with metaft finetune"
        ) from error


class _OfTexts(Predictor):
    """A Run whose model reads texts.

    Attributes:
        tokenizer: That of its backbone.
        model: The family's own model for the kind.
        label_names: Class number -> name.
        longest: Tokens of a row, at most.
    """

    family = "AutoModelForSequenceClassification"

    def __init__(self, folder: Path, kind: str) -> None:
        import transformers

        super().__init__(folder, kind)
        name = "AutoModel" if (folder / HEAD_FILE).exists() else self.family
        with quiet_transformers():
            self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
            self.model: Any = getattr(transformers, name).from_pretrained(
                folder, dtype=torch.float32, attn_implementation="eager"
            )
        self.model.eval()
        self.longest = longest_input(self.model.config, self.recipe.max_length)
        names = self.model.config.id2label or {}
        self.label_names = tuple(names[at] for at in sorted(names))
        self._head = _head_in(folder)

    def _token_logits(self, examples: Examples) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield row numbers and the logits `(rows, tokens, outputs)` of their tokens."""
        for rows in evaluation_batches(examples.lengths):
            columns = {
                name: [column[row].tolist() for row in rows]
                for name, column in examples.columns.items()
            }
            batch = self.tokenizer.pad(columns, return_tensors="pt", padding_side="right")
            with torch.inference_mode():
                yield rows, self._outputs(self.model(**batch))

    def _outputs(self, answer: Any) -> Tensor:
        if self._head is not None:
            outputs: Tensor = self._head(answer.last_hidden_state)
            return outputs
        return self._own_outputs(answer)

    def _own_outputs(self, answer: Any) -> Tensor:
        outputs: Tensor = answer.logits
        return outputs


class _TextClasses(_OfTexts):
    """One class or one number for each text or pair."""

    def predict(self, split: Split) -> list[Prediction]:
        """Return label and probabilities, or the value."""
        texts, pairs = split.texts or (), split.text_pairs
        found: list[Prediction] = []
        for at in range(0, len(texts), _ROWS):
            batch = self.tokenizer(
                list(texts[at : at + _ROWS]),
                list(pairs[at : at + _ROWS]) if pairs else None,
                truncation=True,
                max_length=self.longest,
                padding=True,
                return_tensors="pt",
            )
            with torch.inference_mode():
                logits = self.model(**batch).logits
            if self.kind == "regression":
                found += [{"value": value} for value in logits[:, 0].tolist()]
            else:
                found += _classes(logits, self.label_names)
        return found


class _Tags(_OfTexts):
    """A tag for every word, and the entities that tags mark."""

    family = "AutoModelForTokenClassification"

    def __init__(self, folder: Path, kind: str) -> None:
        super().__init__(folder, kind)
        self._chain = _chain_in(folder, self.label_names)

    def predict(self, split: Split) -> list[Prediction]:
        """Return the words with their tags, and the entities with their places in the text."""
        texts = split.texts or ()
        found = [list(_WORD.finditer(text)) for text in texts]
        words = tuple(tuple(match.group() for match in row) for row in found)
        rows = Split(
            labels=np.zeros(len(texts)), texts=tuple(" ".join(row) for row in words), words=words
        )
        examples = encode_words(self.tokenizer, rows, self.longest)
        tags: dict[int, np.ndarray] = {}
        for numbers, logits in self._token_logits(examples):
            read = read_tags(logits, examples, numbers, self.label_names, chain=self._chain)
            tags |= {int(n): row.tags for n, row in zip(numbers, read, strict=True)}
        return [self._describe(texts[at], found[at], tags[at]) for at in range(len(texts))]

    def _describe(
        self, text: str, words: Sequence[re.Match[str]], numbers: np.ndarray
    ) -> Prediction:
        names = [self.label_names[number] for number in numbers]
        tagged = {
            "words": [
                {"word": match.group(), "tag": name}
                for match, name in zip(words, names, strict=True)
            ]
        }
        if not has_entities(self.label_names):
            return tagged
        entities = [
            {
                "type": kind,
                "text": text[words[first].start() : words[last].end()],
                "start": words[first].start(),
                "end": words[last].end(),
            }
            for kind, first, last in entities_in(names)
        ]
        return {"entities": entities, **tagged}


class _Answers(_OfTexts):
    """Where in a context the answer to a question stands."""

    family = "AutoModelForQuestionAnswering"

    def __init__(self, folder: Path, kind: str) -> None:
        super().__init__(folder, kind)
        self._may_refuse = bool(json.loads((folder / TRACE_FILE).read_text()).get("may_refuse"))

    def predict(self, split: Split) -> list[Prediction]:
        """Return the answer and its characters; empty where the context has none."""
        contexts = split.text_pairs or ()
        examples = encode_questions(self.tokenizer, split, self.longest)
        windows: list[list[Any]] = [[] for _ in contexts]
        for rows, logits in self._token_logits(examples):
            scores = in_context(logits, examples, rows)
            for window in best_answers(scores, examples, rows, [0.0] * len(rows)):
                windows[window.row].append(window)
        answers = []
        for context, found in zip(contexts, windows, strict=True):
            start, end = answer_place(found, may_refuse=self._may_refuse)
            answers.append({"answer": context[start:end], "start": start, "end": end})
        return answers

    def _own_outputs(self, answer: Any) -> Tensor:
        return torch.stack([answer.start_logits, answer.end_logits], 2)


class _ImageClasses(Predictor):
    """One class for each image."""

    def __init__(self, folder: Path, kind: str) -> None:
        from metaft.backbones.image import ImageBackbone

        super().__init__(folder, kind)
        self._backbone = ImageBackbone.from_folder(folder, str(folder), "folder").eval()
        config = json.loads((folder / "config.json").read_text())
        self.label_names = tuple(config["label_names"])
        self._head = _linear(
            load_file(folder / "model.safetensors"),
            f"{config['pretrained_cfg']['classifier']}.",
        )

    def predict(self, split: Split) -> list[Prediction]:
        """Return label and probabilities."""
        size = self.recipe.image_size
        examples = self._backbone.encode(split, max_length=1, image_size=size)
        found: list[Prediction] = []
        for at in range(0, len(split), _ROWS):
            rows = np.arange(at, min(at + _ROWS, len(split)))
            with torch.inference_mode():
                features = self._backbone(self._backbone.collate(examples, rows))
                found += _classes(self._head(features), self.label_names)
        return found


_CLASSES: Mapping[str, type[Predictor]] = {
    "ner": _Tags,
    "qa": _Answers,
    "image_classification": _ImageClasses,
}


def _classes(logits: Tensor, label_names: Sequence[str]) -> list[Prediction]:
    """Return the best class of each row and the probabilities of all."""
    probabilities = logits.float().softmax(1)
    return [
        {
            "label": label_names[int(row.argmax())],
            "probability": float(row.max()),
            "probabilities": dict(zip(label_names, row.tolist(), strict=True)),
        }
        for row in probabilities
    ]


def _head_in(folder: Path) -> nn.Linear | None:
    """Return the head that lies beside an encoder, where there is one."""
    if not (folder / HEAD_FILE).exists():
        return None
    return _linear(load_file(folder / HEAD_FILE), "")


def _chain_in(folder: Path, label_names: Sequence[str]) -> TagChain | None:
    if not (folder / CHAIN_FILE).exists():
        return None
    chain = TagChain(scheme_steps(label_names))
    chain.load_state_dict(load_file(folder / CHAIN_FILE))
    return chain


def _linear(weights: Mapping[str, Tensor], prefix: str) -> nn.Linear:
    weight = weights[f"{prefix}weight"]
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({name: weights[f"{prefix}{name}"] for name in ("weight", "bias")})
    return layer
