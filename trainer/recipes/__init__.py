"""Recipes: TOML files, and how they are read."""

OPTIONS = ("algorithm", "reward", "loops")
"""Values of a recipe that `harness train` has options for; not every regime has them."""
