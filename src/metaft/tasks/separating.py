"""Keeping splits apart: no text in two of them, and a cut where one is missing."""

from __future__ import annotations

from metaft.errors import TaskError
from metaft.tasks.split import cut_test, cut_validation, drop_repeated
from metaft.tasks.task import Split


def separate(splits: dict[str, Split], name: str, seed: int) -> tuple[dict[str, Split], list[str]]:
    """Take texts that stand in two splits out of the earlier one, and cut missing splits.

    Args:
        splits: `train` and whatever else there is.
        name: The dataset's name, for messages.
        seed: Of the cuts.

    Returns:
        All three splits, and what the user should know of how they came about.

    Raises:
        TaskError: If a split has no row left.
    """
    notices = []
    train, dropped = drop_repeated(
        splits["train"], [splits[split] for split in ("validation", "test") if split in splits]
    )
    if dropped:
        notices.append(f"{dropped} rows of train stand in validation or test too: left out")
    validation, test = splits.get("validation"), splits.get("test")
    if validation is not None and test is not None:
        validation, dropped = drop_repeated(validation, [test])
        if dropped:
            notices.append(f"{dropped} rows of validation stand in test too: left out")
    if test is None:
        train, test = cut_test(train, seed)
        notices.append(f"no test split: {len(test)} rows of train are held out (seed {seed})")
    if validation is None:
        train, validation = cut_validation(train, seed)
        notices.append(f"no validation split: {len(validation)} rows of train are cut for it")
    parts = {"train": train, "validation": validation, "test": test}
    empty = [split for split, part in parts.items() if len(part) == 0]
    if empty:
        raise TaskError(
            f"no row of {name!r} is left for {empty[0]}: its texts are all the same, or stand in "
            "another split too",
            "Add rows with other texts",
        )
    return parts, notices
