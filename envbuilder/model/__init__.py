"""Environments made by a language model: the five stages driven by any harness model, distrusted at every step.

requests    what to make: from topics or from a user's questions, and how hard
author      asks a model for JSON, validates, has it repaired
checks      what each stage's reply must satisfy beside its schema
trial       runs written code in the sandbox, with right and with wrong arguments
stages      the five stages
checkpoint  what is kept on disk
report      the account of a build
generator   many environments at once
"""

from envbuilder.model.checkpoint import BuildDirectory, Rejection
from envbuilder.model.generator import ModelGenerator
from envbuilder.model.report import ModelReport
from envbuilder.model.requests import TOPICS, EnvironmentRequest, read_questions, requests_from_topics

__all__ = [
    "TOPICS",
    "BuildDirectory",
    "EnvironmentRequest",
    "ModelGenerator",
    "ModelReport",
    "Rejection",
    "read_questions",
    "requests_from_topics",
]
