"""A task in one file: two questions about an invented ferry, with the tool that answers them.

    harness eval --model policy/oracle --tasks examples/ticket_office.py

A tool is a plain function. The model sees its name, docstring and annotations; its source runs in the sandbox.
"""

from harness import Gold, GoldCall, Message, Sample, environment_task, tool


def ferry_fare(destination: str, children: int = 0):
    """The fare in crowns of one adult with children from Saltby Quay.

    Args:
        destination: Where the ferry goes, by name.
        children: How many children come along.
    """
    fares = {"orne": 1150, "little orne": 1275, "gull rock": 1940, "far skerry": 2385}
    fare = fares.get(str(destination).strip().lower())
    if fare is None:
        return {"error": "no ferry goes there"}
    return {"fare": fare + 410 * int(children)}


FARE = tool(ferry_fare)
QUESTIONS = [("Gull Rock", 2, "2760"), ("Little Orne", 1, "1685")]


def sample(destination, children, fare):
    """One problem: what is asked, what may be called, and the gold, which the model never sees."""
    question = f"What does a ticket to {destination} cost for one adult and {children} children?"
    return Sample(
        id=destination.lower().replace(" ", "_"),
        messages=(Message("user", f"{question} End with a line `Answer: ...` holding the number."),),
        tools=(FARE.tool,),
        codes={FARE.name: FARE.code},
        gold=Gold(
            sub_answers={FARE.name: (fare,)},
            calls=(GoldCall(FARE.name, {"destination": destination, "children": children}, solves=0),),
            answer=fare,
        ),
        metadata={"world": "saltby"},
    )


def tasks(data):
    """What `harness` calls: the tasks of this file."""
    samples = [sample(*question) for question in QUESTIONS]
    return [environment_task("ticket_office", lambda: samples, description="fares of an invented ferry")]
