"""Rows of the paper's table from their weights to the table: what exists, one command after the other."""
