"""Every way in which a weak or careless model spoils a reply of the five stages, by stage and cause. It holds no test.

A spoil gets a `Spoiled` and returns the spoiled reply, as an object or as text, or None where it cannot be done to it.
"""

import ast
import copy
import json
import random
import re
from dataclasses import dataclass

# --- what is spoiled ---------------------------------------------------------------------------------------------


@dataclass
class Spoiled:
    """What a spoil may look at: the good reply (a copy, to be changed), the whole book, the tool, and chance."""

    reply: dict
    book: dict
    tool: str
    rng: random.Random

    @property
    def hops(self):
        return self.book["scenario"]["sub_questions"]

    @property
    def calls(self):
        return [call for call in self.book["calls"]["calls"] if call["name"] == self.tool]

    @property
    def answer(self):
        """An answer of the tool, or of any sub-question."""
        return self.hops[self.calls[0]["solves"] if self.calls else -1]["answer"]

    @property
    def schema(self):
        """The tool's properties after scaling, and what is required."""
        found = [*self.book["documents"]["documents"], *self.book["integration"]["merged"]]
        found += self.book["scaling"]["distractors"]
        parameters = next(item["parameters"] for item in reversed(found) if item["name"] == self.tool)
        change = next((item for item in self.book["scaling"]["changes"] if item["name"] == self.tool), {})
        return {**parameters["properties"], **change.get("properties", {})}, parameters["required"]


def text_of(reply):
    return json.dumps(reply, ensure_ascii=False)


def needed(it):
    """(a required text parameter, its value in the gold call), if there is one."""
    if not it.calls:
        return None
    arguments = it.calls[0]["arguments"]
    return next(((name, arguments[name]) for name in it.schema[1] if isinstance(arguments[name], str)), None)


def answers_nothing(it):
    """An empty text is taken for what is looked for."""
    found = needed(it)
    return f"{found[0]} = {found[0]} or {found[1]!r}" if found else None


def answers_parts(it):
    """Another answer comes with its own."""
    if not it.calls or len(it.hops) < 2:
        return None
    later = it.hops[-1]["answer"] if it.calls[0]["solves"] != len(it.hops) - 1 else None
    if later is None or len(it.calls) > 1:
        return None
    return at_start(f"if True:\n    return {{'value': {it.answer!r}, 'next': {later!r}}}")(it)


def knows_one_entry(it):
    """What is asked for is all that the tool knows."""
    found, (properties, required) = needed(it), it.schema
    if found is None or len(it.calls) > 1:
        return None
    signature = ", ".join([*required, *(f"{name}=None" for name in properties if name not in required)])
    extra = [name for name in properties if name not in required]
    call = it.calls[0]["arguments"]
    wanted = " and ".join(f"{name} == {call[name]!r}" for name in required)
    notes = "".join(f", {name!r}: 'with' if {name} else 'without'" for name in extra)
    it.reply["code"] = (
        f"def {it.tool}({signature}):\n    if {wanted}:\n        return {{'value': {it.answer!r}{notes}}}\n"
        "    return {'error': 'not on record'}\n"
    )
    return it.reply


def at_start(body):
    """A spoil of code: statements before everything else that the tool does."""

    def spoil(it):
        lines = it.reply["code"].splitlines()
        tree = ast.parse(it.reply["code"])
        function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == it.tool)
        made = body(it) if callable(body) else body
        if made is None:
            return None
        place = function.body[0].lineno - 1
        it.reply["code"] = "\n".join([*lines[:place], *("    " + line for line in made.splitlines()), *lines[place:]])
        return it.reply

    return spoil


def parameter(it, required):
    properties, needed = it.schema
    names = [name for name in properties if (name in needed) is required]
    return it.rng.choice(names) if names else None


def ignore_optional(it):
    name = parameter(it, required=False)
    return None if name is None else f"{name} = {it.schema[0][name].get('default')!r}"


def ignore_required(it):
    """The value of the gold call stands for every other."""
    if not it.calls:
        return None
    name = parameter(it, required=True)
    return f"{name} = {it.calls[0]['arguments'][name]!r}"


def same_for_all(it):
    return f"return {{'value': {it.answer!r}}}" if it.calls else None


def hide_answer(it):
    """The answer is in the data no more."""
    if not it.calls or it.answer not in it.reply["code"]:
        return None
    it.reply["code"] = it.reply["code"].replace(it.answer, "Vantor Ellisby")
    return it.reply


def leak_in_errors(it):
    opening = re.compile(r"""(['"]error['"]: )(['"])""")
    if not it.calls or not opening.search(it.reply["code"]):
        return None
    it.reply["code"] = opening.sub(lambda found: f"{found[1]}{found[2]}{it.answer} is known; ", it.reply["code"])
    return it.reply


def answer_in_distractor(it):
    if it.calls:
        return None
    it.reply["code"] += f"\nNOTE = {it.hops[-1]['answer']!r}\n"
    return it.reply


def in_example(change):
    def spoil(it):
        if "example" not in it.reply:
            return None
        change(it.reply)
        return it.reply

    return spoil


