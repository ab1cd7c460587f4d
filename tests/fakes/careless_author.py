"""An author that spoils its replies in the ways of spoiled_replies.py, and the builds that it is asked for.

`books()` are environments as good replies, one for each thing that is asked. `CarelessAuthor` is a model that plays a
book, spoils replies of it and remembers which were refused. It holds no test.
"""

import asyncio
import copy
import json
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fakes import scripted_author as firms
from fakes.spoiled_replies import CUT_OFF, SPOILS, Spoiled, text_of

from envbuilder.audit.environment import audit_environment
from envbuilder.model import BuildDirectory, EnvironmentRequest, ModelGenerator, Rejection
from envbuilder.records import QUESTION_KINDS, environment_record
from harness.data.records import sample_from_record
from harness.types import Message, Reply, Usage

LIGHTHOUSE = json.loads(Path(__file__).with_name("lighthouse_replies.json").read_text(encoding="utf-8"))


def firm_book(firm, kind):
    """The scripted author's replies about one firm."""
    steps = firms.plan(firm, kind)
    documents = [*firms.tools_of(firm, steps), *firms.scaled(firm, steps)["distractors"]]
    code = {}
    for name in [item["name"] for item in documents]:
        tool = name.rpartition("_")[2]
        code[name] = {"code": firms.source(tool, firms.PARAMETERS.get(tool, ["firm"]), name)}
        if tool not in firms.PARAMETERS:
            code[name]["example"] = {"firm": firm}
    hops = [hop for hop, _, _ in steps]
    other = firms.FIRMS[(firms.FIRMS.index(firm) + 1) % len(firms.FIRMS)]
    question = f"What is there to know about the houses of {firm} and {other}?"
    return {
        "topic": f"the house of {firm}",
        "scenario": {"question": question, "kind": kind, "answer": hops[-1]["answer"], "sub_questions": hops},
        "documents": firms.documents(firm, steps),
        "integration": firms.merged(firm, steps),
        "scaling": firms.scaled(firm, steps),
        "calls": firms.gold(firm, steps),
        "code": code,
    }


def books():
    """Four small environments, one a kind, and one as a person wrote it."""
    return [LIGHTHOUSE, *(firm_book(firm, kind) for firm, kind in zip(firms.FIRMS[::2], QUESTION_KINDS, strict=False))]


# --- the model ---------------------------------------------------------------------------------------------------


@dataclass
class CarelessAuthor:
    """A model that plays `book`; `choose` says how a good reply is spoiled (a cause, or None for not at all).

    `bad` counts spoiled replies and `refused` those of them that were asked for again, by (stage, cause); `said` keeps
    a sentence of refusal for each; `let_through` are the causes of replies that were taken.
    """

    book: dict
    choose: object
    rng: random.Random
    name: str = "careless"
    fingerprint: dict = field(default_factory=lambda: {"name": "careless"})
    bad: Counter = field(default_factory=Counter)
    refused: Counter = field(default_factory=Counter)
    said: dict = field(default_factory=dict)
    taken: dict = field(default_factory=dict)
    good_refused: int = 0

    def __call__(self, request):
        prompt = request.messages[0].content
        if len(request.messages) > 1:
            self.note_refusal(self.taken.pop(prompt, None), request.messages[-1].content)
        stage = re.match(r"Stage: (\w+)", prompt)[1]
        tool = json.loads(prompt.partition("Document:\n")[2].partition("\n\n")[0])["name"] if stage == "code" else ""
        good = self.book["code"][tool] if tool else self.book[stage]
        cause, text = self.spoil(stage, good, tool, prompt)
        if cause:
            self.bad[stage, cause] += 1
            self.taken[prompt] = (stage, cause)
        ends = "length" if text == CUT_OFF else "stop"
        return Reply(Message("assistant", text), Usage(1, 0, 0, requests=1), finish_reason=ends)

    def spoil(self, stage, good, tool, prompt):
        while cause := self.choose(stage, tool, prompt):
            made = SPOILS[stage][cause](Spoiled(copy.deepcopy(good), self.book, tool, self.rng))
            if made is not None and made != good:
                return cause, made if isinstance(made, str) else text_of(made)
        return None, text_of(good)

    def note_refusal(self, spoiled, sentence):
        if spoiled is None:
            self.good_refused += 1
        else:
            self.refused[spoiled] += 1
            self.said.setdefault(spoiled, sentence.splitlines()[0])

    @property
    def let_through(self):
        return list(self.taken.values())


def build(author, folder, sandbox, tries):
    """What becomes of the author's book: built (None), or why not."""
    scenario = author.book["scenario"]
    request = EnvironmentRequest(0, scenario["kind"], author.book["topic"], hops=len(scenario["sub_questions"]))
    distractors = len(author.book["scaling"]["distractors"])
    options = {} if distractors > 2 else firms.LIGHT
    generator = ModelGenerator(author, sandbox, tries=tries, **options)
    [result] = asyncio.run(generator.build([request], BuildDirectory(folder)))
    if isinstance(result, Rejection):
        return f"{result.stage}: {result.reason}: {result.message}"
    record = environment_record(result, "train")
    with sandbox.episode() as episode:
        found = [one for one in audit_environment(sample_from_record(record, 0, "book"), episode) if one.fatal]
    return f"audit: {found[0].check}: {found[0].detail}" if found else None


def spoil_each(spared=frozenset()):
    """A choice: every reply is spoiled in every way, one after the other, before it is good."""
    left = {}

    def choose(stage, tool, prompt):
        causes = left.setdefault(prompt, [cause for cause in SPOILS[stage] if (stage, cause) not in spared])
        return causes.pop(0) if causes else None

    return choose


def spoil_some(rate, rng):
    """A choice: a reply is spoiled with this chance, in any way."""
    return lambda stage, tool, prompt: rng.choice(list(SPOILS[stage])) if rng.random() < rate else None
