"""The fresh comparison is made on tasks that tell nothing of what the prior has learned from."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import fresh_tests

from metaft.prior.prior import Prior, find_folder
from metaft.tasks.card import load_cards, relatives_of

_ROOT = Path(__file__).resolve().parents[2]
_SCRIPT = _ROOT / "scripts" / "compare_fresh.sh"


def _tasks() -> list[str]:
    text = _SCRIPT.read_text()
    twelve = re.search(r"twelve=(\S+)", text).group(1)
    twenty = re.search(r"twenty=\$twelve,(\S+)", text).group(1)
    return [*twelve.split(","), *twenty.split(",")]


def _seen() -> set[str]:
    """Return what `minilm-text-v1` 0.3.0, which was compared, had learned from."""
    text = (_ROOT / "scripts" / "record.sh").read_text()
    lists = dict(re.findall(r"^readonly (\w+)=(\S+)", text, flags=re.MULTILINE))
    terms = lists["thirty"].split(",")
    names = ",".join(lists[term[1:]] if term.startswith("$") else term for term in terms)
    return set(names.split(","))


def test_tasks_are_unseen_and_no_relatives_of_what_was_seen_or_of_each_other():
    tasks, seen = _tasks(), _seen()
    assert len(seen) == 30
    assert seen <= set(load_cards())
    assert len(set(tasks)) == 20
    assert set(tasks) <= set(load_cards())
    for task in tasks:
        assert not ({task} | relatives_of(task)) & seen
    for task, other in combinations(tasks, 2):
        assert other not in relatives_of(task)


def test_nothing_is_refitted_before_the_comparison_is_whole():
    folder = _ROOT / "docs" / "results" / "fresh"
    manifest = Prior.load(find_folder("minilm-text-v1")).manifest
    reports = [folder / name / "report.json" for name in (*fresh_tests.SIZES, fresh_tests.SEARCHES)]
    made = [json.loads(path.read_text())["priors"] for path in reports if path.exists()]
    if len(made) < len(reports):
        assert made == [[f"{manifest['name']} {manifest['version']}"]] * len(made)
