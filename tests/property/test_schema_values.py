"""Values made from schemas are valid by the reference validator, for the keywords that tool schemas use."""

import random

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.schema_values import RandomValues, plain_value
from harness.types import Tool

numbers = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", "number"])},
    optional={"minimum": st.integers(-50, 50), "maximum": st.integers(60, 200)},
)
strings = st.fixed_dictionaries(
    {"type": st.just("string")}, optional={"minLength": st.integers(0, 3), "maxLength": st.integers(20, 40)}
)
leaves = st.one_of(
    numbers,
    strings,
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.just({"type": ["string", "null"]}),
    st.just({"type": "string", "format": "date"}),
    st.lists(st.integers() | st.text(), min_size=1, unique_by=repr).map(lambda values: {"enum": values}),
    st.integers().map(lambda value: {"const": value}),
    st.just({"anyOf": [{"type": "integer"}, {"type": "string"}]}),
)
nested = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(lambda items: {"type": "array", "items": items}),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1).map(
            lambda parts: {"type": "object", "properties": parts, "required": sorted(parts)}
        ),
    ),
    max_leaves=4,
)
schemas = st.dictionaries(st.sampled_from("pqrs"), nested, min_size=1).map(
    lambda parts: {"type": "object", "properties": parts, "required": sorted(parts)[:1]}
)


@given(schemas, st.integers())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_random_arguments_are_valid(schema, seed):
    values = RandomValues(random.Random(seed), ["alpha", "beta"])
    jsonschema.validate(values.arguments(Tool("t", "", schema)), schema)


@given(numbers | st.just({"type": "boolean"}) | st.just({"type": "string", "format": "date"}))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_plain_values_are_valid(schema):
    jsonschema.validate(plain_value(schema), schema)


@given(
    st.dictionaries(st.text(max_size=3), st.none() | st.integers() | st.text() | st.lists(st.integers()), max_size=5)
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_no_schema_raises(schema):
    tool = Tool("t", "", {"properties": {"p": schema}, "required": ["p"]})
    RandomValues(random.Random(0), []).arguments(tool)
    plain_value(schema)
