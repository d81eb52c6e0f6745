"""Compare initialisations at few shots: docs/meta-learning.md holds the protocol and the result.

    python scripts/benchmark_init.py sources              # tasks to meta-train on, as a selector
    python scripts/benchmark_init.py held-out             # tasks that must give no episode
    python scripts/benchmark_init.py run --inits DIR --results FILE.jsonl [--workers 2]
    python scripts/benchmark_init.py report --inits DIR --results FILE.jsonl [--prior PRIOR_DIR]
        [--figure FILE.svg] [--draws 2,3,4]

`run` has four stages, each of which needs what those before it stored: `develop` chooses rate and
head of each method on other datasets, `few` compares at few shots; `develop-many` and `many` do so
at 512 rows. DIR holds one folder per algorithm with its init.safetensors. Every result is on the
disk at once, so after any end the same call goes on; METAFT_DATA must name the mirror. `report`
prints Markdown and, with --prior, writes what `metaft suggest` says of that prior's
initialisation; with --figure, it draws the learning curves.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from few_shot_cells import DEVELOP, DEVELOP_MANY, FEW, MANY, Cell, Plan, Result
from few_shot_choice import only_chosen
from few_shot_solving import Group, groups_of
from held_out import Split, split_datasets
from init_evidence import write_evidence
from init_figure import draw_curves
from init_report import print_by_rate, print_report
from joblib import Parallel, delayed

from metaft.errors import MetaftError

STAGES = (DEVELOP, FEW, DEVELOP_MANY, MANY)


def run(plan: Plan, results: Path, stages: Sequence[str], workers: int, seconds: float) -> None:
    """Make the results that are missing, stage by stage."""
    deadline = time.monotonic() + seconds
    for stage in stages:
        groups = list(groups_of(plan, stage, read_results(results)))
        cells = sum(len(group.cells) for group in groups)
        print(f"{stage}: {cells} results to make", file=sys.stderr, flush=True)
        Parallel(n_jobs=workers)(
            delayed(work_on)(plan, group, results, deadline) for group in groups
        )
        if time.monotonic() > deadline:
            print("time is up; the same call goes on", file=sys.stderr)
            return


def work_on(plan: Plan, group: Group, results: Path, deadline: float) -> None:
    """Make the results of one dataset and seed."""
    from few_shot_solving import solve

    began = time.process_time()
    for result in solve(plan, group, deadline):
        _append(results, result)
    print(
        f"{group.stage}: {group.dataset}, seed {group.seed}: {len(group.cells)} results, "
        f"{time.process_time() - began:.0f} s of the processor",
        file=sys.stderr,
        flush=True,
    )


def read_results(path: Path) -> list[Result]:
    """Read what is stored; a line that a kill has torn is left out."""
    return list(_parsed(path.read_text().splitlines())) if path.exists() else []


def _parsed(lines: Sequence[str]) -> Iterator[Result]:
    for line in lines:
        try:
            values = json.loads(line)
        except ValueError:
            continue
        cell = Cell(**values.pop("cell"))
        curve = tuple((step, accuracy) for step, accuracy in values.pop("curve"))
        yield Result(cell=cell, curve=curve, **values)


def _append(path: Path, result: Result) -> None:
    """Add a line in one write, so that workers do not mix; after a torn line, on a new one."""
    line = json.dumps(dataclasses.asdict(result)) + "\n"
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(file).st_size
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        os.write(file, (("\n" if torn else "") + line).encode())
    finally:
        os.close(file)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sources", help="Print the tasks to meta-train on.")
    commands.add_parser("held-out", help="Print the tasks that must give no episode.")
    for name in ("run", "report"):
        command = commands.add_parser(name)
        command.add_argument("--inits", type=Path, required=True, help="ALGORITHM/init.safetensors")
        command.add_argument("--results", type=Path, required=True, help="JSON lines, added to.")
    running, reporting = commands.choices["run"], commands.choices["report"]
    running.add_argument("--workers", type=int, default=1, help="One-thread processes.")
    running.add_argument("--stages", default=",".join(STAGES), help="Comma-separated.")
    running.add_argument("--methods", help="Only these, comma-separated; for a trial.")
    running.add_argument("--datasets", help="Only these, comma-separated; for a trial.")
    running.add_argument("--seeds", type=int, help="Only so many, for a trial.")
    running.add_argument("--shots", help="Only these, comma-separated; for a trial.")
    running.add_argument("--minutes", type=float, default=1e6, help="Start no result after it.")
    reporting.add_argument("--prior", type=Path, help="Folder to write initialisation.json to.")
    reporting.add_argument("--draws", help="Only these draws of few shots, such as 2,3,4.")
    reporting.add_argument("--figure", type=Path, help="SVG file to draw learning curves into.")
    return parser


def _listed(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(text.split(","))


def _plan(arguments: argparse.Namespace) -> Plan:
    if arguments.command == "report":  # Goes by the results alone, so it needs no mirror.
        return Plan(arguments.inits, Split((), (), ()))
    plan = Plan(arguments.inits, split_datasets())
    shots = _listed(arguments.shots)
    return plan.only(
        methods=_listed(arguments.methods),
        datasets=_listed(arguments.datasets),
        seeds=arguments.seeds,
        shots=None if shots is None else tuple(int(text) for text in shots),
    )


def _main() -> None:
    arguments = _parser().parse_args()
    if arguments.command in ("sources", "held-out"):
        split = split_datasets()
        held_out = (*split.test, *split.development)
        print(",".join(split.sources if arguments.command == "sources" else held_out))
        return
    plan = _plan(arguments)
    if arguments.command == "run":
        stages, seconds = arguments.stages.split(","), 60 * arguments.minutes
        run(plan, arguments.results, stages, arguments.workers, seconds)
        return
    stored = read_results(arguments.results)
    results = only_chosen(stored, plan.methods)
    if arguments.draws:
        draws = {int(text) for text in arguments.draws.split(",")}
        results = [r for r in results if r.cell.stage != FEW or r.cell.seed in draws]
    print_report(plan, results)
    print_by_rate(stored)
    if arguments.prior:
        write_evidence(plan, results, arguments.prior)
    if arguments.figure:
        draw_curves(results, plan.methods, arguments.figure)


if __name__ == "__main__":
    try:
        _main()
    except MetaftError as error:
        sys.exit(str(error))
