"""Studies: a question, what is varied to answer it, its runs, and what they show."""
