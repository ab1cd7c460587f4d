"""Training on the environments that the evaluation measures with: so far the supervised warm-up of a small network."""
