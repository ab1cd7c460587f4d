"""A scripted author for the model generator, and builds with it. It holds no test.

It writes of firms, who founded them and when those were born, and keeps no notes: stage and firm are in the prompt.
`author(...)` is a script for ChatServer; its first replies to a prompt can be spoiled.
"""

import asyncio
import json
import re
from datetime import date

from fakes.chat_server import ChatServer, Step, text

from envbuilder.model import BuildDirectory, EnvironmentRequest, ModelGenerator, ModelReport
from envbuilder.records import QUESTION_KINDS
from envbuilder.spec import EASY, Levels
from harness.models import ModelOptions
from harness.models.api import openai

LIGHT = {"levels": Levels(generalise=1, parameters=1, types=1, distractors=1), "size": EASY.size}

FIRMS = ("Halvek", "Borrun", "Castelin", "Drovane", "Elmquist", "Farrowby", "Gundry", "Hexley", "Irvane", "Jostrup")
FOUNDERS = dict(
    zip(
        FIRMS,
        ("Mira Tolven", "Osk Brandel", "Ilse Quary", "Per Nodding", "Una Fellow", "Rolf Astrup", "Vera Loft",
         "Emil Stork", "Dora Kvist", "Nils Ahlgren"), strict=True,
    )
)  # fmt: skip
BORN = {who: date(1901 + 7 * n, 1 + n, 3 + 2 * n).isoformat() for n, who in enumerate(FOUNDERS.values())}


def gap(one, other):
    return f"{abs((date.fromisoformat(BORN[FOUNDERS[one]]) - date.fromisoformat(BORN[FOUNDERS[other]])).days)} days"


def hop(question, answer, *depends_on):
    return {"question": question, "answer": answer, "depends_on": list(depends_on)}


def founder(firm, *depends_on):
    return hop(f"Who founded {firm}?", FOUNDERS[firm], *depends_on)


def birth(firm, *depends_on):
    return hop(f"When was the founder of {firm} born?", BORN[FOUNDERS[firm]], *depends_on)


def plan(firm, kind):
    """The sub-questions of a kind about a firm and the next one, and for each its tool and gold arguments."""
    other = FIRMS[(FIRMS.index(firm) + 1) % len(FIRMS)]
    both = [(founder(firm), "founder", {"firm": firm}), (founder(other), "founder", {"firm": other})]
    born = [({"person": FOUNDERS[one]}, one) for one in (firm, other)]
    days = {"first": BORN[FOUNDERS[firm]], "second": BORN[FOUNDERS[other]]}
    return {
        "single_hop": both[:1],
        "parallel_single_hop": both,
        "multi_hop": [both[0], (birth(firm, 0), "birth", born[0][0])],
        "parallel_multi_hop": [
            *both,
            (birth(firm, 0), "birth", born[0][0]),
            (birth(other, 1), "birth", born[1][0]),
            (hop("How many days lie between?", gap(firm, other), 2, 3), "days", days),
        ],
    }[kind]


PARAMETERS = {"founder": ["firm"], "birth": ["person"], "days": ["first", "second"]}
TABLES = {
    "founder": FOUNDERS,
    "birth": BORN,
    "shares": {firm: f"{4100 + 37 * n} shares" for n, firm in enumerate(FIRMS)},
    "staff": {firm: f"{230 + 19 * n} people" for n, firm in enumerate(FIRMS)},
}


def schema(names):
    properties = {name: {"type": "string", "description": f"The {name} that is meant."} for name in names}
    return {"type": "object", "properties": properties, "required": list(names)}


def doc(name, parameters, serves):
    description = f"Returns the {name} entry of a register." if serves else f"Gives what is on file about {name}."
    return {"name": name, "description": description, "parameters": parameters, "serves": serves}


REMARKS = ["kept by hand", "checked twice", "never printed"]


def source(tool, names, name):
    optional = ", limit=10"
    if tool == "days":
        return (
            f"from datetime import date\n\ndef {name}(first, second{optional}):\n    try:\n"
            "        days = abs((date.fromisoformat(first) - date.fromisoformat(second)).days)\n"
            "    except ValueError:\n        return {'error': 'dates are written YYYY-MM-DD'}\n"
            f"    return {{'gap': f'{{days}} days', 'remarks': {REMARKS}[:limit]}}\n"
        )
    table = {key.lower(): value for key, value in TABLES[tool].items()}
    return (
        f"TABLE = {table!r}\n\ndef {name}({', '.join(names)}{optional}):\n"
        f"    key = str({names[0]}).strip().lower()\n    if key not in TABLE:\n"
        f"        return {{'error': 'nothing is known of ' + key}}\n"
        f"    return {{'entry': TABLE[key], 'remarks': {REMARKS}[:limit]}}\n"
    )


