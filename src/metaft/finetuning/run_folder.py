"""Run: the folder that a fine-tuning run leaves behind.

It holds the model (`save_pretrained` form for texts, timm's for images), `recipe.yaml`,
`trace.json` and `README.md`, the model card. Plain transformers or timm loads the model;
nothing of metaft is needed to use it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from metaft.errors import RecipeError, UserError
from metaft.files import refuse_working_folder, written_beside
from metaft.finetuning.answering import may_refuse
from metaft.finetuning.model import Classifier
from metaft.recipes import Recipe
from metaft.tasks.task import Task

RECIPE_FILE = "recipe.yaml"
TRACE_FILE = "trace.json"
CARD_FILE = "README.md"
CHAIN_FILE = "crf.safetensors"
"""Scores of a tag after a tag, where the head is `crf`; plain transformers does without."""


_PIPELINES = {
    "image_classification": "image-classification",
    "ner": "token-classification",
    "qa": "question-answering",
}


def check_out_folder(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds something, before any work is done.

    Raises:
        UserError: If `out` is a file or the working folder, or holds files and `overwrite` is
            not set; a folder that is no Run is never overwritten.
    """
    refuse_working_folder(out)
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir():
        raise UserError(f"--out is {out}, which is a file", "Name a folder")
    if not overwrite:
        raise UserError(
            f"--out is {out}, which is not empty", "Name another folder, or add --overwrite"
        )
    if not (out / TRACE_FILE).exists():
        raise UserError(
            f"--out is {out}, which holds files but no {TRACE_FILE}: it is no Run of metaft",
            "Name another folder",
        )


def save_run(
    folder: Path,
    *,
    model: Classifier,
    task: Task,
    recipe: Recipe,
    trace: Mapping[str, Any],
    init: str,
    predicted: Mapping[str, Any] | None,
) -> None:
    """Write a Run, whole or not at all.

    Args:
        folder: Replaced where it exists.
        model: After its best epoch.
        task: What it was trained on.
        recipe: What was run.
        trace: The Trace as plain values; `race` is what came before, where there was a race.
        init: `pretrained` or `meta`.
        predicted: What the prior expected, where it was asked.
    """
    with written_beside(folder) as beside:
        beside.mkdir()
        model.backbone.save(
            beside, model.head, task.label_names, kind=task.kind, image_size=recipe.image_size
        )
        if model.chain is not None:
            save_file(model.chain.state_dict(), beside / CHAIN_FILE)
        recipe.save(beside / RECIPE_FILE)
        trace = {
            **trace,
            "kind": task.kind,
            "has_pairs": task.train.text_pairs is not None,
            "may_refuse": may_refuse(task),
        }
        (beside / TRACE_FILE).write_text(json.dumps(trace, indent=1, ensure_ascii=False))
        card = _write_card(task, recipe, trace, init, predicted)
        (beside / CARD_FILE).write_text(card)


def load_recipe_of_run(folder: Path) -> Recipe:
    """Read the Recipe of a Run.

    Raises:
        RecipeError: If the folder is no Run.
    """
    if not (folder / RECIPE_FILE).is_file():
        raise RecipeError(f"{folder} holds no {RECIPE_FILE}", "Name the folder of a Run")
    return Recipe.load(folder / RECIPE_FILE)


def _write_card(
    task: Task,
    recipe: Recipe,
    trace: Mapping[str, Any],
    init: str,
    predicted: Mapping[str, Any] | None,
) -> str:
    costs = trace["costs"]
    sections = [
        _front_matter(task),
        f"# {Path(task.name).name}, fine-tuned by metaft\n",
        f"`{trace['backbone']}` ({init} initialisation) on {len(task.train):,} training rows of "
        f"`{task.name}` ({task.source}), the model after epoch {trace['best_epoch']} of "
        f"{recipe.epochs}, chosen on {len(task.validation):,} validation rows.\n",
        "## Scores\n",
        _scores_table(trace),
        _prediction_line(predicted),
        _race_section(trace),
        "## Epochs\n",
        _curve_table(trace, task.metric),
        "## Costs\n",
        f"{costs['wall_seconds']:.1f} s of wall time, {costs['cpu_seconds']:.1f} s of CPU time, "
        f"{costs['peak_memory_mib']:.0f} MiB at most, in {trace['precision']} on "
        f"{trace['device']}{_race_costs(trace)}.\n",
        "## Use\n",
        _usage(task),
        "## Recipe\n",
        f"`{RECIPE_FILE}` repeats the run: `metaft finetune --dataset {task.name} "
        f"--recipe {RECIPE_FILE} --out DIR`.\n",
        _table(["field", "value"], [[name, str(v)] for name, v in recipe.to_mapping().items()]),
    ]
    return "\n".join(section for section in sections if section)