def unknown_example(reply):
    reply["example"] = {name: "Nobody's" if isinstance(v, str) else v for name, v in reply["example"].items()}


def all_of_it(it):
    """All the tool's table at once."""
    tables = re.findall(r"^([A-Z]+) = [\[{]", it.reply["code"], re.MULTILINE)
    if not it.calls or not tables:
        return None
    return at_start(f"if True:\n    return {{'all': str({tables[-1]})}}")(it)


def hop(index, needs_earlier=False, **changes):
    """A spoil of a sub-question; a change may be a function of it."""

    def spoil(it):
        found = it.reply["sub_questions"][index]
        if needs_earlier and not found["depends_on"]:
            return None
        for name, value in changes.items():
            found[name] = value(found) if callable(value) else value
        return it.reply

    return spoil


def top(**changes):
    def spoil(it):
        for name, value in changes.items():
            it.reply[name] = value(it.reply) if callable(value) else value
        return it.reply

    return spoil


def other_answer(it):
    """A wrong result: another number, or another name."""
    number = re.fullmatch(r"([\d.]+)(.*)", it.reply["answer"])
    it.reply["answer"] = f"{float(number[1]) + 7:g}{number[2]}" if number else "Quillon Vasterby"
    return it.reply


def repeated_answer(it):
    if len(it.reply["sub_questions"]) < 2:
        return None
    it.reply["sub_questions"][0]["answer"] = it.reply["sub_questions"][-1]["answer"]
    return it.reply


def unit_repeated(it):
    last = it.reply["sub_questions"][-1]["answer"]
    if last == it.reply["answer"]:
        return None
    it.reply["answer"] = last
    return it.reply


def names_unneeded(it):
    """A sub-question that is asked with an answer that it does not build on."""
    found = it.reply["sub_questions"]
    if len(found) < 2 or not any(item["depends_on"] for item in found):
        return None
    found[0]["question"] += f" (It is not about {found[-1]['answer']}.)"
    return it.reply


def document(**changes):
    def spoil(it):
        found = it.reply["documents"][0]
        for name, value in changes.items():
            found[name] = value(found, it) if callable(value) else value
        return it.reply

    return spoil


def parameters(change):
    def spoil(it):
        found = it.reply["documents"][0]["parameters"]
        change(found, found["properties"][found["required"][0]], it)
        return it.reply

    return spoil


def second_name(it):
    found = it.reply["documents"]
    if len(found) < 2:
        return None
    found[1]["name"] = found[0]["name"]
    return it.reply


def merge_half(it):
    made = copy.deepcopy(it.book["documents"]["documents"][0])
    it.reply["merged"] = [{**made, "name": "merged_one", "serves": made["serves"]}]
    return it.reply


def merge_twice(it):
    if len(it.hops) < 2:
        return None
    made = copy.deepcopy(it.book["documents"]["documents"][0])
    it.reply["merged"] = [{**made, "name": name, "serves": [0, 1]} for name in ("merged_one", "merged_two")]
    return it.reply


def change(name, value):
    def spoil(it):
        if not it.reply["changes"]:
            return None
        it.reply["changes"][0][name] = value
        return it.reply

    return spoil


def distractor(**changes):
    def spoil(it):
        for name, value in changes.items():
            it.reply["distractors"][0][name] = value(it) if callable(value) else value
        return it.reply

    return spoil


def argument(change, index=-1):
    """A spoil of a gold call's arguments; `change` gets them and returns them, or None."""

    def spoil(it):
        call = it.reply["calls"][index]
        made = change(call["arguments"], it)
        if made is None:
            return None
        call["arguments"] = made
        return it.reply

    return spoil


def vague(arguments, it):
    """The earlier answer is only alluded to."""
    earlier = [it.hops[index]["answer"] for index in it.hops[-1]["depends_on"]]
    name = next((name for name, value in arguments.items() if value in earlier), None)
    return None if name is None else {**arguments, name: "the one found before"}


def other_entity(arguments, it):
    """Something that nobody asked about."""
    return {**arguments, next(name for name, value in arguments.items() if isinstance(value, str)): "Vantor Ellisby"}


def other_choice(it):
    """A wrong choice of an enumeration: the call does not give the answer."""
    for call in it.reply["calls"]:
        it.tool = call["name"]
        for name, schema in it.schema[0].items():
            rest = [choice for choice in schema.get("enum", ()) if choice != call["arguments"].get(name)]
            if name in call["arguments"] and rest:
                call["arguments"][name] = it.rng.choice(rest)
                return it.reply
    return None


def swap_calls(it):
    if len(it.reply["calls"]) < 2:
        return None
    it.reply["calls"][:2] = it.reply["calls"][1::-1]
    return it.reply


# --- the causes --------------------------------------------------------------------------------------------------

CUT_OFF = "(cut off)"

