"""The commands that read runs: options, and one late import each."""
