"""Trains on the reward that the evaluation measures: collecting, rewards, training, analysis, export."""
