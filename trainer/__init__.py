"""Collects trajectories and trains on the reward that the evaluation measures."""
