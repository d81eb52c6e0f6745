from __future__ import annotations

import re
from pathlib import Path

from metaft.prior.manifest import Manifest
from metaft.prior.readme import render_readme
from metaft.prior.rivals import METHODS


def test_figures_come_from_the_manifest(own_prior: Path) -> None:
    manifest = Manifest.read(own_prior)
    text = render_readme(manifest)
    assert text == (own_prior / "README.md").read_text()
    learned = manifest["validation"]["methods"]["learned"]
    assert re.search(rf"\| learned .*\| {learned['points']:.2f} \|", text)
    assert "| task02 | classification | accuracy | 6 | none |" in text
    assert "target" in text


def test_a_null_result_is_said_first(own_prior: Path) -> None:
    manifest = Manifest.read(own_prior)
    manifest["calibration"]["weight"] = 0.0
    assert "the pooled ranking is what this prior suggests" in render_readme(manifest)
    manifest["calibration"]["weight"] = 0.5
    assert "counts for 50% of the ranking" in render_readme(manifest)


def test_one_task_admits_to_know_nothing(own_prior: Path) -> None:
    manifest = Manifest.read(own_prior)
    manifest["validation"].update(tasks=0, methods={}, comparisons={})
    text = render_readme(manifest)
    assert "nothing is known of its worth" in text
    assert "nan" not in text.lower()


def test_every_method_is_explained(own_prior: Path) -> None:
    text = render_readme(Manifest.read(own_prior))
    for method in METHODS:
        search = re.sub(r"-\d+$", "-N", method)
        assert f"\n- {method}: " in text or f"\n- {search}: " in text, method
    assert text.count("\n- random-N: ") == 1


def test_a_screening_is_told(screened_prior: Path, own_prior: Path) -> None:
    manifest = Manifest.read(screened_prior)
    text = render_readme(manifest)
    best = manifest["screening"]["levels"][0]
    assert "Suggestions take label_smoothing=0.1 over." in text
    assert f"| label_smoothing | 0.1 | 12 | {best['points']:.2f} |" in text
    assert "learning_rate=0.0003, frozen_fraction=0.5" in text
    assert "60 traces on 12 tasks at 512 rows on tiny/bert" in text
    manifest["screening"]["adopted"] = None
    assert "No level is shown to help" in render_readme(manifest)
    assert "screened" not in render_readme(Manifest.read(own_prior))
