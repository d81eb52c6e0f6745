from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest

from metaft.prior import fitted as fitted_module
from metaft.prior import profiles
from metaft.prior.described import describe_blocks
from metaft.prior.fitted import read_described
from metaft.prior.prior import Prior
from metaft.prior.scores import ScoreModel
from metaft.prior.table import tabulate
from metaft.recipes import FIELDS


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METAFT_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "cache" / "priors"


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with every fit."""
    fits: list[str] = []
    fit = fitted_module._fit

    def counted(prior: Prior, key: str) -> fitted_module.FittedPrior:
        fits.append(key)
        return fit(prior, key)

    monkeypatch.setattr(fitted_module, "_fit", counted)
    return fits


def _look(prior: Prior) -> np.ndarray:
    return prior.fitted.models.look_at(prior.fitted.described[0]).surrogate.effects


def test_the_second_time_comes_from_the_cache(world_prior: Path, home: Path, fits) -> None:
    first, second = _look(Prior.load(world_prior)), _look(Prior.load(world_prior))
    assert len(fits) == 1
    np.testing.assert_array_equal(first, second)
    (cached,) = home.iterdir()
    assert cached.stem == fits[0]


def test_other_files_have_another_key(own_prior: Path, world_prior: Path, home: Path, fits) -> None:
    _look(Prior.load(world_prior))
    _look(Prior.load(own_prior))
    assert len(fits) == 1  # a copy is the same prior
    prior = Prior.load(own_prior)
    prior.manifest["files"]["traces.parquet"] = "0" * 64
    _look(prior)
    assert len(set(fits)) == 2


def test_what_is_shared_is_read_not_found_again(
    world_prior: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = Prior.load(world_prior)
    table = tabulate(prior.read_traces())
    rows = describe_blocks(table.blocks, read_described(prior.folder))
    afresh = ScoreModel.fit(table, rows)

    def refuse(*_: object) -> None:
        raise AssertionError("the variances were sought")

    monkeypatch.setattr(profiles, "_tune", refuse)
    models = prior.fitted.models
    assert models.scores.tunings == afresh.tunings
    np.testing.assert_allclose(
        models.scores.surrogate(rows[0]).effects, afresh.surrogate(rows[0]).effects
    )


def test_other_recipes_have_another_key(
    world_prior: Path, home: Path, fits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stored recipe of fewer fields is no recipe."""
    _look(Prior.load(world_prior))
    monkeypatch.setattr(fitted_module, "FIELDS", (*FIELDS, "colour"))
    _look(Prior.load(world_prior))
    assert len(set(fits)) == 2


@pytest.mark.parametrize("content", [b"", b"not joblib at all", b"\x80\x05K\x01."])
def test_a_corrupt_cache_is_fitted_anew(world_prior: Path, home: Path, fits, content) -> None:
    expected = _look(Prior.load(world_prior))
    (cached,) = home.iterdir()
    cached.write_bytes(content)
    np.testing.assert_array_equal(_look(Prior.load(world_prior)), expected)
    assert len(fits) == 2
    _look(Prior.load(world_prior))
    assert len(fits) == 2


def test_a_foreign_object_is_not_taken(world_prior: Path, home: Path, fits) -> None:
    _look(Prior.load(world_prior))
    (cached,) = home.iterdir()
    joblib.dump({"key": fits[0]}, cached)
    cached.chmod(0o600)
    _look(Prior.load(world_prior))
    assert len(fits) == 2


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs owners of files")
def test_a_file_that_others_may_write_is_not_even_opened(
    world_prior: Path, home: Path, fits, tmp_path: Path
) -> None:
    _look(Prior.load(world_prior))
    (cached,) = home.iterdir()
    witness = tmp_path / "ran"
    joblib.dump(_Malicious(witness), cached)
    cached.chmod(0o666)
    _look(Prior.load(world_prior))
    assert not witness.exists()
    assert len(fits) == 2


class _Malicious:
    """Touches a file when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple:
        return Path.touch, (self.witness,)


def test_a_cache_that_cannot_be_written_costs_only_time(
    world_prior: Path, monkeypatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("METAFT_HOME", str(tmp_path / "file"))
    assert np.isfinite(_look(Prior.load(world_prior))).all()


def test_a_cached_answer_imports_no_heavy_library(world_prior: Path, home: Path) -> None:
    _look(Prior.load(world_prior))
    program = (
        "import sys; from metaft.prior.ask import suggest_for; "
        f"print(suggest_for('target', backbone='tiny/bert', prior={str(world_prior)!r}).recipe); "
        "print('modules:', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    loaded = set(done.stdout.partition("modules:")[2].split())
    assert not {"torch", "transformers", "pandas", "sklearn", "scipy", "datasets"} & loaded
