from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from metaft import cli
from metaft.prior import admitting
from metaft.traces.store import TraceStore

TASKS = "uci_sentences_yelp,convention_2012_party"
# A shell starts background jobs with interrupts ignored, and these tests may run in one.
_INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from metaft.cli import main
main()
"""
_SLOW = pytest.mark.timeout(600)  # Workers import torch: on a busy machine that takes minutes.


def _options(folder: Path, backbone: str) -> list[str]:
    return [
        *("meta-train", "--tasks", TASKS, "--backbone", backbone, "--out", f"{folder / 'prior'}"),
        *("--store", f"sqlite:///{folder / 'traces.db'}", "--offline"),
        *("--sizes", "16", "--workers", "1"),
    ]


def _metaft(*options: str) -> Result:
    return CliRunner().invoke(cli.group, options)


@_SLOW
def test_traces_and_prior_come_from_one_command(tmp_path: Path, backbone_folder: str) -> None:
    options = [*_options(tmp_path, backbone_folder), "--recipes", "3", "--epochs", "1"]
    result = _metaft(*options, "--format", "json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["traces"]["recorded"] == 6
    assert answer["traces"]["statuses"] == {"ok": 6}
    assert answer["prior"] == {"name": "prior", "version": "0.1.0", "tasks": 2, "traces": 6}
    assert (tmp_path / "prior" / "prior.json").is_file()


def test_a_folder_of_something_else_is_refused_before_any_run(
    tmp_path: Path, backbone_folder: str
) -> None:
    (tmp_path / "prior").mkdir()
    (tmp_path / "prior" / "thesis.tex").touch()
    result = _metaft(*_options(tmp_path, backbone_folder))
    assert result.exit_code == 2
    assert "holds thesis.tex, which is no part of a prior" in result.stderr
    assert not (tmp_path / "traces.db").exists()


@_SLOW
def test_interrupt_says_how_to_go_on(tmp_path: Path, backbone_folder: str) -> None:
    options = [*_options(tmp_path, backbone_folder), "--stages", "traces", "--epochs", "40"]
    process = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTIBLE, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        store = TraceStore(f"sqlite:///{tmp_path / 'traces.db'}")
        while not store.ids() and process.poll() is None:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # As a Ctrl-C in a terminal does.
        stdout, stderr = process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert stdout == ""
    assert "of 24 runs are recorded and kept; the same command goes on with the rest." in stderr
    assert "Traceback" not in stderr
    with sqlite3.connect(tmp_path / "traces.db") as database:  # Nothing is waited for.
        assert database.execute("SELECT * FROM claims WHERE expires_at > 0").fetchall() == []


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--stages", "traces,train", "stages is 'traces,train'; allowed are traces, init, prior"),
        ("--stages", ",", "stages is ','"),
        ("--sizes", "128,0", "sizes is '128,0'; allowed are whole numbers above 0"),
        ("--tasks", "nothing", "there is no task 'nothing'"),
        ("--store", "traces.db", "is no database URL"),
        ("--address", "auto", "address is 'auto', and the engine local; only the engine ray has"),
        ("--set", "steps", "--set is 'steps', which sets nothing"),
        ("--engine", "slurm", "'slurm' is not one of 'local', 'ray'"),
        ("--held-out", "imdb", "--held-out would do nothing: --stages is traces,prior, without"),
        ("--set", "steps=1", "--set would do nothing: --stages is traces,prior, without init"),
        ("--algorithm", "maml", "Add init to --stages, or leave --algorithm out"),
        ("--stages", "prior", "--sizes would do nothing: --stages is prior, without traces"),
    ],
)
def test_bad_options_are_named(
    tmp_path: Path, backbone_folder: str, option: str, value: str, message: str
) -> None:
    result = _metaft(*_options(tmp_path, backbone_folder), option, value)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "prior").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--set", "inner_lr=1", "'inner_lr' is no setting of meta-training"),
        ("--held-out", "nothing", "there is no task 'nothing'"),
    ],
)
def test_bad_options_of_the_initialisation_are_named(
    tmp_path: Path, backbone_folder: str, option: str, value: str, message: str
) -> None:
    result = _metaft(*_options(tmp_path, backbone_folder), "--stages", "traces,init", option, value)
    assert result.exit_code == 2
    assert message in result.stderr


def test_what_a_shipped_prior_must_not_learn_is_refused_before_any_run(
    tmp_path: Path, backbone_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admitting, "shipped_folder", lambda name: tmp_path)
    options = _options(tmp_path, backbone_folder)
    options[options.index("--tasks") + 1] = "uci_sentences_yelp,uci_sentences_imdb"
    result = _metaft(*options)
    assert result.exit_code == 2
    assert "'uci_sentences_imdb' is a target or shares texts with one" in result.stderr
    assert not (tmp_path / "traces.db").exists()


def test_tasks_of_texts_and_images_need_a_backbone(tmp_path: Path) -> None:
    for command in (("meta-train",), ("traces", "pack")):
        result = _metaft(*command, "--tasks", "sms_spam,optdigits", "--out", f"{tmp_path / 'out'}")
        assert result.exit_code == 2
        assert "--tasks selects images (optdigits ...) and texts (sms_spam" in result.stderr


def test_an_initialisation_is_learned_without_what_is_held_out(
    tmp_path: Path, backbone_folder: str
) -> None:
    options = [*_options(tmp_path, backbone_folder), "--stages", "init", "--algorithm", "maml"]
    at = options.index("--sizes")
    del options[at : at + 2]
    small = ["--set", "steps=2", "--set", "inner-steps=1", "--set", "shots=4", "--set", "ways=2"]
    held_out = ["--held-out", "convention_2012_party", "--format", "json"]
    result = _metaft(*options, *small, "--set", "max_length=16", *held_out)
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)["init"]
    assert (answer["algorithm"], answer["steps"], answer["tasks"]) == ("maml", 2, 1)
    assert answer["cpu_seconds"] > 0
    assert "Meta-learning will take about" in result.stderr
    assert "--set checkpointing=on" in result.stderr
    assert (tmp_path / "prior" / "init.safetensors").is_file()

    run = ["finetune", "--dataset", "convention_2012_party", "--backbone", backbone_folder]
    run += ["--plain", "--rows", "16", "--set", "epochs=1", "--init", "meta", "--offline"]
    run += ["--out", f"{tmp_path / 'run'}", "--format", "json"]
    result = _metaft(*run, "--prior", f"{tmp_path / 'prior'}")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["init"] == "meta"
    result = _metaft(*run, "--prior", f"{tmp_path}", "--overwrite")
    assert result.exit_code == 2
    assert "holds no meta-learned initialisation" in result.stderr


def test_ray_that_is_not_installed_is_named(tmp_path: Path, backbone_folder: str) -> None:
    if find_spec("ray"):
        pytest.skip("ray is installed")
    result = _metaft(*_options(tmp_path, backbone_folder), "--engine", "ray")
    assert result.exit_code == 2
    assert "pip install ray" in result.stderr
