"""The hub: a small one on this machine, through the real client in a process of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from metaft.errors import TaskError
from metaft.tasks.hub import HubUnreachableError, card_of_hub_id, is_hub_id, read_hub

# Loads each dataset it is given, and writes what came of it: the libraries read their
# environment when they are imported, so every environment needs a process.
_LOADER = """
import json, sys
from metaft.errors import TaskError
from metaft.tasks.load import load_task
answers = []
for dataset, offline in json.loads(sys.argv[1]):
    try:
        task = load_task(dataset, offline=offline)
        answer = {"name": task.name, "kind": task.kind, "source": task.source,
                  "label_names": task.label_names, "notices": task.notices,
                  "rows": [len(task.train), len(task.validation), len(task.test)],
                  "text": task.train.texts[0]}
    except TaskError as error:
        answer = {"error": str(error), "type": type(error).__name__}
    answers.append(answer)
print(json.dumps(answers))
"""


def _load(home: Path, endpoint: str, *datasets: tuple[str, bool]) -> list[Any]:
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    environment.pop("METAFT_DATA", None)  # a mirror would go before the hub
    command = [sys.executable, "-c", _LOADER, json.dumps(datasets)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    answers: list[Any] = json.loads(done.stdout)
    return answers


def _parquet(column: str, labels: list[int], first: int = 0) -> bytes:
    """Write rows as the hub's Parquet files are, class names included."""
    feature = {"label": {"_type": "ClassLabel", "names": ["no", "yes"]}}
    feature[column] = {"_type": "Value", "dtype": "string"}  # type: ignore[dict-item]
    texts = [f"text {row + first}" for row in range(len(labels))]
    table = pa.table({column: texts, "label": pa.array(labels, pa.int64())})
    info = {"info": {"features": feature}}
    file = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(info)}), file)
    return file.getvalue()


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, serving_hub: Any) -> dict[str, Any]:
    """What loading each dataset of the small hub gave."""
    home = tmp_path_factory.mktemp("hub")
    rows = {
        "data/train-00000-of-00001.parquet": _parquet("phrase", [0, 1] * 10),
        "data/test-00000-of-00001.parquet": _parquet("phrase", [0, 1] * 5, first=100),
    }
    secret = {**rows, "data/test-00000-of-00001.parquet": _parquet("phrase", [-1] * 9, 100)}
    script = {"scripted.py": b"raise SystemExit('code of the dataset ran')"}
    repositories = {
        ("some/plain", "main"): rows,
        ("some/secret", "main"): secret,
        ("some/gaps", "main"): {"train.parquet": _parquet("phrase", [0, 1, -1, 1, 0] * 4)},
        ("some/scripted", "main"): script,
        ("some/scripted", "refs/convert/parquet"): {
            "default/train/0000.parquet": rows["data/train-00000-of-00001.parquet"],
            "default/test/0000.parquet": rows["data/test-00000-of-00001.parquet"],
        },
        ("some/configs", "main"): {"configs.py": script["scripted.py"]},
        ("some/configs", "refs/convert/parquet"): {
            "first/train/0000.parquet": _parquet("phrase", [0, 1] * 10),
            "second/train/0000.parquet": _parquet("phrase", [0, 1] * 20),
        },
        ("some/unconverted", "main"): {"unconverted.py": script["scripted.py"]},
        ("some/parts", "main"): {
            "data/train-00000-of-00001.parquet": _parquet("phrase", [0, 1] * 10),
            "data/test_matched-00000-of-00001.parquet": _parquet("phrase", [0, 1] * 5, first=100),
            "data/test_mismatched-00000-of-00001.parquet": _parquet("phrase", [0, 1] * 5, 200),
        },
        ("some/nothing", "main"): {"README.md": b"# Nothing\n"},
        ("fancyzhx/ag_news", "main"): {"train.parquet": _parquet("text", [0, 1] * 10)},
    }
    names = [
        *("some/plain", "some/secret", "some/gaps", "some/scripted", "some/unconverted"),
        *("some/configs", "some/configs:second", "some/configs:third"),
        *("some/parts", "some/nothing", "some/such", "ag_news"),
    ]
    with serving_hub(repositories) as (endpoint, asked):
        loads = [(name, False) for name in names] + [("some/plain", True), ("some/such", True)]
        got = _load(home, endpoint, *loads)
    asked_for_such = [path for path in asked if "some/such" in path]
    assert len(asked_for_such) == 1  # online, once; offline, not at all
    return dict(zip([*names, "cached", "not cached"], got, strict=True))