def _front_matter(task: Task) -> str:
    """Write the header that the hub reads."""
    library = "timm" if task.modality == "image" else "transformers"
    pipeline = _PIPELINES.get(task.kind, "text-classification")
    return f"---\nlibrary_name: {library}\npipeline_tag: {pipeline}\ntags:\n- metaft\n---\n"


def _scores_table(trace: Mapping[str, Any]) -> str:
    # What is no number stands as a text in a trace.
    rows = [
        [name, *(f"{float(trace[split][name]):.4f}" for split in ("validation", "test"))]
        for name in trace["validation"]
    ]
    return _table(["score", "validation", "test"], rows)


def _prediction_line(predicted: Mapping[str, Any] | None) -> str:
    if predicted is None:
        return ""
    return (
        f"The prior expected {predicted['metric']} {predicted['score']:.3f} "
        f"({predicted['low']:.3f} to {predicted['high']:.3f}) before the first step.\n"
    )


def _race_section(trace: Mapping[str, Any]) -> str:
    """Write which recipes raced for the first epoch, where some did."""
    if "race" not in trace:
        return ""
    race = trace["race"]
    fields = ("learning_rate", "frozen_fraction", "batch_size", "head_init", "epochs")
    rows = [
        [
            *(str(racer["recipe"][name]) for name in fields),
            racer["status"] if racer["validation"] is None else f"{racer['validation']:.4f}",
            "yes" if racer["won"] else "",
        ]
        for racer in race["racers"]
    ]
    header = [*fields, f"validation {race['metric']} after epoch 1", "went on"]
    return (
        "## Race\n\nThe first recipe goes on unless another leads it by more than "
        f"{race['lead_points']:g} points after one epoch.\n\n{_table(header, rows)}"
    )


def _race_costs(trace: Mapping[str, Any]) -> str:
    if "race" not in trace:
        return ""
    return f"; {trace['race']['wall_seconds']:.1f} s of it for the recipes that lost the race"


def _curve_table(trace: Mapping[str, Any], metric: str) -> str:
    rows = [
        [
            str(record["epoch"]),
            f"{float(record['train_loss']):.4f}",
            f"{float(record['validation'][metric]):.4f}",
            f"{record['train_seconds']:.1f}",
        ]
        for record in trace["curve"]
    ]
    return _table(["epoch", "training loss", f"validation {metric}", "training seconds"], rows)


def _usage(task: Task) -> str:
    return f"```bash\n{_command(task)}\n```\n\n```python\n{_code(task)}\n```\n"


def _command(task: Task) -> str:
    given = {
        "qa": '--question "Who?" --context "A text."',
        "image_classification": "--image photo.jpg",
    }
    text = '--text "a text"' + (' --text-pair "another"' if task.train.text_pairs else "")
    what = given.get(task.kind, text)
    return f"metaft predict --run THIS_FOLDER {what}"


def _code(task: Task) -> str:
    if task.modality == "image":
        return 'import timm\n\nmodel = timm.create_model("local-dir:THIS_FOLDER", pretrained=True)'
    if task.kind == "qa":
        return (
            "from transformers import AutoModelForQuestionAnswering\n\n"
            'model = AutoModelForQuestionAnswering.from_pretrained("THIS_FOLDER")'
        )
    code = (
        "from transformers import pipeline\n\n"
        f'answer = pipeline("{_PIPELINES.get(task.kind, "text-classification")}", '
        'model="THIS_FOLDER")'
    )
    if task.is_regression:
        one = '{"text": "a text", "text_pair": "another"}'
        what = one if task.train.text_pairs else '"a text"'
        code += f'\nanswer({what}, function_to_apply="none")'
    return code


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"
