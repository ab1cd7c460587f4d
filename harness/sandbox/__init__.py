"""Runs tool code that nobody trusts, apart from the harness and from other tools. docs/sandbox.md says how."""

from harness.sandbox.pool import Episode, Sandbox, SandboxConfig

__all__ = ["Episode", "Sandbox", "SandboxConfig"]