def asked_about(asked):
    """(stage, firm, kind) of a request: the author keeps no notes, everything is in the prompt."""
    said = asked.conversation
    stage = re.search(r"^Stage: (\w+)", said)[1]
    firms = sorted((said.lower().find(firm.lower()), firm) for firm in FIRMS if firm.lower() in said.lower())
    return stage, firms[0][1]


def kind_in(said):
    """The kind of a plan, by the sub-questions that a prompt lists."""
    n = len(re.findall(r"^\d+\. ", said, re.MULTILINE))
    return {1: "single_hop", 5: "parallel_multi_hop"}.get(n) or (
        "multi_hop" if "depends on: 0" in said else "parallel_single_hop"
    )


def good(asked):
    """What a good author replies, as an object."""
    said = asked.conversation
    stage, firm = asked_about(asked)
    if stage == "code":
        name = json.loads(said.partition("Document:\n")[2].partition("\n\n")[0])["name"]
        tool = name.rpartition("_")[2]
        reply = {"code": source(tool, PARAMETERS.get(tool, ["firm"]), name)}
        return reply if tool in PARAMETERS else {"example": {"firm": firm}, **reply}
    if stage == "scenario":
        kind = re.search(r"^Kind: (.*)$", said, re.MULTILINE)[1]
        kind = kind if kind in QUESTION_KINDS else "single_hop"
        hops = [item for item, _, _ in plan(firm, kind)]
        firms = " and ".join([firm, FIRMS[(FIRMS.index(firm) + 1) % len(FIRMS)]][: 1 + kind.startswith("parallel")])
        return {"question": f"What is there to know about the house of {firms}?", "kind": kind,
                "answer": hops[-1]["answer"], "sub_questions": hops}  # fmt: skip
    return {"documents": documents, "integration": merged, "scaling": scaled, "calls": gold}[stage](
        firm, plan(firm, kind_in(said))
    )


def documents(firm, steps):
    return {"documents": [
        doc(f"{firm.lower()}_{n}_{tool}", schema(PARAMETERS[tool]), [n]) for n, (_, tool, _) in enumerate(steps)
    ]}  # fmt: skip


def tools_of(firm, steps):
    """The documents after integration."""
    tools = list(dict.fromkeys(tool for _, tool, _ in steps))
    if len(tools) == len(steps):
        return documents(firm, steps)["documents"]
    served = {tool: [n for n, step in enumerate(steps) if step[1] == tool] for tool in tools}
    return [
        doc(f"{firm.lower()}_{tool}" if serves[1:] else f"{firm.lower()}_{serves[0]}_{tool}",
            schema(PARAMETERS[tool]), serves)
        for tool, serves in served.items()
    ]  # fmt: skip


def merged(firm, steps):
    return {"merged": [item for item in tools_of(firm, steps) if item["serves"][1:]]}


def scaled(firm, steps):
    limit = {"limit": {"type": "integer", "description": "How many remarks.", "default": 10}}
    extra = [doc(f"{firm.lower()}_{tool}", schema(["firm"]), []) for tool in ("shares", "staff")]
    for item in extra:
        item["parameters"]["properties"] |= limit
    changes = [{"name": item["name"], "properties": limit} for item in tools_of(firm, steps)]
    return {"changes": changes, "distractors": extra}


def gold(firm, steps):
    names = {n: item["name"] for item in tools_of(firm, steps) for n in item["serves"]}
    return {"calls": [{"solves": n, "name": names[n], "arguments": step[2]} for n, step in enumerate(steps)]}


def author(*spoiled, every=lambda asked: None):
    """A script. `spoiled`: (stage, firm or "", times, spoil): the first replies to a prompt are spoiled."""

    def script(asked) -> Step:
        if (step := every(asked)) is not None:
            return step
        reply = good(asked)
        stage, firm = asked_about(asked)
        for where, whose, times, spoil in spoiled:
            if where == stage and whose in ("", firm) and asked.turn < times:
                reply = spoil(reply)
        return text(reply if isinstance(reply, str) else json.dumps(reply))

    return script


def requests(kind, *firms):
    return [EnvironmentRequest(index, kind, topic=f"the house of {firm}") for index, firm in enumerate(firms)]


def build(script, wanted, folder, sandbox, **options):
    """(results, report, server) of one build."""
    with ChatServer(script) as server:
        results = asyncio.run(build_at(server.url, wanted, folder, sandbox, **options))
    return results, ModelReport.from_directory(folder), server


async def build_at(url, wanted, folder, sandbox, spy=None, on_done=None, **options):
    args = {"max_retry_wait": "0.01", "timeout": "5"}
    at_once = options.get("concurrency", 8)
    model = openai.load("author", ModelOptions(args=args, base_url=url, concurrency=at_once, environ={}))
    model.fingerprint = {"name": "author"}  # the port is another one each time
    generator = ModelGenerator(spy(model) if spy else model, sandbox, **{**LIGHT, **options})
    try:
        return await generator.build(wanted, BuildDirectory(folder), on_done)
    finally:
        await model.aclose()
