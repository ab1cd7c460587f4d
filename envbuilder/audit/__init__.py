"""What is checked of an environment before it is written, and of a set by `harness validate`: docs/validation.md"""
