"""Measures how well a language model uses tools: nouns, rollout, sandbox, models, scoring, runs, command line."""

__version__ = "0.1.0"
