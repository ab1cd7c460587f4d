"""Run directories: what is written of an episode, of a run, and what is computed of it."""
