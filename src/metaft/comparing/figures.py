"""Figures of a Report: differences, ranks, regret against compute, and time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from metaft.comparing.drawing import (
    FAINT,
    INK,
    Drawing,
    Style,
    finish,
    mark_zero,
    new_figure,
    shorten,
)
from metaft.comparing.judging import Judgement
from metaft.comparing.report import Compared, Report
from metaft.comparing.results import POINTS, TaskResult
from metaft.significance import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH = 4.4  # inches; wider ones are hard to read on a phone
_ROW = 0.21  # inches of height per dataset
_RANKED_LETTERS = 15  # of a method's name in the rank diagram
_RANK_MARGIN = 0.8  # room for the names on either side, as a share of the axis
_RANK_ROW = 0.24  # inches of height per method or bar of a rank diagram
_REGRET_HEIGHT = 3.2  # inches


def draw_differences(
    report: Compared, judgement: Judgement, styles: Mapping[str, Style], prefix: str = ""
) -> Drawing:
    """Draw a method less the reference on every dataset: each seed's, and their mean.

    Args:
        report: Holds the tasks.
        judgement: Over those of the headline.
        styles: Of every method.
        prefix: Of the figure's name, see `finish`.
    """
    method, reference = judgement.method, judgement.reference
    having = [task for task in report.tasks if task.has(method)]
    tasks = sorted(having, key=lambda task: task.of(method).difference_points)
    figure, panel = new_figure(_WIDTH, 1.1 + _ROW * len(tasks))
    for at, task in enumerate(tasks):
        _draw_difference(panel, at, task, judgement, styles[method])
    _draw_mean(panel, judgement)
    mark_zero(panel, 0.0)
    names = [shorten(task.task) + "*" * task.is_seen for task in tasks]
    panel.set_yticks([-1, *range(len(tasks))], ["mean", *names])
    panel.set_ylim(-1.7, len(tasks) - 0.4)
    panel.set_xlabel(f"{shorten(method)} less {shorten(reference)}, points")
    panel.grid(visible=True, axis="x")
    name = f"{prefix}differences-{report.methods.index(method)}"
    return finish(figure, name, f"{method} less {reference}", _told(tasks, judgement))


def draw_ranks(report: Report, styles: Mapping[str, Style]) -> Drawing | None:
    """Draw the critical-difference diagram; None for two methods, or without datasets.

    Source:
        Demsar (2006), Statistical comparisons of classifiers over multiple data sets, figure 1.
    """
    ranks = report.ranks
    if ranks is None or math.isinf(ranks.critical_difference):
        return None
    order = [int(place) for place in np.argsort(ranks.mean_ranks, kind="stable")]
    left = order[: (len(order) + 1) // 2]
    levels = len(left) + len(ranks.groups)
    figure, panel = new_figure(_WIDTH, 1.0 + _RANK_ROW * levels)
    _draw_rank_axis(panel, len(order), ranks.critical_difference)
    for at, group in enumerate(ranks.groups, start=1):
        ends = [ranks.mean_ranks[group[0]] - 0.04, ranks.mean_ranks[group[-1]] + 0.04]
        panel.plot(ends, [at, at], color=INK, linewidth=4, solid_capstyle="round")
    for places, side in ((left, "left"), (order[len(left) :][::-1], "right")):
        for at, place in enumerate(places, start=len(ranks.groups) + 1):
            method = report.methods[place]
            _draw_rank(
                panel,
                shorten(method, _RANKED_LETTERS),
                ranks.mean_ranks[place],
                styles[method],
                level=at,
                is_left=side == "left",
                methods=len(order),
            )
    panel.set_ylim(levels + 0.7, -2.2)
    panel.set_axis_off()
    told = ", ".join(f"{report.methods[at]} {ranks.mean_ranks[at]:.2f}" for at in order)
    description = (
        f"Critical-difference diagram. Mean ranks, 1 is best: {told}. Critical difference "
        f"{ranks.critical_difference:.2f}. {_grouped(report)}"
    )
    return finish(figure, "ranks", "Mean ranks and critical difference", description)


def draw_regret(report: Report, styles: Mapping[str, Style]) -> Drawing:
    """Draw the mean regret of each method against the seconds that a run of it takes."""
    figure, panel = new_figure(_WIDTH, _REGRET_HEIGHT)
    for standing in report.standings:
        style = styles[standing.method]
        results = [task.of(standing.method) for task in report.unseen]
        panel.plot(
            [result.seconds for result in results],
            [result.regret_points for result in results],
            color=style.color,
            marker=style.marker,
            linestyle="none",
            markersize=4,
            alpha=FAINT,
        )
        _draw_whisker(panel, standing.seconds, standing.regret_interval, style.color)
        panel.plot(
            standing.seconds,
            standing.regret_points,
            color=style.color,
            marker=style.marker,
            markeredgecolor=INK,
            markersize=10,
        )
    panel.axhline(0.0, color=INK, linewidth=1.0)
    _scale_time(panel)
    panel.set_xlabel("wall seconds of a run")
    panel.set_ylabel("regret, points")
    panel.grid(visible=True)
    told = "; ".join(
        f"{one.method} {one.regret_points:.1f} points at {one.seconds:.1f} s"
        for one in report.standings
    )
    return finish(figure, "regret", "Regret against compute", f"Regret against compute: {told}.")


def draw_times(report: Compared, styles: Mapping[str, Style], prefix: str = "") -> Drawing:
    """Draw each method's seconds as a multiple of the reference's, dataset by dataset."""
    judgements = report.judgements
    figure, panel = new_figure(_WIDTH, 1.0 + 0.42 * len(judgements))
    for at, judgement in enumerate(judgements):
        style = styles[judgement.method]
        having = [task for task in report.unseen if task.has(judgement.method)]
        ratios = [_time_ratio(task, judgement) for task in having]
        panel.plot(
            ratios,
            np.full(len(ratios), at),
            color=style.color,
            marker=style.marker,
            linestyle="none",
            markersize=5,
            alpha=0.5,
        )
        time = judgement.time
        if math.isfinite(time.interval.high) and time.interval.low > 0:
            panel.hlines(at - 0.3, time.interval.low, time.interval.high, color=INK, linewidth=2)
        panel.plot(time.ratio, at - 0.3, color=INK, marker="d", markersize=7)
    mark_zero(panel, 1.0)
    _scale_time(panel)
    panel.set_yticks(range(len(judgements)), [shorten(one.method) for one in judgements])
    panel.set_ylim(len(judgements) - 0.4, -0.8)
    panel.set_xlabel(f"seconds, times those of {shorten(report.reference)}")
    panel.grid(visible=True, axis="x")
    told = ", ".join(f"{one.method} {one.time.ratio:.2f}" for one in judgements)
    description = f"Seconds as a multiple of those of {report.reference}: {told}."
    return finish(figure, f"{prefix}times", f"Time against {report.reference}", description)


def draw_key(style: Style, name: str) -> Drawing:
    """Draw a method's line and marker alone, to stand beside its name.

    Args:
        style: Of the method.
        name: See `finish`.
    """
    figure, panel = new_figure(0.36, 0.16)
    panel.plot([0, 1, 2], [0, 0, 0], color=style.color, linestyle=style.linestyle, linewidth=1.6)
    panel.plot(1, 0, color=style.color, marker=style.marker, markersize=6)
    panel.set_axis_off()
    return finish(figure, name, "", "")


def _draw_difference(
    panel: Axes, at: int, task: TaskResult, judgement: Judgement, style: Style
) -> None:
    ours, theirs = task.of(judgement.method), task.of(judgement.reference)
    seeds = [
        POINTS * (our.score - their.score)
        for our, their in zip(ours.runs, theirs.runs, strict=True)
    ]
    panel.hlines(at, 0, ours.difference_points, color=style.color, linewidth=1.2)
    panel.plot(seeds, [at] * len(seeds), color=INK, marker="|", linestyle="none", alpha=0.6)
    panel.plot(
        ours.difference_points,
        at,
        color=style.color,
        marker=style.marker,
        markersize=6,
        markerfacecolor="none" if task.is_seen else style.color,
    )


def _draw_mean(panel: Axes, judgement: Judgement) -> None:
    interval = judgement.points.mean_interval
    panel.axhline(-0.5, color=INK, linewidth=0.6, alpha=0.5)
    if math.isfinite(interval.low):
        panel.hlines(-1, interval.low, interval.high, color=INK, linewidth=2)
    panel.plot(judgement.points.mean_difference, -1, color=INK, marker="d", markersize=7)


def _told(tasks: Sequence[TaskResult], judgement: Judgement) -> str:
    """Describe the differences, given from lowest to highest."""
    method, reference = judgement.method, judgement.reference
    lowest, highest = (
        f"{task.of(method).difference_points:+.1f} on {task.task}" for task in (tasks[0], tasks[-1])
    )
    return (
        f"{method} less {reference} in points on {len(tasks)} datasets: from {lowest} to "
        f"{highest}, mean over the headline {judgement.points.mean_difference:+.1f}."
    )


def _draw_rank_axis(panel: Axes, methods: int, critical: float) -> None:
    panel.hlines(0, 1, methods, color=INK, linewidth=1.2)
    panel.vlines(range(1, methods + 1), -0.2, 0, color=INK, linewidth=1.2)
    for rank in range(1, methods + 1):
        panel.text(rank, -0.35, str(rank), ha="center", va="bottom")
    panel.plot([1, 1 + critical], [-1.5, -1.5], color=INK, marker="|", linewidth=1.2)
    panel.text(1 + critical / 2, -1.65, f"CD = {critical:.2f}", ha="center", va="bottom")
    margin = _RANK_MARGIN * (methods - 1)
    panel.set_xlim(1 - margin, max(methods, 1 + critical) + margin)


def _draw_rank(
    panel: Axes, name: str, rank: float, style: Style, *, level: int, is_left: bool, methods: int
) -> None:
    """Draw the line from a method's rank down and out to its name."""
    reach = 0.08 * (methods - 1)
    end = 1 - reach if is_left else methods + reach
    panel.plot([rank, rank, end], [0, level, level], color=style.color, linewidth=1.4)
    panel.plot(rank, 0, color=style.color, marker=style.marker, markersize=6, clip_on=False)
    if is_left:
        text = panel.text(end - 0.3 * reach, level, f"{name} {rank:.2f}", ha="right", va="center")
    else:
        text = panel.text(end + 0.3 * reach, level, f"{rank:.2f} {name}", ha="left", va="center")
    text.set(in_layout=False, fontsize=8)


def _grouped(report: Report) -> str:
    ranks = report.ranks
    if ranks is None or not ranks.groups:
        return "All methods differ."
    groups = (" and ".join(report.methods[at] for at in group) for group in ranks.groups)
    return f"Not shown to differ: {'; '.join(groups)}."


def _draw_whisker(panel: Axes, x: float, interval: Interval, colour: str) -> None:
    if math.isfinite(interval.low):
        panel.vlines(x, interval.low, interval.high, color=colour, linewidth=2)


def _scale_time(panel: Axes) -> None:
    """Make the axis logarithmic, with 0.5, 2 and 30 on it instead of powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    panel.set_xscale("log")
    low, high = panel.get_xlim()
    steps = (1.0, 2.0, 5.0) if high / low > 10 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
    panel.xaxis.set_major_locator(LogLocator(subs=steps))
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())


def _time_ratio(task: TaskResult, judgement: Judgement) -> float:
    return task.of(judgement.method).seconds / task.of(judgement.reference).seconds
