"""Tools that fail on purpose (`--tool-faults`): which calls, in which words, and what stands in front of the tools.

What stands in front of them is imported by its module (faulty_tools), because it needs the rollout, which commands that
only read runs do not.
"""

from harness.tool_faults.draws import ToolFaults, check_tools

__all__ = ["ToolFaults", "check_tools"]
