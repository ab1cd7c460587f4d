"""What was learnt of an endpoint that changes what its model sees or may say, and which episodes came before.

Until a run's first reply requests go one by one (of a slow model, for two seconds), so what is learnt then holds for
all of its episodes. What is learnt later may not: episodes that were answered under another rule are noted for each
mode of reasoning. They are played again, and until they are the manifest and the table say how many they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from harness.models.api.token_limits import FIELDS as TOKEN_FIELDS
from harness.types import JSONObject, ModelRequest, Reasoning

CONTEXT = "context"
TOKENS = "max_tokens"
ALWAYS_SENT = frozenset({TOKENS, "temperature", "seed"})
"""What every request had that was sent before anything was learnt of it."""

Episode = tuple[str, str, int]


class Lessons:
    """Fields that are sent otherwise than they were asked for: with another value, or (None) not at all.

    `alike` are those for which no episode is unlike another, as none is for a context: a reply has what its prompt
    leaves, whenever that is learnt.
    """

    def __init__(self, watched: Iterable[str], alike: Iterable[str] = ()) -> None:
        self.values: dict[str, Any] = {}
        self._alike = {CONTEXT, *alike}
        self._watched = {**dict.fromkeys(TOKEN_FIELDS, TOKENS), **{name: name for name in watched}}
        self._answered: dict[tuple[str, str], dict[Episode, Any]] = defaultdict(dict)
        self._earlier: dict[str, tuple[set[Episode], Mapping[str, int]]] = {}
        self.accepted = False
        """Whether the endpoint has taken anything yet."""

    def answered(self, body: JSONObject, request: ModelRequest) -> None:
        """Notes what an accepted request held, and whose it was."""
        self.accepted = True
        episode = (request.task, request.sample.id, request.epoch)
        fields = {self._watched[name]: body[name] for name in self._watched.keys() & body.keys()}
        for said in body.get("messages", ()):
            if isinstance(said, dict):
                fields |= {path: True for name in said if (path := f"messages.{name}") in self._watched}
        for name, value in fields.items():
            before = self._answered[name, request.reasoning.label]
            before[episode] = max(before.get(episode, 0), value) if name == TOKENS else before.get(episode, value)

    def forget(self, episode: Episode, reasoning: Reasoning) -> None:
        """Takes back what an episode was sent, because it is played again."""
        for (_, label), sent in self._answered.items():
            if label == reasoning.label:
                sent.pop(episode, None)
        self._earlier.get(reasoning.label, (set(), {}))[0].discard(episode)

    def recall(self, learnt: Iterable[Mapping[str, Any]], reasoning: Reasoning, episodes: Collection[Episode]) -> None:
        """Takes up what an earlier part of a run has learnt, and which episodes it answered."""
        known = list(learnt)
        for (_, label), sent in self._answered.items():
            if label == reasoning.label:
                sent.clear()  # of another run, or among `episodes`
        self._earlier[reasoning.label] = set(episodes), {item["field"]: item["episodes_before"] for item in known}
        self.accepted = self.accepted or bool(episodes)
        for item in known:
            self.values.setdefault(item["field"], item["value"])

    def to_json(self, reasoning: Reasoning) -> list[JSONObject]:
        """What was learnt, for the manifest of a run in this mode."""
        return [
            {"field": name, "value": value, "episodes_before": self._before(name, value, reasoning.label)}
            for name, value in self.values.items()
        ]

    def unlike(self, reasoning: Reasoning) -> set[Episode]:
        """The episodes that were answered under another rule than those that hold now."""
        found = set[Episode]()
        for name, value in self.values.items():
            found |= self._sent_otherwise(name, value, reasoning.label)
            if self._known_before(name, reasoning.label):  # which of them it was nobody knows any more
                found |= self._earlier[reasoning.label][0]
        return found

    def _before(self, name: str, value: Any, label: str) -> int:
        return self._known_before(name, label) + len(self._sent_otherwise(name, value, label))

    def _known_before(self, name: str, label: str) -> int:
        """How many episodes of an earlier part of the run were answered under another rule."""
        episodes, known = self._earlier.get(label, (set(), {}))
        if name in self._alike:
            return 0
        return min(len(episodes), known.get(name, len(episodes) if name in ALWAYS_SENT else 0))

    def _sent_otherwise(self, name: str, value: Any, label: str) -> set[Episode]:
        """The episodes of this part that were."""
        if name in self._alike:
            return set()
        sent = self._answered.get((name, label), {})
        return {episode for episode, one in sent.items() if (one > value if name == TOKENS else one != value)}
