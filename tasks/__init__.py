"""What can be evaluated: one file a benchmark, each with a function that returns its tasks."""
