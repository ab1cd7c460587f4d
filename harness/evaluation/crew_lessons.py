"""What a crew has learnt of one endpoint, and which episodes were answered otherwise than they would be now.

Each process learns by itself and tells what it knows with every episode; what one knows is told to the others with the
next. The books are kept here, because a process may be lost. An episode counts as answered under another rule where its
process did not know at its end what is known now, or says so itself. That may be more of them than one process alone
would play again, and never fewer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from harness.evaluation.crew_member import Played
from harness.models.api.lessons import ALWAYS_SENT
from harness.types import JSONObject, Model, Reasoning

Episode = tuple[str, str, int]
Known = tuple[frozenset[str], bool]
"""What the process knew when an episode ended, and whether the episode was all the same answered otherwise."""


class CrewLessons:
    """`model` is the command's own, which is asked nothing: its rules say what counts."""

    def __init__(self, model: Model) -> None:
        self.values: dict[str, Any] = {}
        self._model = model
        self._earlier: dict[str, tuple[set[Episode], Mapping[str, int]]] = {}
        self._groups: dict[str, dict[Known, set[Episode]]] = defaultdict(dict)
        self._place: dict[tuple[str, Episode], Known] = {}
        self._settled: Any = None

    def to_json(self) -> list[JSONObject]:
        """What the processes are told."""
        return [{"field": name, "value": value} for name, value in self.values.items()]

    def hear(self, episode: Episode, reasoning: Reasoning, played: Played) -> None:
        """Takes up what came back with an episode."""
        for item in played.learnt:
            self.values.setdefault(item["field"], item["value"])
        if played.accepted:
            known = frozenset(item["field"] for item in played.learnt), played.unlike
            self.forget(episode, reasoning)
            self._groups[reasoning.label].setdefault(known, set()).add(episode)
            self._place[reasoning.label, episode] = known

    def forget(self, episode: Episode, reasoning: Reasoning) -> None:
        known = self._place.pop((reasoning.label, episode), None)
        if known is not None:
            self._groups[reasoning.label][known].discard(episode)
        self._earlier.get(reasoning.label, (set(), {}))[0].discard(episode)

    def recall(self, learnt: Sequence[Mapping[str, Any]], reasoning: Reasoning, episodes: Collection[Episode]) -> None:
        """Takes up what an earlier part of the run had learnt."""
        self._groups.pop(reasoning.label, None)
        self._place = {place: known for place, known in self._place.items() if place[0] != reasoning.label}
        self._earlier[reasoning.label] = set(episodes), {item["field"]: item["episodes_before"] for item in learnt}
        for item in learnt:
            self.values.setdefault(item["field"], item["value"])
        self._model.recall(learnt, reasoning, episodes)
        self._settled = None

    def learnt(self, reasoning: Reasoning) -> list[JSONObject]:
        """As Model.learnt."""
        self._settle(reasoning)
        return self._model.learnt(reasoning)

    def unlike(self, reasoning: Reasoning) -> Collection[Episode]:
        """As Model.unlike."""
        self._settle(reasoning)
        return self._model.unlike(reasoning)

    def _settle(self, reasoning: Reasoning) -> None:
        """Tells the command's own model, as if all had been an earlier part of its run."""
        label = reasoning.label
        groups = self._groups[label]
        episodes, earlier = self._earlier.get(label, (set(), {}))
        counts = {
            name: min(len(episodes), earlier.get(name, len(episodes) if name in ALWAYS_SENT else 0))
            + self._count_without(name, groups)
            for name in self.values
        }
        if not self.values or (state := (label, len(episodes), counts)) == self._settled:
            return
        self._settled = state
        otherwise = [group for known, group in groups.items() if known[1] or self.values.keys() - known[0]]
        told = [{**item, "episodes_before": counts[item["field"]]} for item in self.to_json()]
        self._model.recall(told, reasoning, set(episodes).union(*otherwise))

    @staticmethod
    def _count_without(name: str, groups: Mapping[Known, set[Episode]]) -> int:
        return sum(len(group) for (fields, unlike), group in groups.items() if unlike or name not in fields)
