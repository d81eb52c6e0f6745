"""Importing learn2learn: nothing is printed, and a missing one is named with its cure."""

from __future__ import annotations

import sys

import pytest

from metaft.errors import MissingExtraError
from metaft.metalearning.library import import_learn2learn

_NOISY = """
import sys, warnings
print("Gym has been unmaintained since 2022 and does not support NumPy 2.0", file=sys.stderr)
warnings.warn("pkg_resources is deprecated")
"""


def test_what_is_printed_while_importing_is_kept_away(monkeypatch, tmp_path, capfd, recwarn):
    (tmp_path / "learn2learn.py").write_text(_NOISY)
    monkeypatch.delitem(sys.modules, "learn2learn", raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    assert import_learn2learn().__file__ == str(tmp_path / "learn2learn.py")
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
    del sys.modules["learn2learn"]  # monkeypatch puts the real one back, where it was there


def test_a_missing_learn2learn_is_named_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "learn2learn", None)
    with pytest.raises(MissingExtraError) as caught:
        import_learn2learn()

    message = str(caught.value)
    build = '--config-settings="--build-option=build_ext"'
    assert f"pip install learn2learn==0.2.0 --no-deps --use-pep517 {build}" in message
    assert "pip install gym requests tqdm" in message
    assert "uv sync --extra meta" in message
