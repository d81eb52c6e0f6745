from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from metaft.backbones.load import load_backbone
from metaft.cli import group
from metaft.cli.finetune import _Choice
from metaft.errors import PriorError
from metaft.finetuning import loop
from metaft.prior import ask
from metaft.recipes import Recipe

if TYPE_CHECKING:
    from tests.cli.conftest import Traced


@pytest.fixture
def backbone_folder(tiny_text_backbone, tmp_path: Path) -> Path:
    folder = tmp_path / "backbone"
    backbone = tiny_text_backbone()
    backbone.model.save_pretrained(folder)
    backbone.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    lines = [f"the {'river' if at % 2 else 'engine'} {at},{at % 2}" for at in range(80)]
    path = tmp_path / "data.csv"
    path.write_text("text,label\n" + "\n".join(lines))
    return path


def _finetune(dataset: Path | str, out: Path, *options: object) -> Result:
    arguments = ["finetune", "--dataset", dataset, "--out", out, "--offline", *options]
    return CliRunner().invoke(group, [str(argument) for argument in arguments])


def test_what_was_predicted_is_the_suggested_recipe_from_the_pretrained_weights() -> None:
    choice = _Choice(Recipe(), {"score": 0.9})
    assert choice.changed({}, "pretrained").predicted == {"score": 0.9}
    assert choice.changed({}, "meta").predicted is None
    assert choice.changed({"seed": "3"}, "pretrained").predicted is None


