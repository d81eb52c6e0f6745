"""Traces: what fine-tuning runs did, where that is kept, and how many runs are recorded."""
