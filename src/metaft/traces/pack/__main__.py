"""`python -m metaft.traces.pack run PACK --out traces.jsonl`: the program that runs a pack.

A program of its own beside `metaft`, since nothing of the command line is needed there.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from metaft.errors import RunFailedError, UserError
from metaft.traces.durations import parse_duration
from metaft.traces.pack.run import PackProgress, run_pack
from metaft.traces.trace import Trace

_LOGGER = logging.getLogger("metaft.traces.pack")

_DONE, _FAILED, _WRONG_INPUT, _STOPPED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status; everything it says goes to stderr."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    _LOGGER.setLevel(logging.INFO)
    options = _parser().parse_args(arguments)
    try:
        progress = run_pack(
            options.pack,
            options.out,
            workers=options.workers,
            device=options.device,
            time_limit_seconds=parse_duration(options.time_limit) if options.time_limit else None,
            on_trace=_report,
        )
    except KeyboardInterrupt:
        _LOGGER.error("Stopped by Ctrl-C; the same command goes on with the rest.")
        return _STOPPED
    except UserError as error:
        _LOGGER.error("Error: %s", error)
        return _WRONG_INPUT
    except (RunFailedError, OSError) as error:
        _LOGGER.error("Error: %s", error)
        return _FAILED
    _sum_up(progress, options.out)
    return _DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m metaft.traces.pack", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="make the runs of a pack that FILE does not hold yet")
    run.add_argument("pack", type=Path, metavar="PACK", help="what metaft traces pack wrote")
    run.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="JSON lines, one per run"
    )
    run.add_argument(
        "--workers",
        type=_count,
        default=1,
        metavar="N",
        help="one-thread processes; on a GPU they share the card (default: 1)",
    )
    run.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    run.add_argument("--time-limit", metavar="DURATION", help="start no run after 90s, 30m, 2h")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed is 1 or more")
    return int(text)


def _report(trace: Trace | None, progress: PackProgress) -> None:
    """Say what there is to do, then each run that has ended."""
    total = progress.done + progress.left
    if trace is None:
        _LOGGER.info("%d runs to make; %d were made before.", total, progress.skipped)
        return
    score = trace.test.get(trace.metric)
    _LOGGER.info(
        "%d of %d, %.0f min left: %s, %d rows, %s%s",
        progress.done,
        total,
        progress.seconds_left / 60,
        trace.task,
        trace.train_rows,
        trace.status,
        "" if score is None else f", {trace.metric} {score:.3f}",
    )


def _sum_up(progress: PackProgress, out: Path) -> None:
    statuses = ", ".join(f"{count} {status}" for status, count in progress.statuses.items())
    _LOGGER.info(
        "%d runs made%s in %.0f s.",
        progress.done,
        f" ({statuses})" if statuses else "",
        progress.wall_seconds,
    )
    if progress.left:
        _LOGGER.info("%d runs are left; the same command goes on with them.", progress.left)
    else:
        _LOGGER.info("Take the traces back: metaft traces import %s", out)


if __name__ == "__main__":
    sys.exit(main())
