"""Calls in formats that are not read here: seen in a text, so that nobody takes them for words.

A server without a parser leaves a model's calls in the content, in whatever format the model has. Each pattern is a
mark with the name of a tool that there is; a mark that prose only mentions is none. The name of a format is that of
vLLM's parser for it.

Left out: reading them. What reads them is the server's parser, or `--model-arg format=NAME`, which tells the model
another format.
"""

from __future__ import annotations

import re
from collections.abc import Collection

UNKNOWN = ""
"""The format of a call that many models write, or that vLLM has no parser for."""

THOUGHTS = re.compile(r"<think>.*?(</think>|\Z)|\[THINK\].*?(\[/THINK\]|\Z)", re.DOTALL)
SPACES = re.compile(r"\s+")
BEGINS = r"(?:^[ \t]*(?:[-*] )?|[>\]`]\s*|`json\s*)"
"""Where JSON counts: at the beginning of a line, behind a tag or in a fence."""
LABELS = r"""(?:["'](?:id|type|index|call_id|tool_call_id)["']\s*:\s*["']?[^"',\n{}]*["']?\s*,\s*){0,3}"""
HOLDERS = "tool_calls?|function_calls?|functions?|calls?|tools?"
WRAPPED = rf"""(?:[\[\s]*\{{\s*{LABELS}["'](?:{HOLDERS})["']\s*:\s*){{0,3}}"""
NAMED = r"""["'](?:name|tool|tool_name|function|function_name|action|recipient_name)["']\s*:\s*["']@NAME["']\s*,\s*"""
GIVEN = r"""["'](?:arguments|parameters|args|kwargs|input|tool_input|action_input)["']\s*:"""

MARKS = (
    ("seed_oss", r"<seed:tool_call>\s*<function=@NAME>"),
    (UNKNOWN, r"<function=@NAME>\s*\{"),
    ("qwen3_coder", r"<function=@NAME>"),
    ("glm45", r"<tool_call>\s*@NAME\s*(?:<arg_key>|</tool_call>|\Z)"),
    ("deepseek_v3", r"<｜tool▁call▁begin｜>function<｜tool▁sep｜>@NAME"),
    ("deepseek_v31", r"<｜tool▁call▁begin｜>@NAME"),
    ("deepseek_v32", r"<｜DSML｜invoke name=[\"']@NAME"),
    ("kimi_k2", r"<\|tool_call_begin\|>\s*@NAME"),
    ("openai", r"\bto=@NAME.{0,60}?(?:<\|message\|>|\{)"),
    ("minimax_m2", r"<minimax:tool_call>\s*<invoke name=[\"']@NAME"),
    ("granite", rf"<\|tool_call\|>[\s\[]*\{{\s*{NAMED}"),
    ("jamba", rf"<tool_calls>[\s\[]*\{{\s*{NAMED}"),
    ("internlm", rf"<\|action_start\|>\s*<\|plugin\|>\s*\{{\s*{NAMED}"),
    ("functiongemma", r"\bcall:@NAME\{"),
    (UNKNOWN, r"<(?:\w+[:_])?(?:tool|function|invoke)\w*[^<>\n]{0,40}\bname=[\"']@NAME[\"']"),
    (UNKNOWN, r"<(?:tool|tool_name|tool_call|function|function_call|invoke|action)>\s*@NAME\s*(?:[<({\n]|\Z)"),
    (UNKNOWN, r"```tool_code\s[^`]*?\b@NAME\("),
    (UNKNOWN, r"\bdefault_api\.@NAME\("),
    (UNKNOWN, r"<\|python_tag\|>\s*@NAME\.call\("),
    (UNKNOWN, r"^>>>\s*@NAME\s*\n?\s*\{"),
    (UNKNOWN, rf"{BEGINS}{WRAPPED}[\[\s]*\{{\s*{LABELS}{NAMED}{GIVEN}"),
)


def find_foreign_call(text: str, tools: Collection[str]) -> str | None:
    """The format in which a text calls one of `tools`, by the name of vLLM's parser, or UNKNOWN; None: it does not."""
    if not any(name in text for name in tools):
        return None
    said = SPACES.sub(lambda found: "\n" if "\n" in found[0] else " ", THOUGHTS.sub("", text))
    names = rf"(?:functions\.)?(?:{'|'.join(re.escape(name) for name in sorted(tools, key=len, reverse=True))})(?!\w)"
    for name, mark in MARKS:
        if re.search(mark.replace("@NAME", names), said, re.MULTILINE | re.DOTALL):
            return name
    return None
