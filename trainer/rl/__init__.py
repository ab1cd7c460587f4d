"""Reinforcement learning on the reward that the evaluation measures: docs/training.md"""
