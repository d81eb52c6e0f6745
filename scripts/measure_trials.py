"""Measures the trial steps of every recorded block, and writes them to a Parquet file.

    python scripts/measure_trials.py --traces FILE.parquet --out trials.parquet

What the file holds already is not measured again, so after any end the same call goes on; a
task that cannot be loaded is said and left out. One thread, so that it can run beside a
recording. Beside the seconds of each trial stands its share of the recorded run of `plain`.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pandas as pd

from metaft.backbones.load import load_backbone
from metaft.errors import UserError
from metaft.features.trial_steps import take_trial
from metaft.files import written_beside
from metaft.prior.table import Block, tabulate
from metaft.tasks.load import load_task
from metaft.traces.table import read_parquet

_KEYS = ["task", "backbone", "train_rows"]


def measure(traces: Path, out: Path) -> None:
    """Measure the blocks that the output lacks, one after the other."""
    blocks = pd.read_parquet(traces, columns=_KEYS).drop_duplicates().sort_values(_KEYS)
    found = pd.read_parquet(out).to_dict("records") if out.exists() else []
    plain_seconds = _seconds_of_plain(traces)
    known = {tuple(row[key] for key in _KEYS) for row in found}
    for identity, group in blocks.groupby("backbone"):
        backbone = load_backbone(str(identity))
        for block in group.itertuples(index=False):
            if tuple(block) in known:
                continue
            try:
                task = load_task(block.task)
            except UserError as error:
                print(f"{block.task}: {error}", flush=True)
                continue
            began = time.process_time()
            values = take_trial(task, backbone, train_rows=block.train_rows)
            seconds = time.process_time() - began
            found.append({**block._asdict(), **values, "cpu_seconds": seconds})
            with written_beside(out) as beside:
                pd.DataFrame(found).to_parquet(beside, index=False)
            share = seconds / plain_seconds.get(Block(*block), math.nan)
            print(
                f"{block.task} on {identity}, {block.train_rows} rows: {seconds:.1f} s of the "
                f"processor, {share:.0%} of plain",
                flush=True,
            )


def _seconds_of_plain(traces: Path) -> dict[Block, float]:
    """Return the seconds of a run of `plain`, without its test rows, on a core of its own."""
    table = tabulate(read_parquet(traces))
    seconds = table.run_seconds[:, table.space.plain].tolist()
    return dict(zip(table.blocks, seconds, strict=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", required=True, type=Path, help="Parquet of exported traces.")
    parser.add_argument("--out", required=True, type=Path, help="Parquet file to write.")
    arguments = parser.parse_args()
    measure(arguments.traces, arguments.out)
