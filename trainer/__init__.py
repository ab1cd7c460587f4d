"""To come: training on the reward that the evaluation measures. Empty so far."""
