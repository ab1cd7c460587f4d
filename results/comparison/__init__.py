"""Two runs of the same samples: docs/comparing.md"""
