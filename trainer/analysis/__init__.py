"""Where a network changed, and what it cost elsewhere: docs/analysis.md"""
