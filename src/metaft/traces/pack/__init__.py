"""Packs: everything that some runs need in one file, for machines that reach nothing."""
