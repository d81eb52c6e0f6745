"""Write the bundled tasks, `tasks/data/<name>/{train,test}.parquet`, from a mirror (METAFT_DATA).

    METAFT_DATA=... python scripts/build_bundled_tasks.py

Stratified, seeded subsets of the tasks whose card says `bundled: true`: small, from registry
packages, and free to pass on (each card names licence and source). Written the same every time.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from metaft.tasks.card import TaskCard, folder_name, load_cards
from metaft.tasks.split import strata_of, stratified_order

DATA = Path(__file__).resolve().parents[1] / "tasks" / "data"
MOST_ROWS = {"train": 1000, "test": 500}
MOST_BYTES = 6 << 20  # all bundled tasks together
SEED = 0


def main() -> None:
    """Write every bundled task, and say how large it is."""
    mirror = Path(os.environ.get("METAFT_DATA") or sys.exit("set METAFT_DATA to a mirror"))
    total_bytes = 0
    for card in load_cards().values():
        if card.bundled:
            written = [write_subset(card, mirror, split) for split in MOST_ROWS]
            total_bytes += sum(path.stat().st_size for path in written)
            print(f"{card.name}: {sum(path.stat().st_size for path in written) / 1024:.0f} KiB")
    print(f"together {total_bytes / 1024:.0f} KiB")
    if total_bytes > MOST_BYTES:
        sys.exit(f"that is more than {MOST_BYTES / 1024:.0f} KiB")


def write_subset(card: TaskCard, mirror: Path, split: str) -> Path:
    """Write the rows of one split that ship with metaft, in the order of the mirror."""
    table = parquet.read_table(mirror / str(card.mirror_folder) / f"{split}.parquet")
    strata = strata_of(np.asarray(table["label"].to_pylist()))
    rows = np.sort(stratified_order(strata, SEED)[: MOST_ROWS[split]])
    path = DATA / folder_name(card.name) / f"{split}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    subset = table.take(pa.array(rows)).replace_schema_metadata(None)
    parquet.write_table(subset, path, compression="zstd", compression_level=19)
    return path


if __name__ == "__main__":
    main()