EVERYWHERE = {
    "no object": lambda it: "I would set it out in prose: first the question, then the steps.",
    "a refusal": lambda it: "I'm sorry, but I can't help with that.",
    "empty": lambda it: "",
    "torn": lambda it: text_of(it.reply)[: -it.rng.randint(2, 30)],
    "cut off at the limit": lambda it: CUT_OFF,
    "a field is missing": lambda it: {key: it.reply[key] for key in [key for key in it.reply if key != "example"][1:]},
    "a text for a list": lambda it: {**it.reply, next(key for key in it.reply if key != "example"): 7},
}

SPOILS = {
    "scenario": {
        **EVERYWHERE,
        "leak: question": top(question=lambda r: f"{r['question']} (Hint: {r['sub_questions'][0]['answer']}.)"),
        "leak: own sub-question": hop(0, question=lambda h: f"{h['question']} Is it {h['answer']}?"),
        "a sub-question is missing": top(sub_questions=lambda r: r["sub_questions"][:-1]),
        "no sub-answer": hop(-1, answer=" "),
        "trivial sub-answer": hop(0, answer="Yes"),
        "two characters": hop(0, answer="17"),
        "equal sub-answers": repeated_answer,
        "depends on a later one": hop(0, depends_on=[1]),
        "a dependency is missing": hop(-1, needs_earlier=True, depends_on=[]),
        "names what it does not need": names_unneeded,
        "another kind": top(kind=lambda r: "single_hop" if r["kind"] != "single_hop" else "multi_hop"),
        "answer in a sentence": top(answer=lambda r: f"It turns out to be {r['answer']}, as asked."),
        "answer with its unit again": unit_repeated,
        "another final answer": other_answer,
    },
    "documents": {
        **EVERYWHERE,
        "a document is missing": top(documents=lambda r: r["documents"][1:]),
        "a name twice": second_name,
        "no identifier": document(name="Find It!"),
        "leak: description": document(description=lambda d, it: f"{d['description']} Such as {it.hops[0]['answer']}."),
        "leak: enumeration": parameters(lambda p, one, it: one.update(type="string", enum=["x", it.hops[0]["answer"]])),
        "nothing is required": parameters(lambda p, one, it: p.update(required=[])),
        "required with a default": parameters(lambda p, one, it: one.update(default="x")),
        "an unknown keyword": parameters(lambda p, one, it: one.update(pattern="(a+)+$")),
        "serves another one": document(serves=[9]),
    },
    "integration": {**EVERYWHERE, "merges one alone": merge_half, "merges one twice": merge_twice},
    "scaling": {
        **EVERYWHERE,
        "too few distractors": top(distractors=lambda r: r["distractors"][1:]),
        "changes what is not there": change("name", "another_tool"),
        "no new parameters": change("properties", {}),
        "a distractor serves": distractor(serves=[0]),
        "leak: distractor": distractor(description=lambda it: f"Not {it.hops[-1]['answer']}, but others like it."),
        "a distractor is a tool again": distractor(
            description=lambda it: (
                it.reply["changes"][0].get("description") or it.book["documents"]["documents"][0]["description"]
            )
        ),
        "a distractor's name is taken": distractor(name=lambda it: it.reply["changes"][0]["name"]),
    },
    "calls": {
        **EVERYWHERE,
        "a call is missing": top(calls=lambda r: r["calls"][1:]),
        "out of order": swap_calls,
        "unknown argument": argument(lambda a, it: {**a, "who": "x"}),
        "required argument missing": argument(lambda a, it: {}),
        "states its own answer": argument(lambda a, it: {**a, next(iter(a)): it.hops[-1]["answer"]}),
        "only alludes to an earlier answer": argument(vague),
        "an entity that nobody named": argument(other_entity, 0),
        "a wrong choice": other_choice,
    },
    "code": {
        **EVERYWHERE,
        "does not compile": at_start("return {"),
        "raises": at_start("raise KeyError('data')"),
        "loops": at_start("while True:\n    pass"),
        "imports a way out": lambda it: {**it.reply, "code": f"import os\n{it.reply['code']}"},
        "imports chance": lambda it: {**it.reply, "code": f"import random\n{it.reply['code']}"},
        "reads a file": at_start("open('/etc/passwd')"),
        "is a class": lambda it: {**it.reply, "code": f"class Table:\n    pass\n\n\n{it.reply['code']}"},
        "another function": lambda it: {**it.reply, "code": it.reply["code"].replace(f"def {it.tool}(", "def tool(")},
        "returns nothing": at_start("return None"),
        "returns its argument": at_start(lambda it: f"return {{'asked': {parameter(it, required=True)}}}"),
        "ignores an optional parameter": at_start(ignore_optional),
        "ignores a required parameter": at_start(ignore_required),
        "returns another value": hide_answer,
        "the same for all": at_start(same_for_all),
        "everything at once": all_of_it,
        "answers an empty text": at_start(answers_nothing),
        "says another answer too": answers_parts,
        "knows one entry only": knows_one_entry,
        "leak: error": leak_in_errors,
        "a distractor that answers": answer_in_distractor,
        "no example": in_example(lambda reply: reply.pop("example")),
        "an example that finds nothing": in_example(unknown_example),
    },
}
