"""The regime dpo: preferences between a model's own attempts."""
