"""What `metaft finetune` answers: scores, costs and curve of its run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaft.cli.racing import race_in_words

if TYPE_CHECKING:
    from metaft.recipes import Recipe


def answer_of(
    dataset: str,
    out: Path,
    *,
    recipe: Recipe,
    init: str,
    trace: Mapping[str, Any],
    predicted: Mapping[str, Any] | None,
    probe: Mapping[str, Any] | None,
    race: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return what the command answers, as plain values.

    Args:
        dataset: As it was named.
        out: Folder of the Run.
        recipe: Of the run.
        init: What it started from.
        trace: The run's Trace as plain values.
        predicted: What the prior expected; None where it was not asked.
        probe: What trial steps told; None without.
        race: How the recipes raced; None without.
    """
    costs = ("wall_seconds", "cpu_seconds", "gpu_seconds", "peak_memory_mib")
    return {
        "dataset": dataset,
        "out": str(out),
        "recipe": recipe.to_mapping(),
        "init": init,
        "scores": {split: _as_numbers(trace[split]) for split in ("validation", "test")},
        "costs": {name: trace["costs"][name] for name in costs},
        "best_epoch": trace["best_epoch"],
        "status": trace["status"],
        "curve": _as_numbers(trace["curve"]),
        "predicted": predicted,
        "train_rows": trace["train_rows"],
        "metric": trace["metric"],
        "probe": probe,
        "race": race,
    }


def _as_numbers(value: Any) -> Any:
    """Undo that what is no number stands as a text in a trace."""
    if isinstance(value, Mapping):
        return {name: _as_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_numbers(item) for item in value]
    return float(value) if isinstance(value, str) else value


def render_answer(answer: Mapping[str, Any]) -> Any:
    """Return the answer as a terminal shows it."""
    from rich.console import Group
    from rich.table import Table

    from metaft.cli.suggest import probe_in_words

    recipe, costs, metric = answer["recipe"], answer["costs"], answer["metric"]
    scores = Table("", *answer["scores"]["test"], title=f"{answer['dataset']}: scores")
    for split in ("validation", "test"):
        scores.add_row(split, *(f"{value:.4f}" for value in answer["scores"][split].values()))
    lines = [
        f"recipe     learning rate {recipe['learning_rate']:g}, frozen "
        f"{recipe['frozen_fraction']:.0%}, batch {recipe['batch_size']}, "
        f"{recipe['schedule']}, head {recipe['head_init']}, {answer['init']} initialisation",
        f"rows       {answer['train_rows']:,} for training; best epoch {answer['best_epoch']} of "
        f"{recipe['epochs']}",
        f"costs      {costs['wall_seconds']:.1f} s wall, {costs['cpu_seconds']:.1f} s CPU, "
        f"{costs['peak_memory_mib']:.0f} MiB at most",
    ]
    if answer["predicted"]:
        expected = answer["predicted"]
        lines.append(
            f"predicted  {metric} {expected['score']:.3f} ({expected['low']:.3f} to "
            f"{expected['high']:.3f}) in {expected['train_seconds']:.0f} s"
        )
    if answer["probe"]:
        lines.append(f"probe      {probe_in_words(answer['probe'])}")
    if answer["race"]:
        lines += race_in_words(answer["race"])
    lines.append(f"run        {answer['out']}")
    return Group(scores, "\n".join(lines))
