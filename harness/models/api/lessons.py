"""What was learnt of an endpoint that changes what its model sees or may say, and which episodes came before.

Until a run's first reply requests go one by one, so what is learnt then holds for all of its episodes. What is learnt
later may not: episodes that were answered under another rule are counted for each mode of reasoning, so that the
manifest and the table can say so. A context is one rule whenever it is learnt: a reply has what its prompt leaves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from harness.models.api.token_limits import FIELDS as TOKEN_FIELDS
from harness.types import JSONObject, ModelRequest, Reasoning

CONTEXT = "context"
TOKENS = "max_tokens"
ALWAYS_SENT = frozenset({TOKENS, "temperature", "seed"})
"""What every request had that was sent before anything was learnt of it."""

Episode = tuple[str, str, int]


class Lessons:
    """Fields that are sent otherwise than they were asked for: with another value, or (None) not at all."""

    def __init__(self, watched: Iterable[str]) -> None:
        self.values: dict[str, Any] = {}
        self._watched = {**dict.fromkeys(TOKEN_FIELDS, TOKENS), **{name: name for name in watched}}
        self._answered: dict[tuple[str, str], dict[Episode, Any]] = defaultdict(dict)
        self._earlier: dict[str, tuple[int, Mapping[str, int]]] = {}

    def answered(self, body: JSONObject, request: ModelRequest) -> None:
        """Notes what an accepted request held, and whose it was."""
        episode = (request.task, request.sample.id, request.epoch)
        fields = {self._watched[name]: body[name] for name in self._watched.keys() & body.keys()}
        for said in body.get("messages", ()):
            if isinstance(said, dict):
                fields |= {path: True for name in said if (path := f"messages.{name}") in self._watched}
        for name, value in fields.items():
            before = self._answered[name, request.reasoning.label]
            before[episode] = max(before.get(episode, 0), value) if name == TOKENS else before.get(episode, value)

    def recall(self, learnt: Iterable[Mapping[str, Any]], reasoning: Reasoning, episodes: int) -> None:
        """Takes up what an earlier part of a run has learnt, and how many episodes it answered."""
        known = list(learnt)
        self._earlier[reasoning.label] = episodes, {item["field"]: item["episodes_before"] for item in known}
        for item in known:
            self.values.setdefault(item["field"], item["value"])

    def to_json(self, reasoning: Reasoning) -> list[JSONObject]:
        """What was learnt, for the manifest of a run in this mode."""
        return [
            {"field": name, "value": value, "episodes_before": self._before(name, value, reasoning.label)}
            for name, value in self.values.items()
        ]

    def _before(self, name: str, value: Any, label: str) -> int:
        """Episodes that were answered under another rule than the one that holds now."""
        if name == CONTEXT:
            return 0
        sent = self._answered.get((name, label), {}).values()
        episodes, known = self._earlier.get(label, (0, {}))
        earlier = known.get(name, episodes if name in ALWAYS_SENT else 0)
        return earlier + sum(bool(one > value if name == TOKENS else one != value) for one in sent)
