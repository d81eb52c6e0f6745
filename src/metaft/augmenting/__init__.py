"""Augmentation looked at: sheets of before and after, and what it does to diversity and labels."""
