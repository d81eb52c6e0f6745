"""What was learned from traces: which recipe to use on a task that was never seen."""
