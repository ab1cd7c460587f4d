"""How runs were played, as a part of the overview: settings, versions, tokens and cost, from manifest and summary.

What is the same in all runs is folded away. A manifest may come from anywhere: its values are told as they are,
shortened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.runs.directory import RUN_SCHEMA
from results.report.data import ReportedRun
from results.report.overview import table
from results.report.svg import element

LONGEST = 300
NONE = "-"
SPENT = ("played", "run", "episodes", "cost")
"""What is told of every run, also where it is the same in all; and tokens."""


def build_settings(runs: Sequence[ReportedRun]) -> str:
    """A column a run of what differs, and what is the same in all."""
    told = [dict(_facts(run)) for run in runs]
    rows = {
        name: [facts.get(name, NONE) for facts in told] for name in dict.fromkeys(n for facts in told for n in facts)
    }
    own = {
        name: cells for name, cells in rows.items() if len(set(cells)) > 1 or name in SPENT or name.startswith("tokens")
    }
    same = [[name, cells[0]] for name, cells in rows.items() if name not in own]
    heads = ["", *(run.label for run in runs)]
    shown = table(heads, [[name, *cells] for name, cells in own.items()], class_="settings")
    title = "Settings and versions" if len(runs) == 1 else "The same in all runs"
    folded = element("summary", title) + table(["", ""], same, class_="settings")
    return shown + (element("details", folded) if same else "")


def _facts(run: ReportedRun) -> Iterator[tuple[str, str]]:
    """Names and values, in the order in which they are shown."""
    manifest, summary, identity = run.manifest, run.summary, run.manifest["identity"]
    yield "played", str(manifest.get("created", ""))[:19].replace("T", " ")
    yield "run", str(run.path)
    yield "episodes", f"{len(run.results):,}"
    cost = summary.get("cost")
    yield "cost", NONE if cost is None else f"${cost:,.4f}"
    for name, count in summary["usage"].items():
        if count:
            kind, tokens, _ = name.partition("_tokens")
            yield f"tokens, {kind}" if tokens else kind, f"{count:,}"
    yield from _flat(
        "", {name: identity[name] for name in ("model", "model_fingerprint", "reasoning") if name in identity}
    )
    yield from _flat("", {name: identity[name] for name in ("epochs", "seed", "verifier") if name in identity})
    yield "format", str(RUN_SCHEMA)
    for name in ("sampling", "limits"):
        yield from _flat(name, identity.get(name, {}))
    for name in ("model", "price", "user", "sources", "sandbox", "versions"):
        yield from _flat(name, manifest.get(name, {}))


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """The leaves of an object, by the words that lead to them."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{prefix} {name}".strip().replace("_", " "), inner)
    elif value is not None:
        said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield prefix, said if len(said) <= LONGEST else said[: LONGEST - 1] + "…"
