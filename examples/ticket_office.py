"""A task in one file: two questions about an invented ferry, with the tool that answers them.

    harness eval --model policy/oracle --tasks examples/ticket_office.py

A tool is a plain function. The model sees its name, description and parameters; its source runs in the sandbox.
"""

import inspect

from harness.records import sample_from_record
from harness.task import environment_task


def ferry_fare(destination, children=0):
    """The fare in crowns of one adult with children from Saltby Quay."""
    fares = {"orne": 1150, "little orne": 1275, "gull rock": 1940, "far skerry": 2385}
    fare = fares.get(str(destination).strip().lower())
    if fare is None:
        return {"error": "no ferry goes there"}
    return {"fare": fare + 410 * int(children)}


PARAMETERS = {
    "type": "object",
    "properties": {"destination": {"type": "string"}, "children": {"type": "integer", "minimum": 0}},
    "required": ["destination"],
}
QUESTIONS = [("Gull Rock", 2, "2760"), ("Little Orne", 1, "1685")]


def record(destination, children, fare):
    """One environment record; docs/environments.md explains the fields."""
    question = f"What does a ticket to {destination} cost for one adult and {children} children?"
    return {
        "id": destination.lower().replace(" ", "_"),
        "world": "saltby",
        "messages": [{"role": "user", "content": f"{question} End with a line `Answer: ...` holding the number."}],
        "tools": [{"name": "ferry_fare", "description": inspect.getdoc(ferry_fare), "parameters": PARAMETERS}],
        "codes": {"ferry_fare": inspect.getsource(ferry_fare)},
        "unsolved_set": {"ferry_fare": [fare]},
        "answer": fare,
        "gold_calls": [
            {"name": "ferry_fare", "arguments": {"destination": destination, "children": children}, "solves": 0}
        ],
    }


def tasks(data):
    """What `harness` calls: the tasks of this file."""
    samples = [
        sample_from_record(record(*question), line, f"question {line}") for line, question in enumerate(QUESTIONS)
    ]
    return [environment_task("ticket_office", lambda: samples, description="fares of an invented ferry")]
