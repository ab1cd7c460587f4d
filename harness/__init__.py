"""Measures how well a language model uses tools, and trains it on what it measures."""

# What a program imports, loaded when it is first used: `import harness` itself reads nothing. docs/python.md

__version__ = "0.1.0"

__all__ = [
    "Gold",
    "GoldCall",
    "HarnessError",
    "Limits",
    "Message",
    "Model",
    "ModelFailure",
    "ModelRequest",
    "Reasoning",
    "Reply",
    "Run",
    "Sample",
    "Sampling",
    "Task",
    "Tool",
    "ToolCall",
    "Trajectory",
    "call",
    "environment_task",
    "evaluate",
    "load_model",
    "load_tasks",
    "play",
    "read_run",
    "rescore",
    "score",
    "tool",
]

TYPE_CHECKING = False  # typing's own would have to be imported
if TYPE_CHECKING:
    from harness.api import evaluate, load_model, load_tasks, play, rescore, score
    from harness.errors import HarnessError, ModelFailure
    from harness.evaluation.run import Run, read_run
    from harness.interop.functions import call, tool
    from harness.task import environment_task
    from harness.types import (
        Gold,
        GoldCall,
        Limits,
        Message,
        Model,
        ModelRequest,
        Reasoning,
        Reply,
        Sample,
        Sampling,
        Task,
        Tool,
        ToolCall,
        Trajectory,
    )
else:
    _HOMES = {
        "harness.api": ("evaluate", "load_model", "load_tasks", "play", "rescore", "score"),
        "harness.errors": ("HarnessError", "ModelFailure"),
        "harness.interop.functions": ("call", "tool"),
        "harness.evaluation.run": ("Run", "read_run"),
        "harness.task": ("environment_task",),
    }
    _HOME = {name: module for module, names in _HOMES.items() for name in names}

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module 'harness' has no attribute {name!r}")
        from importlib import import_module

        # Kept, so that a module of the same name does not take its place.
        value = globals()[name] = getattr(import_module(_HOME.get(name, "harness.types")), name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
