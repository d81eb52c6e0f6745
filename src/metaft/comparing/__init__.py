"""Proving or disproving, with paired runs and tests, that one method beats another."""
