"""What can be evaluated: one module or package a benchmark, each with a function that returns its tasks."""
