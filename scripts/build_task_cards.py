"""Write the task cards of `tasks/` from the index files of a mirror (METAFT_DATA).

    METAFT_DATA=... python scripts/build_task_cards.py

What the index does not know (hub ids, the bundled tasks, the datasets the mirror lacks) is in
`scripts/hub_datasets.yaml`. The result is the same on every run; edit that file, not the cards.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from metaft.tasks.card import TaskCard, card_file_name, read_card

ROOT = Path(__file__).resolve().parents[1]
KNOWN_HERE = Path(__file__).with_name("hub_datasets.yaml")
METRICS = {"regression": "pearson", "ner": "entity_f1", "qa": "exact_match"}  # else accuracy
COLUMNS = {
    "classification": {"text": "text", "label": "label"},
    "pair_classification": {"text": "text", "text_pair": "text_pair", "label": "label"},
    "image_classification": {"image": "image", "label": "label"},
    "ner": {"tokens": "tokens", "label": "ner_tags"},
    "qa": {"question": "question", "context": "context", "answers": "answers"},
}
PAIRED_REGRESSIONS = ("glue/stsb", "semeval_sts", "sick_relatedness")


def main() -> None:
    """Write every card, and read it back."""
    mirror = Path(os.environ.get("METAFT_DATA") or sys.exit("set METAFT_DATA to a mirror"))
    known_here = yaml.safe_load(KNOWN_HERE.read_text())
    cards = {card["name"]: card for card in [*text_cards(mirror), *image_cards(mirror)]}
    for name, extra in known_here["tasks"].items():
        cards[name] = {**cards.get(name, {"name": name}), **extra}
    for name, card in cards.items():
        write_card({**card, **completed(name, card), "bundled": name in known_here["bundled"]})
    print(f"{len(cards)} cards written to {ROOT / 'tasks'}")


def text_cards(mirror: Path) -> Iterator[dict[str, Any]]:
    """Give the fields of each text task's card."""
    index = json.loads((mirror / "text" / "index.json").read_text())
    for name, entry in index["tasks"].items():
        yield {
            "name": name,
            "kind": entry["kind"],
            "modality": "text",
            "metric": METRICS.get(entry["kind"], "accuracy"),
            "domain": entry["domain"],
            "language": entry["language"],
            "licence": entry["licence"],
            "source": entry["source"],
            "description": entry["notes"],
            "label_names": entry.get("label_names", []),
            "shares_texts": grouped_with(name, index["shares_texts"]),
            "same_domain": grouped_with(name, index["same_domain"]),
            "mirror_folder": f"text/{entry['folder']}",
            "baseline_score": baseline_of(entry),
        }


def image_cards(mirror: Path) -> Iterator[dict[str, Any]]:
    """Give the fields of each image task's card."""
    index = json.loads((mirror / "image" / "index.json").read_text())
    for name, entry in index["tasks"].items():
        if "train" not in entry["rows"]:
            continue  # photographs for checking pretrained weights, nothing to train on
        yield {
            "name": name,
            "kind": "image_classification",
            "modality": "image",
            "metric": "accuracy",
            "domain": entry["domain"],
            "language": "",
            "licence": entry["licence"],
            "source": entry["source"],
            "description": entry.get("note", ""),
            "label_names": entry["label_names"],
            "mirror_folder": f"image/{name}",
            "baseline_score": entry["sanity"]["linear"],
        }


def completed(name: str, card: dict[str, Any]) -> dict[str, Any]:
    """Give the columns, and the revision of what lies on the hub, where they go without saying."""
    kind = card["kind"]
    if kind == "regression":
        kind = "pair_classification" if name in PAIRED_REGRESSIONS else "classification"
    revision = card.get("revision", "main") if "hub_id" in card else None
    return {"columns": card.get("columns", COLUMNS[kind]), "revision": revision}


def grouped_with(name: str, groups: list[list[str]]) -> list[str]:
    """Return the tasks that stand in a group with the given one."""
    return sorted({other for group in groups if name in group for other in group} - {name})


def baseline_of(entry: dict[str, Any]) -> float | None:
    """Return the score of a linear model on TF-IDF features, where the index has one."""
    accuracy: float | None = entry.get("baseline_tfidf_test_accuracy")
    return entry.get("baseline_tfidf_test_pearson") if accuracy is None else accuracy


def write_card(card: dict[str, Any]) -> None:
    """Write one card without its empty fields, in the order of `TaskCard`, and check it."""
    names = [field.name for field in dataclasses.fields(TaskCard)]
    filled = {name: card[name] for name in names if card.get(name) not in (None, "", [], False)}
    path = ROOT / "tasks" / card_file_name(card["name"])
    path.write_text(yaml.safe_dump(filled, sort_keys=False, allow_unicode=True, width=100))
    read_card(path)


if __name__ == "__main__":
    main()
