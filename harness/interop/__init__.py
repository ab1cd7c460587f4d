"""Environments where people already are: inspect_ai, verifiers, Gymnasium, HTTP, MCP. docs/interoperability.md

`live` is what all are made of: an episode in which somebody else speaks; `turns` adds a reward for each turn. Only
inspect_task imports inspect_ai, only mcp_server imports mcp, only verifiers_env and verifiers_taskset import verifiers.
The other way, `functions` makes tools of plain Python functions.
"""
