"""Twins that ask when to call a tool: five environments of one world, between which only the right action differs.

scenario   the question, the facts about it, and who the notes are about
twins      from one world to its five environments
proof      what can be reached is reached, and nothing else can be
docs/decisions.md says which action is right in which.
"""
