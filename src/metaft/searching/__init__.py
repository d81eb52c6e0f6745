"""Searches: many runs on one dataset, of which the best on its validation rows is kept."""
