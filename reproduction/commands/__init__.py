"""The command of reproduction."""