def test_rows_columns_and_class_names_come_from_the_hub(answers: dict[str, Any]) -> None:
    plain = answers["some/plain"]
    assert plain["source"] == "hub"
    assert plain["rows"] == [16, 4, 10]
    assert plain["label_names"] == ["no", "yes"]
    assert plain["text"].startswith("text ")


def test_parts_of_one_split_are_put_together(answers: dict[str, Any]) -> None:
    assert answers["some/parts"]["rows"] == [16, 4, 20]


def test_secret_test_labels_leave_the_split_out(answers: dict[str, Any]) -> None:
    secret = answers["some/secret"]
    assert sum(secret["rows"]) == 20
    assert "the test split has no labels and is left out" in secret["notices"]


def test_rows_marked_as_unlabelled_are_left_out(answers: dict[str, Any]) -> None:
    gaps = answers["some/gaps"]
    assert sum(gaps["rows"]) == 16
    assert "4 rows of train have no label (-1): left out" in gaps["notices"]


def test_a_dataset_with_a_script_is_read_from_its_parquet_copy(answers: dict[str, Any]) -> None:
    assert answers["some/scripted"]["rows"] == [16, 4, 10]


def test_a_parquet_copy_of_several_configurations(answers: dict[str, Any]) -> None:
    assert sum(answers["some/configs:second"]["rows"]) == 40
    for name in ("some/configs", "some/configs:third"):
        assert "has the configurations first, second" in answers[name]["error"]
        assert "some/configs:CONFIG" in answers[name]["error"]


def test_a_dataset_that_only_a_script_can_read_is_refused(answers: dict[str, Any]) -> None:
    error = answers["some/unconverted"]["error"]
    assert "is read by a script of its own, which metaft never runs" in error
    assert "no dataset 'some/unconverted' at revision 'refs/convert/parquet'" in error


def test_a_dataset_without_data_is_refused(answers: dict[str, Any]) -> None:
    assert "'some/nothing' cannot be read" in answers["some/nothing"]["error"]


def test_no_such_dataset(answers: dict[str, Any]) -> None:
    assert "the hub has no dataset 'some/such'" in answers["some/such"]["error"]


def test_a_task_is_found_by_the_hub_id_of_its_card(answers: dict[str, Any]) -> None:
    assert answers["ag_news"]["source"] == "hub"
    assert answers["ag_news"]["name"] == "ag_news"
    assert answers["ag_news"]["label_names"] == ["no", "yes"]  # the hub's own, not the card's


def test_offline_uses_what_the_hub_gave_before(answers: dict[str, Any]) -> None:
    assert answers["cached"]["rows"] == [16, 4, 10]


def test_offline_without_a_copy_says_what_to_set(answers: dict[str, Any]) -> None:
    error = answers["not cached"]["error"]
    assert "'some/such' is not on this machine" in error
    assert "unset HF_HUB_OFFLINE, set METAFT_DATA" in error


def test_a_hub_that_does_not_answer_is_given_up_at_once(
    monkeypatch: pytest.MonkeyPatch, serving_hub: Any
) -> None:
    import datasets  # noqa: F401  (what is timed is asking, not importing)
    from huggingface_hub import constants

    with serving_hub({}) as (endpoint, _):
        pass  # nobody listens there any more
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    started = time.monotonic()
    with pytest.raises(HubUnreachableError, match=r"HF_ENDPOINT .* METAFT_DATA"):
        read_hub("some/plain")
    assert time.monotonic() - started < 20  # the library alone retries for longer


@pytest.mark.parametrize("name", ["owner/name", "owner/na.me-1:config_a", "nyu-mll/glue:sst2"])
def test_hub_ids(name: str) -> None:
    assert is_hub_id(name)


@pytest.mark.parametrize("name", ["name", "a/b/c", "owner/", "/name", "owner/name:", "o/n a"])
def test_what_is_no_hub_id(name: str) -> None:
    assert not is_hub_id(name)


@pytest.mark.parametrize(
    ("hub_id", "name"),
    [
        ("nyu-mll/glue:sst2", "glue/sst2"),
        ("dair-ai/emotion", "emotion"),
        ("dair-ai/emotion:split", "emotion"),
        ("dair-ai/emotion:other", None),
        ("nyu-mll/glue", None),
        ("some/other", None),
    ],
)
def test_cards_are_found_by_hub_id(hub_id: str, name: str | None) -> None:
    card = card_of_hub_id(hub_id)
    assert (card.name if card else None) == name


def test_the_variable_switches_the_hub_off() -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    with pytest.raises(TaskError, match="not on this machine"):
        read_hub("some/such")


def test_the_switch_is_put_back() -> None:
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    with pytest.raises(TaskError, match="not on this machine"):
        read_hub("some/such", offline=True)
    assert before == constants.HF_HUB_OFFLINE
