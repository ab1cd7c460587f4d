"""What runs in the sandbox: the wheel's checker and the classes behind its conversations, from their sources.

The text of this file is the code of three tools. `data`, the episode's state, holds the sources by module name: nothing
can be read from disk there, and a fresh process an episode is what keeps one evaluation's instances from the next.
Model strings reach the wheel's eval() as Python literals alone. Nothing of the harness is imported: it is not there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

ROOT = "bfcl_eval."
CHECKERS = f"{ROOT}eval_checker."
NAME = "model"
"""What the wheel keys its instances on, with the id; alone in its process, it is fresh in every episode."""


class Sources:
    """Imports modules from a dictionary of sources, each a text and whether it is a package."""

    def __init__(self, modules: dict[str, list[Any]], spec: Any) -> None:
        self.modules = modules
        self.spec = spec  # held here: what a tool's own globals held is gone after its call

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in self.modules:
            return None
        return self.spec(name, self, is_package=self.modules[name][1])

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.modules[module.__name__][0], f"<{module.__name__}>", "exec"), module.__dict__)


@contextmanager
def importable(data: dict[str, Any]) -> Any:
    finder = Sources(data["modules"], ModuleSpec)
    sys.meta_path.insert(0, finder)
    try:
        yield __import__
    finally:
        sys.meta_path.remove(finder)


def member(load: Callable[..., Any], module: str, name: str) -> Any:
    return getattr(load(module, fromlist=[name]), name)


def check_calls(
    data: dict[str, Any], functions: Any, calls: Any, answer: Any, language: str, category: str
) -> dict[str, Any]:
    """Single turns: the verdict on `calls`, [{name: arguments}]."""
    with importable(data) as load:
        checker = member(load, f"{CHECKERS}ast_eval.ast_checker", "ast_checker")
        languages = member(load, f"{ROOT}constants.enums", "Language")
        return verdict(checker(functions, calls, answer, languages(language), category, NAME))


def play(data: dict[str, Any], entry: dict[str, Any], call: list[Any]) -> str:
    """Conversations: what one call [name, arguments] gives."""
    with importable(data) as load:
        utilities = f"{CHECKERS}multi_turn_eval.multi_turn_utils"
        execute = member(load, utilities, "execute_multi_turn_func_call")
        outputs, _ = execute(
            [as_text(call)],
            entry["initial_config"],
            entry["involved_classes"],
            NAME,
            entry["id"],
            long_context="long_context" in entry["id"],
        )
        return str(outputs[0])


def check_conversation(
    data: dict[str, Any], entry: dict[str, Any], turns: Sequence[Sequence[Sequence[list[Any]]]], gold: Any
) -> dict[str, Any]:
    """Conversations: the verdict on the calls of every step of every turn of the user's, played once more."""
    if len(turns) != len(gold):
        return {"valid": False, "error_type": "multi_turn:force_terminated"}
    texts = [[[as_text(call) for call in step] for step in turn] for turn in turns]
    with importable(data) as load:
        checker = member(load, f"{CHECKERS}multi_turn_eval.multi_turn_checker", "multi_turn_checker")
        return verdict(checker(texts, gold, entry, entry["id"].rsplit("_", 1)[0], NAME))


def as_text(call: Sequence[Any]) -> str:
    """A call as the wheel evaluates it. `**` with literals: an argument's name cannot be code either."""
    name, arguments = call
    return f"{name}(**{arguments!r})"


def verdict(found: dict[str, Any]) -> dict[str, Any]:
    return {"valid": found["valid"], "error_type": None if found["valid"] else found.get("error_type")}
