"""The scorer: text to tokens (normalise), who solved what (strict, paper), the final answer, and the metrics."""

from harness.scoring.metrics import call_counts, call_rates, score

__all__ = ["call_counts", "call_rates", "score"]
