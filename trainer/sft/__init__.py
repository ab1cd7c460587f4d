"""Supervised training: a warm-up on demonstrations, and imitation of successes."""
