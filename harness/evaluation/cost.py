"""What a run would take, before anything is sent: requests, tokens and, where the price is known, dollars.

The estimate is of a player who makes one call a turn and needs each of the sub-answers once. It is an order of
magnitude: tokens are a quarter of the characters, and no one knows how long a model will think.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.data import jsonio
from harness.evaluation.plan import Plan
from harness.models import is_free, public_name
from harness.runs.prices import Price
from harness.types import Model, Reasoning, Sample, Usage

CHARACTERS_A_TOKEN = 4
CALL_TOKENS = 40
OUTPUT_TOKENS = 60
"""What one call and one tool output add to the conversation, in tokens: typical of the bundled tasks."""
REASONING_TOKENS = 1000
"""A turn's, by which reasoning is priced where no budget is set: a unit, not an estimate."""


@dataclass(frozen=True, slots=True)
class RunCost:
    """Requests and tokens of one run; `most_requests` is the bound that --max-turns sets."""

    episodes: int
    requests: int
    most_requests: int
    usage: Usage


def estimate_run(plan: Plan) -> RunCost:
    """What one model would take for the plan."""
    limits = {name: plan.turns.get(name, plan.limits.max_turns) for name in plan.samples}
    samples = [(limits[name], sample) for name, chosen in plan.samples.items() for sample in chosen]
    requests = tokens_in = tokens_out = 0
    for limit, sample in samples:
        turns = min(limit, _hops(sample) + 1)
        requests += turns
        tokens_in += turns * _prompt_tokens(sample) + (CALL_TOKENS + OUTPUT_TOKENS) * turns * (turns - 1) // 2
        tokens_out += turns * CALL_TOKENS
    return RunCost(
        episodes=plan.episodes,
        requests=requests * plan.epochs,
        most_requests=plan.epochs * sum(limit for limit, _ in samples),
        usage=Usage(input_tokens=tokens_in * plan.epochs, output_tokens=tokens_out * plan.epochs),
    )


def _hops(sample: Sample) -> int:
    return sum(len(answers) for answers in sample.gold.sub_answers.values()) or len(sample.gold.calls or ())


def _prompt_tokens(sample: Sample) -> int:
    tools = [[tool.name, tool.description, tool.parameters] for tool in sample.tools]
    characters = sum(len(message.content) for message in sample.messages) + len(jsonio.canonical_json(tools))
    return characters // CHARACTERS_A_TOKEN


def _reasoning(found: RunCost, mode: Reasoning, price: Price | None) -> list[str]:
    """What reasoning would add to a run in this mode: how much a model thinks is not known, but what it costs is."""
    if mode.mode != "on":
        return []
    tokens = mode.budget or REASONING_TOKENS
    usage = Usage(output_tokens=tokens * found.requests)
    cost = f", ${price.cost_of(usage):.2f}" if price else ""
    how = "at most, by the budget of" if mode.budget else "for every"
    return [f"  and reasoning, {how} {tokens:,} tokens a turn: {usage.output_tokens:,} tokens out{cost}"]


def _total(found: RunCost, runs: Sequence[tuple[Model, Sequence[Reasoning]]], prices: Mapping[str, Price]) -> list[str]:
    """All runs together, where there are several."""
    played = [(prices.get(model.name), mode) for model, modes in runs for mode in modes]
    if len(played) < 2:
        return []
    count, usage = len(played), found.usage
    priced = [price for price, _ in played if price]
    cost = f", ${sum(price.cost_of(usage) for price in priced):.2f}" if priced else ""
    lines = [
        f"In all, {count} runs: {count * found.episodes} episodes; about {count * found.requests} requests, "
        f"{count * usage.input_tokens:,} tokens in, {count * usage.output_tokens:,} out{cost}"
    ]
    thinking = [(price, mode.budget or REASONING_TOKENS) for price, mode in played if mode.mode == "on"]
    if thinking:
        out = [(price, Usage(output_tokens=tokens * found.requests)) for price, tokens in thinking]
        dollars = sum(price.cost_of(tokens) for price, tokens in out if price)
        cost = f", ${dollars:.2f}" if any(price for price, _ in out) else ""
        lines.append(f"  and reasoning, as above: {sum(tokens.output_tokens for _, tokens in out):,} tokens out{cost}")
    return lines


def format_estimates(plan: Plan, runs: Sequence[tuple[Model, Sequence[Reasoning]]], prices: Mapping[str, Price]) -> str:
    """The estimate as text, a line a run: models, each with its reasoning modes."""
    found = estimate_run(plan)
    lines = []
    for model, modes in runs:
        price = prices.get(model.name)
        cost = f", ${price.cost_of(found.usage):.2f}" if price else ""
        for mode in modes:
            lines.append(
                f"{model.name}{'' if mode.label == 'default' else f' ({mode.label})'}: {found.episodes} episodes of "
                f"{', '.join(plan.samples)}; about {found.requests} requests (at most {found.most_requests}), "
                f"{found.usage.input_tokens:,} tokens in, {found.usage.output_tokens:,} out{cost}"
            )
            lines += _reasoning(found, mode, price)
    lines += _total(found, runs, prices)
    unpriced = [public_name(model.name) for model, _ in runs if model.name not in prices and not is_free(model.name)]
    lines.append(
        "An estimate for one call a turn and each sub-answer once, without reasoning; nothing was sent"
        + (f", and no price is known for {', '.join(unpriced)} (--prices)." if unpriced else ".")
    )
    if any(task.scripted_user is not None for task in plan.tasks):
        lines.append("What a simulated user takes is not in it.")
    return "\n".join(lines)
