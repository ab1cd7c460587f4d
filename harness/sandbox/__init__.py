"""Runs tool code that nobody trusts, apart from the harness and from other tools. docs/sandbox.md says how."""

from harness.sandbox.ledger import UNLIMITED, ToolLimits
from harness.sandbox.pool import Sandbox, SandboxConfig, ToolSession

__all__ = ["UNLIMITED", "Sandbox", "SandboxConfig", "ToolLimits", "ToolSession"]
