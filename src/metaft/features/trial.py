"""What a trial measures: names and meanings, known without loading torch."""

from __future__ import annotations

TRIAL_STEPS = 3
"""Steps at each rate; each has a batch of its own."""

TRIAL_BATCH_ROWS = 16
"""Rows of a batch, the default of a Recipe."""

TRIAL_RATES: dict[str, float] = {
    "trial_drop_1e4": 1e-4,
    "trial_drop_3e4": 3e-4,
    "trial_drop_1e3": 1e-3,
}
"""Feature -> learning rate whose steps it tells of."""

TRIAL_MEANINGS: dict[str, str] = {
    "trial_log10_gradient": "log10 of the norm of a batch's gradient at the start, over all "
    "parameters; mean over the batches",
    "trial_log10_head_gradient": "the same of the head alone",
    "trial_low_share": "share of the blocks' squared gradient that falls on the lower half of "
    "them, in [0, 1]",
    "trial_agreement": "mean cosine between the gradients of two batches, the head left out, in "
    "[-1, 1]",
    **{
        name: f"share of the loss on rows aside that {TRIAL_STEPS} steps at a rate of {rate:g} "
        "take away; at least -3"
        for name, rate in TRIAL_RATES.items()
    },
}
"""Feature -> what it means."""

TRIAL_FEATURES: tuple[str, ...] = tuple(TRIAL_MEANINGS)
"""Names of the features that a trial adds; they depend on task and backbone alone."""

TRIAL_COST_MEANINGS: dict[str, str] = {
    "trial_step_seconds": f"seconds of one step of {TRIAL_BATCH_ROWS} rows, nothing frozen: of "
    "the processor on a CPU, of the clock on a GPU",
    "trial_peak_memory_mib": "peak memory of the trial, of the whole process on a CPU",
}
"""Cost -> what it means."""

TRIAL_COSTS: tuple[str, ...] = tuple(TRIAL_COST_MEANINGS)
"""Names of the costs that a trial measures; they depend on the machine, too."""
