"""Tools that fail on purpose (`--tool-faults`): which calls, in which words, and what stands in front of the tools."""

from harness.tool_faults.draws import ToolFaults, check_tools
from harness.tool_faults.faulty_tools import put_faults_before

__all__ = ["ToolFaults", "check_tools", "put_faults_before"]
