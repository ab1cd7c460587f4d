"""How a table of runs is laid out: default (as `harness eval` prints it), scenario, paper.

A layout is a function from runs to a Table; results.render writes a Table in any format. Only names stand here, so that
the command line is read without what draws tables.
"""

LAYOUTS = ("default", "scenario", "paper")
ENVIRONMENT_GROUPS = ("paper", "ftrl", "micro")
"""Groups that can fill the Solve columns of paper, the paper's own first."""
