"""The commands of training: options, and one late import each."""
