from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metaft.errors import PriorError
from metaft.features.extract import FEATURES
from metaft.features.trial import TRIAL_FEATURES
from metaft.prior.ask import suggest_for
from metaft.prior.check import check_prior
from metaft.prior.described import Described, feature_names
from metaft.prior.prior import Prior
from metaft.prior.suggest import suggest


def _target(prior: Prior) -> Described:
    return next(row for row in prior.fitted.described if row.task == "target")


def test_a_prior_ships_what_trial_steps_told(probed_prior: Path) -> None:
    prior = Prior.load(probed_prior)
    assert prior.manifest.is_probed
    assert prior.manifest["features"] == [*FEATURES, *TRIAL_FEATURES]
    frame = pd.read_parquet(probed_prior / "features.parquet")
    assert frame[list(TRIAL_FEATURES)].notna().all(axis=None)
    assert _target(prior).is_probed


def test_models_go_by_trial_steps_only_where_some_were_taken(probed_prior: Path) -> None:
    prior = Prior.load(probed_prior)
    row = _target(prior)
    probed, calibration = prior.opinion_on(row)
    plain, plain_calibration = prior.opinion_on(row.without_trial())
    assert probed is prior.fitted.probed_models
    assert plain is prior.fitted.models
    assert probed.scores.scaling.names == (*FEATURES, *TRIAL_FEATURES)
    assert plain.scores.scaling.names == FEATURES
    assert calibration == prior.manifest.probed_calibration_of("classes")
    assert plain_calibration == prior.manifest.calibration_of("classes")
    assert probed.scores.process.tuning.precisions["trial"] > 0
    assert "trial" not in plain.scores.process.tuning.precisions
    answers = [models.scores.surrogate(row).effects for models in (probed, plain)]
    assert not np.allclose(*answers)


def test_what_trial_steps_buy_is_judged_on_left_out_tasks(probed_prior: Path) -> None:
    manifest = Prior.load(probed_prior).manifest
    with_probe = manifest["probe"]["methods"]["surrogate"]["regret"]
    assert with_probe < manifest["validation"]["methods"]["surrogate"]["regret"] - 0.5


def test_the_check_repeats_what_is_said_of_the_probe(probed_prior: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(probed_prior, tmp_path / "boasting"))
    values = json.loads((folder / "prior.json").read_text())
    values["probe"]["methods"]["surrogate"]["regret"] -= 0.5
    (folder / "prior.json").write_text(json.dumps(values))
    (boast,) = check_prior(Prior.load(folder)).discrepancies  # and in all else it repeats
    assert boast.figure == "probe.methods.surrogate.regret"


def test_without_trial_steps_nothing_of_them_is_kept(world_prior: Path) -> None:
    prior = Prior.load(world_prior)
    assert not prior.manifest.is_probed
    assert prior.fitted.probed_models is None
    assert "probe" not in prior.manifest.values
    assert not set(TRIAL_FEATURES) & set(pd.read_parquet(world_prior / "features.parquet").columns)


def test_a_shipped_probe_costs_nothing(probed_prior: Path) -> None:
    folder = str(probed_prior)
    probed = suggest_for("target", prior=folder, probe=True)
    plain = suggest_for("target", prior=folder)
    assert probed.to_mapping()["probe"] == {"seconds": 0.0}
    assert plain.to_mapping()["probe"] is None
    prior = Prior.load(folder)
    assert plain == suggest(prior, _target(prior).without_trial(), dataset="target")


def test_a_prior_without_trial_steps_is_not_probed(world_prior: Path) -> None:
    with pytest.raises(PriorError, match="'world-v0' was fitted without trial steps"):
        suggest_for("target", prior=str(world_prior), probe=True)


def test_features_of_rows_of_which_one_was_probed(make_world) -> None:
    probed = make_world(2, recipes=2, trials_matter=False).described
    assert feature_names([probed[0], probed[1].without_trial()]) == (*FEATURES, *TRIAL_FEATURES)
    assert feature_names([row.without_trial() for row in probed]) == FEATURES
    assert feature_names([]) == FEATURES
