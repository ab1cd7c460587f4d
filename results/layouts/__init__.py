"""How a table of runs is laid out: default (as `harness eval` prints it), scenario, paper.

A layout is a function from runs to a Grid; results.render writes a Grid in any format.
"""
