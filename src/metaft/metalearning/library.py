"""Importing learn2learn: only where meta-training runs, and without the notices it prints."""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from typing import Any

from metaft.errors import MissingExtraError

_PIP_LINES = (
    "pip install learn2learn==0.2.0 --no-deps --use-pep517 "
    '--config-settings="--build-option=build_ext" && pip install gym requests tqdm'
)


def import_learn2learn() -> Any:
    """Return the package learn2learn; the first call takes 4 to 11 s.

    Importing it imports gym, which writes a notice about NumPy 2 to stderr; that is kept away.

    Raises:
        MissingExtraError: If it, or what it imports, is not installed.
    """
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("learn2learn")
        except ImportError as error:
            raise MissingExtraError(
                f"meta-training needs learn2learn, which cannot be imported: {error}",
                f"Install it with `{_PIP_LINES}`, or with uv: `uv sync --extra meta`",
            ) from error
