"""What is played, the loop that plays it, and what can be done with a run: docs/runs.md"""
