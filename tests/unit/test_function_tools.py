"""Functions as tools: the schema that a model sees, the source that a worker runs, and what does not travel."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import jsonschema
import pytest

from harness.errors import UsageError
from harness.interop.functions import tool
from harness.sandbox import Sandbox, SandboxConfig

FARES = {"orne": 1150}


class Place(TypedDict):
    town: str
    quay: NotRequired[Annotated[int, "counted from the west"]]


def book(
    place: Place,
    kind: Literal["single", "return"],
    names: list[str],
    prices: dict[str, float],
    note: str | None = None,
    *,
    level: Literal[1, "top"] = 1,
    anything: Any = None,
    quiet: bool = False,
):
    """Book a crossing.

    One booking a day.

    Args:
        place: Where to,
            and from which quay.
        kind: Which ticket.
    """
    import math

    return {"town": place["town"], "sum": math.fsum(prices.values()), "names": names, "kind": kind, "note": note}


def test_the_schema_is_that_of_the_annotations():
    made = tool(book).tool
    assert (made.name, made.description) == ("book", "Book a crossing.\n\nOne booking a day.")
    jsonschema.Draft202012Validator.check_schema(made.parameters)
    assert made.parameters == {
        "type": "object",
        "properties": {
            "place": {
                "type": "object",
                "properties": {
                    "town": {"type": "string"},
                    "quay": {"type": "integer", "description": "counted from the west"},
                },
                "required": ["town"],
                "description": "Where to, and from which quay.",
            },
            "kind": {"type": "string", "enum": ["single", "return"], "description": "Which ticket."},
            "names": {"type": "array", "items": {"type": "string"}},
            "prices": {"type": "object", "additionalProperties": {"type": "number"}},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "level": {"type": ["integer", "string"], "enum": [1, "top"], "default": 1},
            "anything": {"default": None},
            "quiet": {"type": "boolean", "default": False},
        },
        "required": ["place", "kind", "names", "prices"],
    }


def test_the_source_runs_in_a_worker_without_the_module_around_it():
    arguments = {"place": {"town": "Orne"}, "kind": "return", "names": ["Ada"], "prices": {"Ada": 2.5}}
    with Sandbox(SandboxConfig(mode="weak", workers=1)) as sandbox, sandbox.episode() as tools:
        (result,) = tools.run({"book": tool(book).code}, [("book", arguments)])
    assert result.output == '{"town": "Orne", "sum": 2.5, "names": ["Ada"], "kind": "return", "note": null}'


def sphinx(town: str):
    """People of a town.

    :param town: Which one.
    """


def numpy(town: str):
    """People of a town.

    Parameters
    ----------
    town : str
        Which one.
    """


@pytest.mark.parametrize("function", [sphinx, numpy])
def test_other_styles_of_docstrings_are_read(function):
    made = tool(function).tool
    assert made.description == "People of a town."
    assert made.parameters["properties"]["town"]["description"] == "Which one."


# --- what does not travel ----------------------------------------------------------------------------------------


def from_outside(town: str):
    """A fare."""
    return (lambda: FARES[town])()


def outside_default(town: str, fares: dict = FARES):
    """A fare."""


def untyped(town):
    """A fare."""


def undocumented(town: str):
    return town


def odd_type(town: set):
    """A fare."""


def odd_default(town: Any = {1, 2}):  # noqa: B006
    """A fare."""


def unnamed(*towns: str):
    """A fare."""


def misread(town: str):
    """A fare.

    Args:
        city: Which one.
    """


def unknown_type(town: Nowhere):  # noqa: F821
    """A fare."""


async def waiting(town: str):
    """A fare."""


@functools.cache
def decorated(town: str):
    """A fare."""


def wrapping(function):
    @functools.wraps(function)
    def wrapped(*args):
        return function(*args)

    return wrapped


@wrapping
def wrapped(town: str):
    """A fare."""


def closed(fare):
    def closure(town: str):
        """A fare."""
        return fare

    return closure


def without_source():
    place: dict[str, Any] = {}
    exec('def typed_in(town: str):\n    """A fare."""', place)
    return place["typed_in"]


def outside_class(stop: str) -> int:
    """Counts."""

    class Fares:
        all = FARES
        first = all

    return len(Fares.first)


REFUSED = {
    "from_outside cannot be a tool: it uses FARES from outside": from_outside,
    "it uses FARES from outside": outside_default,
    "outside_class cannot be a tool: it uses FARES from outside": outside_class,
    "the parameter town has no annotation": untyped,
    "it has no docstring": undocumented,
    "the parameter town is a set, which no JSON value is": odd_type,
    "the default of town is no JSON": odd_default,
    "the parameter towns cannot be given by its name": unnamed,
    "its docstring describes city, which it does not take": misread,
    "an annotation cannot be read: name 'Nowhere' is not defined": unknown_type,
    "it is async": waiting,
    "decorated cannot be a tool: it is no function": decorated,
    "wrapped cannot be a tool: it is decorated": wrapped,
    "it uses fare from outside": closed(3),
    "its source cannot be found": without_source(),
    "it is no function that was defined by `def`": lambda town: town,
    "len cannot be a tool: it is no function": len,
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_does_not_travel_is_refused_in_one_sentence(sentence):
    with pytest.raises(UsageError) as refused:
        tool(REFUSED[sentence])
    assert sentence in str(refused.value)
    assert str(refused.value).count("cannot be a tool") == 1


def test_annotated_types_may_hold_anything_besides():
    def limited(x: Annotated[int, {"min": 1}, "a number"]) -> int:
        """Returns it."""
        return x

    assert tool(limited).tool.parameters["properties"]["x"] == {"type": "integer", "description": "a number"}
