"""The worlds: domains as data, and what may be said of them."""
