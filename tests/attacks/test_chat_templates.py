"""A chat template that came with a model and never ends, or takes all memory: one sentence."""

import resource
import time

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from harness.data.limits import reading_within
from harness.models.local.bounded import GROWTH, TemplateLimit, render_within_limits

FOR = "{% for a in range(99999) %}{% for b in range(99999) %}%s{% endfor %}{% endfor %}"
HOSTILE = {
    "loops": FOR.replace("%s", ""),
    "writes": FOR.replace("%s", "{{ b }}"),
    "doubles": "{% set n = namespace(x='ab' * 1000) %}{% for a in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
}


@pytest.mark.parametrize("name", ["loops", *(pytest.param(n, marks=pytest.mark.slow) for n in ("writes", "doubles"))])
def test_it_is_stopped(name):
    template, began = ImmutableSandboxedEnvironment().from_string(HOSTILE[name]), time.monotonic()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with reading_within({"template": 1}), pytest.raises(TemplateLimit, match="hf/model: its chat template takes more"):
        render_within_limits("hf/model", template.render)
    assert time.monotonic() - began < 20
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most) * 1024
    assert grown < 3 * GROWTH, "one doubling past the limit, and what it was made of"


def test_what_it_refuses_is_raised_and_what_it_writes_is_returned():
    assert render_within_limits("m", lambda: "text") == "text"
    with pytest.raises(ZeroDivisionError):
        render_within_limits("m", lambda: str(1 / 0))
