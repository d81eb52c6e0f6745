"""Tasks: cards, sources (files, bundled, mirror, hub), splits and selectors."""
