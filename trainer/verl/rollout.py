"""Prompts with tools of their own in verl 0.9, whose agent loops know one set of tools for all rows.

Two of verl's own seams: a data set class (data.custom_cls) that gives the prefix's messages, calls included, and leaves
out prompts that are too long with their tools; an agent loop (agent_loop_config_path) that renders the row's tools. The
turn itself is verl's single turn. Both read what `harness export verl` put into extra_info.
"""

from __future__ import annotations

import json
from typing import Any

from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.utils.tokenizer import normalize_token_ids


class PrefixDataset(RLHFDataset):  # type: ignore[misc]
    """verl's data set with the messages and tools of each row's extra_info."""

    def _build_messages(self, example: dict[str, Any], key: str) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = json.loads(example["extra_info"]["messages"])
        return messages

    def maybe_filter_out_long_prompts(self, dataframe: Any = None) -> Any:
        """The rows of at most data.max_prompt_length tokens, where data.filter_overlong_prompts says so."""
        if not self.filter_overlong_prompts:
            return dataframe
        return dataframe.filter(
            lambda row: self.prompt_tokens(row) <= self.max_prompt_length,
            num_proc=self.num_workers,
            desc=f"Filtering prompts longer than {self.max_prompt_length} tokens",
        )

    def prompt_tokens(self, row: dict[str, Any]) -> int:
        """How long a row's prompt is, tools included."""
        tokens = self.tokenizer.apply_chat_template(
            self._build_messages(row, self.prompt_key),
            tools=json.loads(row["extra_info"]["tools"]),
            add_generation_prompt=True,
            **self.apply_chat_template_kwargs,
        )
        return len(normalize_token_ids(tokens))


class PrefixTurn(SingleTurnAgentLoop):  # type: ignore[misc]
    """verl's single turn, its prompt rendered with the row's tools. verl makes one object a turn."""

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **row: Any) -> Any:
        self.row_tools = json.loads(row["extra_info"]["tools"])
        return await super().run(sampling_params, priority=priority, **row)

    async def ct_build_initial_tokens(self, messages: list[dict[str, Any]], **more: Any) -> list[int]:
        tokens: list[int] = await super().ct_build_initial_tokens(messages, **{**more, "tools": self.row_tools})
        return tokens
