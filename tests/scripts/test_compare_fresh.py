"""The fresh comparison is made on tasks that tell nothing of what the prior has learned from."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

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
    """Return the tasks that the compared prior is fitted to."""
    lists = re.findall(r"^known=(?:\$known,)?(\S+)", _SCRIPT.read_text(), flags=re.MULTILINE)
    return set(",".join(lists).split(","))


def test_tasks_are_unseen_and_no_relatives_of_what_was_seen_or_of_each_other():
    tasks, seen = _tasks(), _seen()
    assert len(seen) == 43
    assert seen <= set(load_cards())
    assert len(set(tasks)) == 20
    assert set(tasks) <= set(load_cards())
    for task in tasks:
        assert not ({task} | relatives_of(task)) & seen
    for task, other in combinations(tasks, 2):
        assert other not in relatives_of(task)


def _sixty() -> set[str]:
    """Return the tasks of `minilm-text-v1` 0.6.0, as they are recorded."""
    text = (_ROOT / "scripts" / "record.sh").read_text()
    lists = dict(re.findall(r"^readonly (\w+)=(\S+)", text, flags=re.MULTILINE))

    def expand(term: str) -> set[str]:
        if not term.startswith("$"):
            return {term}
        return set().union(*map(expand, lists[term[1:]].split(",")))

    return expand("$sixty")


def test_the_compared_prior_has_the_sixty_less_the_tasks_and_their_relatives():
    tasks = _tasks()
    near = set(tasks).union(*map(relatives_of, tasks))
    assert len(_sixty()) == 60
    assert _seen() == _sixty() - near


def test_images_are_unseen_and_no_relatives_of_what_was_seen():
    names = re.search(r"images=(\S+)", _SCRIPT.read_text()).group(1).split(",")
    shipped = Prior.load(find_folder("mobilenetv2-image-v1")).manifest
    seen = {task["name"] for task in shipped["tasks"]}
    pictures = {card.name for card in load_cards().values() if card.modality == "image"}
    near = set(names).union(*map(relatives_of, names))
    assert not near & seen
    assert set(names) == pictures - seen, "all that there are"
