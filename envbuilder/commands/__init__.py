"""The commands of the builder: options, and one late import each."""
