"""The scorer: text to tokens (normalise), who solved what (strict, paper), the final answer, and the metrics."""

from harness.scoring.metrics import score

__all__ = ["score"]
