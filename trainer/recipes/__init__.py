"""Recipes: TOML files, and how they are read."""
