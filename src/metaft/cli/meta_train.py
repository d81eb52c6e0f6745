"""`metaft meta-train`: record traces and fit a prior to them."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from metaft.cli.options import (
    backbone_option,
    cache_limit_option,
    design_options,
    format_option,
    offline_option,
    settings_option,
    store_option,
    tasks_option,
    time_limit_option,
    usual_backbone,
    workers_option,
)
from metaft.cli.output import StepBars, print_answer, print_notice, progress_bar
from metaft.cli.recording import RecordingBar
from metaft.errors import TaskError, UserError

if TYPE_CHECKING:
    from rich.table import Table

    from metaft.metalearning.memory_plan import MemoryPlan
    from metaft.metalearning.settings import Algorithm, MetaSettings
    from metaft.traces.engine import EngineName
    from metaft.traces.recorder import RecordingSummary
    from metaft.traces.store import TraceStore
    from metaft.traces.trace import PlannedRun

STAGES = ("traces", "init", "prior")

_OPTIONS_OF = {
    "traces": ("recipe_count", "epochs", "sizes", "seeds", "engine", "address", "fresh"),
    "init": ("algorithm", "held_out", "settings"),
}
"""Stage -> parameters that say what it does; how it is done may be said of any."""


def _parse_stages(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    names = [name.strip() for name in value.split(",") if name.strip()]
    unknown = [name for name in names if name not in STAGES]
    if unknown or not names:
        raise UserError(
            f"stages is {value!r}; allowed are {', '.join(STAGES)}, separated by commas",
            "Correct --stages",
        )
    return tuple(stage for stage in STAGES if stage in names)


@click.command("meta-train")
@tasks_option
@backbone_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder of the prior.",
)
@click.option(
    "--stages",
    default="traces,prior",
    show_default=True,
    metavar="LIST",
    callback=_parse_stages,
    help="What to do: record traces, meta-learn an initialisation (init), fit the prior. The "
    "init takes long and needs the extra `meta`, so it is done where it is asked for.",
)
@click.option(
    "--algorithm",
    type=click.Choice(["reptile", "fomaml", "maml", "meta-sgd", "anil", "multi-task"]),
    default="reptile",
    show_default=True,
    help="How the initialisation is meta-learned; multi-task training is the plain rival.",
)
@click.option(
    "--held-out",
    metavar="SELECTOR",
    help="Tasks that give the initialisation no episode, nor do their relatives.",
)
@settings_option("Change a setting of the initialisation's training")
@design_options
@workers_option
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where the workers live: on this machine, or in a Ray cluster.",
)
@click.option(
    "--address",
    metavar="ADDRESS",
    help="Ray cluster to record on, such as auto or host:6379; default: one of its own.",
)
@store_option
@time_limit_option
@cache_limit_option
@click.option("--fresh", is_flag=True, help="Record runs anew that are stored already.")
@offline_option
@format_option
def command(
    *,
    selector: str,
    backbone: str | None,
    out: Path,
    stages: tuple[str, ...],
    algorithm: Algorithm,
    held_out: str | None,
    settings: dict[str, str],
    recipe_count: int,
    epochs: int,
    sizes: tuple[int, ...],
    seeds: int,
    workers: int,
    engine: EngineName,
    address: str | None,
    store: str | None,
    time_limit_seconds: float | None,
    cache_limit_bytes: int | None,
    fresh: bool,
    offline: bool,
    output_format: str,
) -> None:
    """Record fine-tuning runs and learn a prior from them.

    A run that is in the store is never made again: after a Ctrl-C, a crash or a time limit
    the same command goes on where it stopped.
    """
    from metaft.files import refuse_unwritable
    from metaft.metalearning.settings import MetaSettings
    from metaft.prior.manifest import INITIALISATION
    from metaft.recipes import design
    from metaft.tasks.select import select_tasks
    from metaft.traces.plan import plan_runs
    from metaft.traces.store import TraceStore, default_store_url

    _refuse_idle_options(click.get_current_context(), stages)
    tasks = select_tasks(selector)
    if "prior" in stages:  # Refused before hours of recording.
        from metaft.prior.admitting import check_prior_folder, check_tasks, is_shipped

        check_prior_folder(out)
        check_tasks(tasks, (), is_shipped=is_shipped(out))
    if "init" in stages:
        refuse_unwritable(out / INITIALISATION)
    excluded = frozenset(select_tasks(held_out)) if held_out else frozenset()
    meta_settings = MetaSettings(algorithm=algorithm).with_settings(settings)
    course = _Course(
        tasks=tasks,
        backbone=backbone or usual_backbone(tasks),
        out=out,
        store=TraceStore(store or default_store_url()),
        time_limit_seconds=time_limit_seconds,
        cache_limit_bytes=cache_limit_bytes,
        offline=offline,
    )
    answer: dict[str, Any] = {"out": str(out), "store": course.store.url}
    if "traces" in stages:
        recipes = design(recipe_count, epochs)
        runs = plan_runs(course.tasks, course.backbone, recipes, sizes=sizes, seeds=seeds)
        pool = _PoolOptions(workers, engine, address)
        answer["traces"] = course.record(runs, pool, fresh=fresh)
    if "init" in stages:
        answer["init"] = course.meta_learn(meta_settings, excluded)
    if "prior" in stages:
        answer["prior"] = course.fit()
    print_answer(answer, output_format, _render)


def _refuse_idle_options(context: click.Context, stages: tuple[str, ...]) -> None:
    """Refuse options of stages that are not done: whoever gives them expects something of them."""
    for stage, names in _OPTIONS_OF.items():
        given = [
            option.opts[0]
            for option in context.command.params
            if option.name in names
            and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
        ]
        if given and stage not in stages:
            raise UserError(
                f"{' and '.join(given)} would do nothing: --stages is {','.join(stages)}, without "
                f"{stage}",
                f"Add {stage} to --stages, or leave {' and '.join(given)} out",
            )


@dataclass(frozen=True)
class _PoolOptions:
    workers: int
    engine: EngineName
    address: str | None


@dataclass
class _Course:
    """The stages, and what they share."""

    tasks: list[str]
    backbone: str
    out: Path
    store: TraceStore
    time_limit_seconds: float | None
    cache_limit_bytes: int | None
    offline: bool
    began: float = field(default_factory=time.monotonic)

    def record(self, runs: list[PlannedRun], pool: _PoolOptions, *, fresh: bool) -> dict[str, Any]:
        """Record traces; tasks that cannot be recorded take no part in the later stages."""
        from metaft.traces.recorder import record

        with RecordingBar() as bar:
            summary = record(
                runs,
                self.store,
                workers=pool.workers,
                engine=pool.engine,
                address=pool.address,
                time_limit_seconds=self.time_limit_seconds,
                cache_limit_bytes=self.cache_limit_bytes,
                offline=self.offline,
                fresh=fresh,
                on_planned=bar.begin,
                on_trace=bar.advance,
                on_wait=bar.wait,
            )
        _report(summary)
        self.tasks = [task for task in self.tasks if task not in summary.problems]
        return dataclasses.asdict(summary)

    def meta_learn(self, settings: MetaSettings, excluded: frozenset[str]) -> dict[str, Any]:
        """Train an initialisation in the time that is left."""
        from metaft.metalearning.train import train_initialisation
        from metaft.prior.manifest import INITIALISATION

        with progress_bar("Meta-learning", settings.steps) as advance:
            initialisation = train_initialisation(
                sorted(self.tasks),  # Which task a step draws shall not hang on their order.
                self.backbone,
                settings,
                self.out / INITIALISATION,
                offline=self.offline,
                excluded=excluded,
                on_plan=lambda plan: print_notice(_memory_in_words(plan, settings)),
                on_step=lambda step: advance(note=f"loss {step.loss:.3f}"),
                time_limit_seconds=self._seconds_left(),
            )
        return {
            "algorithm": settings.algorithm,
            "file": self.out / INITIALISATION,
            "tasks": len(initialisation.tasks),
            "steps": initialisation.steps,
            "train_seconds": initialisation.train_seconds,
            "cpu_seconds": initialisation.cpu_seconds,
            "peak_memory_mib": initialisation.peak_memory_mib,
        }

    def fit(self) -> dict[str, Any]:
        """Fit a prior to what the store holds of these tasks on this backbone."""
        from metaft.prior.fit import fit_prior

        wanted = set(self.tasks)
        traces = [t for t in self.store.traces(backbone=self.backbone) if t.task in wanted]
        with StepBars() as bars:
            prior = fit_prior(traces, self.out, offline=self.offline, on_step=bars.show)
        manifest = prior.manifest
        return {
            "name": prior.name,
            "version": manifest["version"],
            "tasks": len(manifest["tasks"]),
            "traces": manifest["traces"],
        }

    def _seconds_left(self) -> float | None:
        if self.time_limit_seconds is None:
            return None
        return max(0.0, self.time_limit_seconds - (time.monotonic() - self.began))


def _memory_in_words(plan: MemoryPlan, settings: MetaSettings) -> str:
    """Say what memory the training will take, and what could be done about it."""
    said = f"Meta-learning will take about {plan.expected_mib:,.0f} MiB"
    if plan.is_checkpointing:
        said += f" with checkpointing, {plan.whole_mib:,.0f} MiB without"
    elif settings.is_second_order:
        said += (
            f" for {settings.inner_steps} inner steps ({plan.checkpointed_mib:,.0f} MiB with "
            "--set checkpointing=on)"
        )
    said += " beside what is loaded"
    if plan.available_mib is None:
        return f"{said}."
    return f"{said}; {plan.available_mib:,.0f} MiB are free."


def _report(summary: RecordingSummary) -> None:
    """Name the tasks that could not be recorded; without any that could, give up.

    Raises:
        TaskError: If no run was recorded now or before, and none is left.
    """
    problems = [f"{task}: {problem}" for task, problem in summary.problems.items()]
    if problems and not summary.recorded + summary.skipped + summary.left:
        raise TaskError(
            f"none of the tasks can be recorded. {problems[0].rstrip('.')}", "Give other --tasks"
        )
    for problem in problems:
        print_notice(f"Left out {problem}")
    if summary.left:
        print_notice(f"{summary.left} runs are left; the same command goes on with them.")


def _render(answer: dict[str, Any]) -> Any:
    """Lay the answer out as a table of facts."""
    from rich.table import Table

    table = Table("", "", show_header=False, box=None)
    if "traces" in answer or "prior" in answer:
        table.add_row("store", answer["store"])
    for stage, add_rows in (("traces", _add_traces), ("init", _add_init), ("prior", _add_prior)):
        if stage in answer:
            add_rows(table, answer[stage])
    if "prior" in answer:
        table.add_row("prior", f"{answer['out']}")
    return table


def _add_traces(table: Table, traces: dict[str, Any]) -> None:
    statuses = ", ".join(f"{count} {status}" for status, count in traces["statuses"].items())
    table.add_row("runs recorded", f"{traces['recorded']}" + (f" ({statuses})" if statuses else ""))
    table.add_row("stored before", f"{traces['skipped']}")
    table.add_row("left", f"{traces['left']}")
    if traces["recorded"]:
        table.add_row("seconds per trace", f"{traces['seconds_per_trace']:.1f}")
    table.add_row("seconds in all", f"{traces['wall_seconds']:.0f}")


def _add_init(table: Table, init: dict[str, Any]) -> None:
    table.add_row("initialisation", f"{init['file']}")
    learned = f"{init['algorithm']}, {init['steps']} steps over {init['tasks']} tasks"
    table.add_row("learned by", learned)
    seconds = f"{init['train_seconds']:.0f} s ({init['cpu_seconds']:.0f} s of the processor)"
    memory = f"{init['peak_memory_mib']:,.0f} MiB with all that was loaded"
    table.add_row("cost", f"{seconds}, at most {memory}")


def _add_prior(table: Table, prior: dict[str, Any]) -> None:
    table.add_row("prior learned from", f"{prior['traces']} traces, {prior['tasks']} tasks")
