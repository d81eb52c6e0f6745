#!/usr/bin/env python
"""Let many processes write traces into one store at once, and see that none is lost.

    .venv/bin/python scripts/check_writers.py --writers 8 --traces 1000

Every process claims each of its runs, stores its trace under the claim, and also stores some that
all the others store as well. `--store` names the store, which must be empty; by default it is an
SQLite file of its own. Prints what was counted and fails loudly.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

from metaft.errors import StoreError
from metaft.traces.claims import new_owner
from metaft.traces.store import TraceStore
from metaft.traces.table import read_parquet
from metaft.traces.trace import Trace

_SHARED = 50
_SAMPLE = Path(__file__).resolve().parents[1] / "priors" / "recorded" / "traces.parquet"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--traces", type=int, default=1000, help="of each writer")
    parser.add_argument("--store", help="URL of an empty store")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.store or f"sqlite:///{folder}/traces.db"
        _check(url, options.writers, options.traces)


def _check(url: str, writers: int, count: int) -> None:
    sample = read_parquet(_SAMPLE)[0]
    TraceStore(url).close()
    began = time.monotonic()
    context = multiprocessing.get_context("spawn")
    with context.Pool(writers) as pool:
        jobs = [(url, sample, writer, count) for writer in range(writers)]
        outcomes = pool.starmap(_write, jobs)
    seconds = time.monotonic() - began
    store = TraceStore(url)
    stored, expected = len(store.ids()), writers * count + _SHARED
    new, errors = sum(outcome[0] for outcome in outcomes), [e for _, e in outcomes if e]
    slowest = max(outcome[0] for outcome in outcomes)
    print(
        f"{writers} processes, {count} traces each and {_SHARED} that all store: {stored} of "
        f"{expected} stored in {seconds:.0f} s ({stored / seconds:.0f}/s), {new} said to be new, "
        f"{len(errors)} errors"
    )
    if errors or stored != expected or new != expected or slowest < count:
        sys.exit(f"traces are missing, or a process was refused: {errors[:1]}")


def _write(url: str, sample: Trace, writer: int, count: int) -> tuple[int, str]:
    """Return how many traces were new, and what the store refused."""
    store, owner, new = TraceStore(url), new_owner(), 0
    try:
        for number in range(count):
            trace = dataclasses.replace(sample, trace_id=f"{writer}-{number}")
            claim = store.claims.take(trace.trace_id, owner)
            new += claim is not None and store.add(trace, claim)
        shared = [dataclasses.replace(sample, trace_id=f"all-{n}") for n in range(_SHARED)]
        new += sum(store.add(trace) for trace in shared)
    except StoreError as error:
        return new, str(error)
    return new, ""


if __name__ == "__main__":
    main()
