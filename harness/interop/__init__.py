"""Environments where people already are: an exported task of inspect_ai, and an MCP server. docs/interoperability.md

`live` is what both are made of: an episode in which somebody else speaks. Only inspect_task imports inspect_ai, only
mcp_server imports mcp. The other way, `functions` makes tools of plain Python functions.
"""
