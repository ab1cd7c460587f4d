"""A wheel in the form of bfcl-eval with a few entries and checkers of a few lines: what BFCL's tests play without it.

The checkers keep state in module globals on purpose, keyed as the real ones are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ENUMS = """
from enum import Enum

class Language(Enum):
    PYTHON = "python"
"""
AST_CHECKER = """
from bfcl_eval.constants.enums import Language
from bfcl_eval.constants.model_config import MODEL_CONFIG_MAPPING
import subprocess

def ast_checker(functions, calls, answer, language, category, model):
    assert language is Language.PYTHON and MODEL_CONFIG_MAPPING["any/name"].underscore_to_dot
    if "crash" in str(calls):
        raise KeyError("crash")
    wanted = [
        {name.replace(".", "_"): {key: values[0] for key, values in allowed.items() if "" not in values}}
        for each in answer for name, allowed in each.items()
    ]
    if calls == wanted:
        return {"valid": True, "error": []}
    return {"valid": False, "error": ["no"], "error_type": "simple:no"}
"""
UTILITIES = """
import importlib

def execute_multi_turn_func_call(func_call_list, initial_config, involved_classes, model_name, test_entry_id,
                                 long_context=False, is_evaL_run=False):
    name = f"{model_name}_{is_evaL_run}_{test_entry_id}_instance"
    if name not in globals():
        module = importlib.import_module("bfcl_eval.eval_checker.multi_turn_eval.func_source_code.ticket_api")
        globals()[name] = module.TicketAPI(initial_config["TicketAPI"])
    results = []
    for call in func_call_list:
        try:
            results.append(str(eval(f"{name}.{call}")))
        except Exception as error:
            results.append(f"Error during execution: {error}")
    return results, globals()[name]
"""
CHECKER = """
from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils import execute_multi_turn_func_call

def execute(calls, entry, model):
    config, classes = entry["initial_config"], entry["involved_classes"]
    return execute_multi_turn_func_call(calls, config, classes, model, entry["id"], is_evaL_run=True)

def multi_turn_checker(turns, gold, entry, category, model):
    assert category == entry["id"].rsplit("_", 1)[0]
    for steps, texts in zip(turns, gold):
        for step in steps:
            _, played = execute(step, entry, model)
        _, wanted = execute(texts, entry, model + "_gold")
        if texts and not steps:
            return {"valid": False, "error_type": "empty"}
        if steps and played.tickets != wanted.tickets:
            return {"valid": False, "error_type": "state"}
    return {"valid": True}
"""
TICKETS = """
import mpmath

class TicketAPI:
    def __init__(self, scenario):
        self.tickets = dict(scenario)

    def open_ticket(self, title, priority=mpmath.ONE):
        self.tickets[title] = priority
        return {"opened": title}

    def close_ticket(self, title):
        del self.tickets[title]
        return "closed"
"""


def function(name: str, **types: str) -> dict[str, Any]:
    properties = {key: {"type": kind, "description": key} for key, kind in types.items()}
    parameters = {"type": "dict", "properties": properties, "required": list(types)[:1]}
    return {"name": name, "description": f"Does {name}.", "parameters": parameters, "response": {"type": "dict"}}


AREA = function("geometry.area", width="float", height="integer", unit="string")
FUNCTIONS = [function("open_ticket", title="string", priority="integer"), function("close_ticket", title="string")]


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def conversation(name: str, **changes: Any) -> dict[str, Any]:
    fields = {
        "id": name,
        "question": [
            user("Open a ticket about the lift."),
            user("The stairs too."),
            user("Now close the lift's."),
        ],
        "initial_config": {"TicketAPI": {"door": 2}},
        "involved_classes": ["TicketAPI"],
        "path": [],
    }
    return {**fields, **changes}


GOLD = [["open_ticket('lift')"], ["open_ticket(title='stairs', priority=3)"], ["close_ticket(title='lift')"]]
HELD = conversation(
    "multi_turn_miss_func_0",
    question=[user("Close the door's ticket."), [], user("Open one about the roof.")],
    missed_function={"1": ["close_ticket"]},
)
FILES: dict[str, tuple[list[Any], list[Any] | None]] = {
    "simple_python": (
        [{"id": "simple_python_0", "question": [user("How large is 2 by 3?")], "function": [AREA]}],
        [{"geometry.area": {"width": [2.0], "height": [3], "unit": ["", "cm"]}}],
    ),
    "irrelevance": ([{"id": "irrelevance_0", "question": [user("Who are you?")], "function": [AREA]}], None),
    "live_relevance": ([{"id": "live_relevance_0-0-0", "question": [user("Area?")], "function": [AREA]}], None),
    "multi_turn_base": ([conversation("multi_turn_base_0")], GOLD),
    "multi_turn_miss_func": ([HELD], [[], ["close_ticket('door')"], ["open_ticket('roof')"]]),
}


def write_wheel(folder: Path) -> Path:
    """The folder for --data bfcl=FOLDER."""
    root = folder / "bfcl_eval"
    checkers, sources = root / "eval_checker", root / "eval_checker" / "multi_turn_eval" / "func_source_code"
    texts = {
        root / "constants" / "enums.py": ENUMS,
        root / "constants" / "type_mappings.py": "",
        root / "constants" / "executable_backend_config.py": "",
        checkers / "ast_eval" / "ast_checker.py": AST_CHECKER,
        checkers / "ast_eval" / "type_convertor" / "java_type_converter.py": "",
        checkers / "ast_eval" / "type_convertor" / "js_type_converter.py": "",
        checkers / "multi_turn_eval" / "multi_turn_checker.py": CHECKER,
        checkers / "multi_turn_eval" / "multi_turn_utils.py": UTILITIES,
        folder / "mpmath" / "__init__.py": "from .inner import ONE\n",
        folder / "mpmath" / "inner.py": "ONE = 1\n",
        root / "data" / "multi_turn_func_doc" / "ticket_api.json": _lines(FUNCTIONS),
    }
    others = ("gorilla_file_system", "math_api", "message_api", "posting_api", "trading_bot", "travel_booking")
    texts |= {sources / f"{name}.py": "" for name in (*others, "vehicle_control", "long_context")}
    texts[sources / "ticket_api.py"] = TICKETS
    for category, (rows, answer) in FILES.items():
        texts[root / "data" / f"BFCL_v4_{category}.json"] = _lines(rows)
        if answer is not None:
            path = root / "data" / "possible_answer" / f"BFCL_v4_{category}.json"
            texts[path] = _lines([{"id": rows[0]["id"], "ground_truth": answer}])
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def _lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