@pytest.mark.parametrize("output_format", ["json", "table"])
def test_a_run_without_memory_for_its_test_rows_is_saved(
    dataset: Path,
    backbone_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    output_format: str,
) -> None:
    score = loop.OpenRun._score

    def limited(run: loop.OpenRun, split: Any, epoch: int) -> Any:
        if split == "test":
            raise MemoryError
        return score(run, split, epoch)

    monkeypatch.setattr(loop.OpenRun, "_score", limited)
    result = _finetune(
        dataset, tmp_path / "run", "--backbone", backbone_folder, "--plain", "--set", "epochs=1",
        "--set", "precision=fp32", "--rows", 16, "--format", output_format,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "the run ended early as out_of_memory: MemoryError" in result.stderr
    assert (tmp_path / "run/model.safetensors").exists()
    if output_format == "json":
        scores = json.loads(result.stdout)["scores"]
        assert set(scores["test"].values()) == {None}
        assert scores["test"].keys() == scores["validation"].keys()


def test_a_run_from_a_csv_file(dataset: Path, backbone_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = _finetune(
        dataset, out, "--backbone", backbone_folder, "--plain", "--set", "learning_rate=1e-2",
        "--set", "epochs=2", "--set", "precision=fp32", "--rows", 32, "--format", "json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["recipe"]["learning_rate"] == 1e-2
    assert answer["status"] == "ok"
    assert answer["init"] == "pretrained"
    assert answer["predicted"] is None
    assert answer["train_rows"] == 32
    assert set(answer["scores"]) == {"validation", "test"}
    assert len(answer["curve"]) == 2
    assert set(answer["costs"]) == {
        "wall_seconds", "cpu_seconds", "gpu_seconds", "peak_memory_mib",
    }  # fmt: skip
    assert "held out" in result.stderr, "the answer says where the test rows come from"
    assert Recipe.load(out / "recipe.yaml").epochs == 2
    trace = json.loads((out / "trace.json").read_text())
    assert trace["test"] == answer["scores"]["test"]


def test_rows_that_are_cut_are_counted(backbone_folder: Path, tmp_path: Path) -> None:
    lines = [f"{'the river ' * (20 if at < 6 else 1)}{at},{at % 2}" for at in range(80)]
    for split in ("train", "validation", "test"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        chosen = lines if split == "train" else [f"{split} {line}" for line in lines[10:40]]
        (tmp_path / "folder" / f"{split}.csv").write_text("text,label\n" + "\n".join(chosen))
    options = ("--backbone", backbone_folder, "--plain", "--set", "epochs=1")
    cut = _finetune(tmp_path / "folder", tmp_path / "a", *options, "--set", "max_length=16")
    assert cut.exit_code == 0, cut.output
    assert "6 of 80 training rows are longer than 16 tokens" in " ".join(cut.stderr.split())
    whole = _finetune(tmp_path / "folder", tmp_path / "b", *options, "--set", "max_length=64")
    assert "training rows are longer" not in whole.stderr


def test_the_recipe_of_a_run_repeats_it(
    dataset: Path, backbone_folder: Path, tmp_path: Path
) -> None:
    Recipe(learning_rate=5e-3, epochs=2, precision="fp32").save(tmp_path / "mine.yaml")
    options = ("--backbone", backbone_folder, "--deterministic", "--format", "json")
    first = _finetune(dataset, tmp_path / "a", "--recipe", tmp_path / "mine.yaml", *options)
    second = _finetune(dataset, tmp_path / "b", "--recipe", tmp_path / "a", *options)
    scores = [json.loads(result.stdout)["scores"] for result in (first, second)]
    assert scores[0] == scores[1]


def test_the_table_is_for_people(dataset: Path, backbone_folder: Path, tmp_path: Path) -> None:
    result = _finetune(
        dataset, tmp_path / "run", "--backbone", backbone_folder, "--plain", "--set", "epochs=1"
    )
    assert result.exit_code == 0, result.output
    for word in ("accuracy", "learning rate 5e-05", "best epoch 1 of 1", "MiB at most"):
        assert word in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--plain", "--goal", "cost"], "--plain and --goal name two recipes"),
        (["--plain", "--prior", "mine"], "--prior is 'mine', and --plain does not ask it"),
        (["--plain", "--probe"], "--probe informs the prior, and --plain does not ask it"),
        (["--plain", "--race", "3"], "--race starts 3 recipes of the prior, and --plain does not"),
        (["--recipe", "mine.yaml", "--race", "2"], "and --recipe does not ask it"),
        (["--race", "1"], "1 is not in the range 2<=x<=8"),
        (["--race", "9"], "9 is not in the range 2<=x<=8"),
        (["--plain", "--set", "learning_rate=fast"], "learning_rate is 'fast'"),
        (["--plain", "--set", "learning_rate"], "sets nothing"),
        (["--plain", "--set", "speed=9"], "'speed' is no field of a recipe"),
        (["--recipe", "missing.yaml"], "missing.yaml cannot be read"),
        (["--plain", "--set", "precision=fp16", "--device", "cpu"], "needs a GPU"),
        (["--plain", "--backbone", "no/such-model"], "no/such-model"),
        (["--plain", "--text-column", "body"], "body"),
    ],
)
def test_wrong_input_is_one_message_and_nothing_is_written(
    dataset: Path, backbone_folder: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    if "--backbone" not in options:
        options = [*options, "--backbone", str(backbone_folder)]
    result = _finetune(dataset, tmp_path / "run", *options)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert not (tmp_path / "run").exists()


def test_a_folder_with_something_in_it_is_refused_before_any_work(
    dataset: Path, tmp_path: Path
) -> None:
    result = _finetune(dataset, tmp_path, "--plain")
    assert result.exit_code == 2
    assert "not empty" in result.stderr


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    dataset: Path, tmp_path: Path
) -> None:
    result = _finetune(tmp_path / "no such dataset", dataset / "run", "--plain")
    assert result.exit_code == 2
    assert "which cannot be written" in result.output


def test_a_run_that_fails_at_once_exits_1_and_writes_nothing(
    dataset: Path, backbone_folder: Path, tmp_path: Path
) -> None:
    result = _finetune(
        dataset, tmp_path / "run", "--backbone", backbone_folder, "--plain",
        "--set", "learning_rate=1", "--set", "max_gradient_norm=1e6", "--set", "warmup_fraction=0",
    )  # fmt: skip
    assert result.exit_code == 1, result.output
    assert "diverged" in result.stderr
    assert not (tmp_path / "run").exists()


def _race(traced: Traced, prior: Path, out: Path, *options: object) -> Result:
    asked = ("--backbone", traced.backbone, "--prior", prior, "--set", "precision=fp32", *options)
    return _finetune(traced.new_file, out, *asked)


def test_the_best_recipes_race_and_one_goes_on(
    traced: Traced, tiny_prior: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    result = _race(traced, tiny_prior, out, "--race", 3, "--goal", "score", "--format", "json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    race = answer["race"]
    (winner,) = [racer for racer in race["racers"] if racer["won"]]
    assert len(race["racers"]) == 3
    assert answer["recipe"] == winner["recipe"] == Recipe.load(out / "recipe.yaml").to_mapping()
    assert answer["curve"][0]["validation"][race["metric"]] == winner["validation"]
    assert answer["costs"]["wall_seconds"] > race["wall_seconds"] > 0
    assert result.stderr.count("after one epoch") == 3
    assert json.loads((out / "trace.json").read_text())["race"] == race
    assert "## Race" in (out / "README.md").read_text()


def test_a_suggestion_is_run_on_the_backbone_that_it_is_for(
    traced: Traced, tiny_prior: Path, tmp_path: Path
) -> None:
    result = _finetune(traced.new_file, tmp_path / "run", "--prior", tiny_prior, "--rows", 16)
    assert result.exit_code == 0, result.output
    trace = json.loads((tmp_path / "run" / "trace.json").read_text())
    assert trace["backbone_fingerprint"] == load_backbone(traced.backbone).fingerprint


def test_the_prior_is_asked_about_the_rows_and_the_columns_of_the_run(
    dataset: Path, backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def suggest_for(dataset: str, **question: Any) -> None:
        asked.update(question)
        raise PriorError("nothing is answered here")

    monkeypatch.setattr(ask, "suggest_for", suggest_for)
    arguments = [
        *("--rows", 100_000, "--text-column", "text", "--backbone", backbone_folder),
        *("--dataset", dataset, "--offline"),
    ]
    commands = (("finetune", "--out", tmp_path / "run"), ("search", "--warm-start", 1))
    for command in commands:
        asked.clear()
        done = CliRunner().invoke(group, [str(word) for word in (*command, *arguments)])
        assert "nothing is answered here" in done.output
        assert asked["rows"] == len(asked["task"].train) < 100
        assert asked["columns"].text == "text"


def test_a_person_reads_how_the_race_went(traced: Traced, tiny_prior: Path, tmp_path: Path) -> None:
    result = _race(traced, tiny_prior, tmp_path / "run", "--race", 2, "--probe")
    assert result.exit_code == 0, result.output
    assert "of 2 went on" in result.stdout
    assert result.stdout.count("after epoch 1") == 2


def test_a_race_of_one_recipe_is_refused(traced: Traced, tiny_prior: Path, tmp_path: Path) -> None:
    same = [f"--set={name}" for name in (
        "learning_rate=1e-4", "frozen_fraction=0", "epochs=1", "batch_size=8", "warmup_fraction=0",
        "weight_decay=0", "head_init=random",
    )]  # fmt: skip
    result = _race(traced, tiny_prior, tmp_path / "run", "--race", 2, *same)
    assert result.exit_code == 2
    assert "--set makes recipes of the race the same" in result.stderr


def test_ctrl_c_in_the_race_leaves_nothing(
    traced: Traced, tiny_prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metaft.cli import racing

    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(racing, "_racer_in_words", interrupt)
    result = _race(traced, tiny_prior, tmp_path / "run", "--race", 2)
    assert result.exit_code != 0
    assert not list(tmp_path.iterdir())
