"""`metaft augment`: what augmentation does to the rows of a dataset, to look at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from metaft.cli.dataset import DatasetSource
from metaft.cli.options import backbone_option, dataset_options, format_option
from metaft.cli.output import print_answer, progress_bar
from metaft.errors import UserError

_USUAL = {"text": "synonyms+insertion+swap+deletion", "image": "crop+flip+rotation+jitter"}


@click.command("augment")
@dataset_options
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The sheet, before and after: a picture (.png) or a page (.html).",
)
@backbone_option
@click.option(
    "--augmentation",
    metavar="NAMES",
    help="Methods joined by +, as in a recipe; default: all of texts but wordnet, or "
    "crop+flip+rotation+jitter.",
)
@click.option(
    "--strength",
    type=click.FloatRange(0.01, 1.0),
    default=0.1,
    show_default=True,
    help="Share of what each of them could change.",
)
@click.option(
    "--rows",
    type=click.IntRange(8, 4096),
    default=128,
    show_default=True,
    help="Training rows that are measured.",
)
@click.option(
    "--shown",
    type=click.IntRange(1, 64),
    default=6,
    show_default=True,
    help="Rows on the sheet.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True,
              help="Of the rows and of what happens to them.")  # fmt: skip
@click.option(
    "--language-model",
    metavar="ID",
    help="Causal language model that says how likely the texts are: a hub id or a folder. Adds "
    "the perplexity.",
)
@format_option
def command(
    *,
    source: DatasetSource,
    out: Path,
    backbone: str | None,
    augmentation: str | None,
    strength: float,
    rows: int,
    shown: int,
    seed: int,
    language_model: str | None,
    output_format: str,
) -> None:
    """Show and measure what augmentation does to rows.

    Label kept: a model fitted to half of the rows as they are gives a changed row of the other
    half the class that it gave before the change. Perplexity: of changed rows, cut at 128
    tokens; of none, of the rows as they are.
    """
    from metaft.augmenting.measures import measure_effects
    from metaft.augmenting.perplexity import LanguageModel
    from metaft.augmenting.sheet import check_sheet_path, save_sheet
    from metaft.augmenting.versions import Varied
    from metaft.backbones.load import default_backbone, load_backbone
    from metaft.recipes import Recipe
    from metaft.tasks.split import subsample

    check_sheet_path(out)
    if augmentation:
        Recipe(augmentation=augmentation)  # A wrong name fails before anything is loaded.
    whole = source.load()
    if language_model and whole.modality != "text":
        raise UserError(
            f"--language-model reads texts, and {whole.name!r} is a task of {whole.modality}s",
            "Leave --language-model out",
        )
    judge = LanguageModel.load(language_model, offline=source.offline) if language_model else None
    task = subsample(whole, train_rows=rows, seed=seed)
    recipe = Recipe(
        augmentation=augmentation or _USUAL[task.modality],
        augmentation_strength=strength,
        seed=seed,
    )
    network = load_backbone(backbone or default_backbone(task.modality), offline=source.offline)
    varied = Varied.prepare(task, network, recipe)
    with progress_bar(f"changing {task.name}", len(varied.augmenters)) as advance:
        effects = measure_effects(
            varied, language_model=judge, on_method=lambda method: advance(note=method)
        )
    save_sheet(out, varied, effects, shown)
    answer = {
        "dataset": source.name,
        "backbone": network.identity,
        "language_model": language_model,
        "out": str(out),
        "augmentation": recipe.augmentation,
        "strength": strength,
        "rows": len(task.train),
        "effects": [effect.to_mapping() for effect in effects],
    }
    print_answer(answer, output_format, _render)


def _render(answer: Mapping[str, Any]) -> Any:
    from rich.console import Group
    from rich.table import Table

    from metaft.augmenting.measures import Effect
    from metaft.augmenting.sheet import effect_table

    columns, rows = effect_table([Effect(**effect) for effect in answer["effects"]])
    table = Table(*columns, title=f"{answer['dataset']}: {answer['rows']} rows, strength "
                  f"{answer['strength']:g}")  # fmt: skip
    for row in rows:
        table.add_row(*row)
    return Group(table, f"sheet      {answer['out']}")
