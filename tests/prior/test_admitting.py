from __future__ import annotations

from pathlib import Path

import pytest

from metaft.errors import PriorError, UserError
from metaft.prior import admitting
from metaft.prior.admitting import check_prior_folder, check_tasks, is_shipped


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        check_prior_folder(tmp_path / "file" / "prior")


def test_shipped_priors_do_not_learn_from_targets(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(admitting, "shipped_folder", lambda name: tmp_path)
    shipped = is_shipped(tmp_path / "new-v0")
    assert shipped
    for task in ("ag_news", "uci_sentences_imdb"):
        with pytest.raises(PriorError, match="a shipped prior must not"):
            check_tasks([task], [], is_shipped=shipped)
        check_tasks([task], [], is_shipped=False)
