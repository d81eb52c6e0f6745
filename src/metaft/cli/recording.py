"""The progress bar of commands that record runs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from metaft.cli.output import print_notice, progress_bar

if TYPE_CHECKING:
    from metaft.traces.recorder import Progress
    from metaft.traces.trace import Trace


class RecordingBar:
    """Shows the look at the tasks, then the runs; after a Ctrl-C says how to go on."""

    def __init__(self) -> None:
        self._shown = contextlib.ExitStack()
        self._progress: Progress | None = None
        self._is_searching = False

    def __enter__(self) -> RecordingBar:
        self._shown.enter_context(progress_bar("Looking at the tasks", None))
        return self

    def begin(self, progress: Progress) -> None:
        """Show the bar of the runs."""
        self._shown.close()
        self._progress = progress
        self._advance = self._shown.enter_context(progress_bar("Recording", progress.total))

    def advance(self, trace: Trace, progress: Progress) -> None:
        """Show that a run has ended."""
        self._progress = progress
        self._advance(1, f"{trace.task} ({trace.status})")

    def search(self, task: str, ended: int, searches: int) -> None:
        """Show the bar of the searches, which come after the runs."""
        self._is_searching = True
        if not ended:
            self._shown.close()
            self._advance = self._shown.enter_context(progress_bar("Searching", searches))
        else:
            self._advance(1, task)

    def wait(self, runs: int) -> None:
        """Say that nothing is left but what other recorders make."""
        print_notice(
            f"Waiting for {runs} runs that other recorders make; what they leave behind is "
            "taken over."
        )

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        self._shown.close()
        if not isinstance(error, KeyboardInterrupt):
            return
        kept = []
        if self._progress and self._progress.total:
            kept.append(f"{self._progress.done} of {self._progress.total} runs")
        if self._is_searching:
            kept.append("the trials that have ended")
        if kept:
            said = " and ".join(kept)
            print_notice(
                f"{said[0].upper()}{said[1:]} are recorded and kept; the same command goes on "
                "with the rest."
            )
