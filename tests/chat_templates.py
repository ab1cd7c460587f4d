"""The chat templates of TRL's wheel, as the harness renders them, and what is done for each."""

from __future__ import annotations

from pathlib import Path

import trl
from transformers.utils.chat_template_utils import _compile_jinja_template

from harness import formats
from harness.models.local.prompting import Prompter
from harness.types import JSONObject

PATHS = {path.stem: path for path in sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))}
UNKNOWN = "unknown"
"""The template takes tools in a format that is not among ours: refused, and played by --model-arg format=react."""
TREATED = {
    "cohere": "react", "cohere2": "react", "deepseek_r1_distill": "react", "deepseekv3": "react",
    "diffusion_gemma": UNKNOWN, "gemma": "react, system_in_user", "gemma3": "react", "gemma4": UNKNOWN,
    "gemma4_v2": UNKNOWN, "gemma4_v3": UNKNOWN, "gemma4_v4": UNKNOWN, "gemma4_v5": UNKNOWN, "glm4moe": UNKNOWN,
    "gptoss": UNKNOWN, "idefics3": "react, text_parts", "lfm2": UNKNOWN, "lfm2_2_5": UNKNOWN, "lfm2_2_5_v2": UNKNOWN,
    "lfm2_2_5_vl": UNKNOWN, "lfm2_v2": UNKNOWN, "llama3": "react", "llama3_1": "llama3, text_beside_calls",
    "llama3_2": "llama3, text_beside_calls", "llava_next": "react, text_parts", "muse_glimmer": UNKNOWN,
    "nemotron_3_5_lightning": UNKNOWN, "nemotron_3_nano": UNKNOWN, "nemotron_3_super": UNKNOWN,
    "nemotron_3_ultra": UNKNOWN, "phi3": "react", "phi3_5": "react", "qwen2_5": "hermes", "qwen2_5_vl": "react",
    "qwen3": "hermes", "qwen3_5_nothink": UNKNOWN, "qwen3_5_think": UNKNOWN, "qwen3_6": UNKNOWN, "qwen3_8": UNKNOWN,
    "qwen3_instruct_2507": "hermes", "qwen3_vl": "hermes", "smolvlm": "react, text_parts",
}  # fmt: skip
"""By the name of the template: the format of its calls, and what mends it. A `_training` variant is treated alike."""


def make_prompter(name: str, format: str | None = None) -> Prompter:
    """A template of TRL's, not yet proven; with the format that it shows, or the one that is named."""
    return prompter_of(PATHS[name].read_text(encoding="utf-8"), format, f"hf/{name}")


def prompter_of(template: str, format: str | None = None, name: str = "hf/x") -> Prompter:
    compiled = _compile_jinja_template(template)

    def render(messages: list[JSONObject], tools: list[JSONObject] | None, options: JSONObject) -> str:
        rendered: str = compiled.render(
            messages=messages, tools=tools, add_generation_prompt=True, bos_token="<s>", eos_token="</s>", **options
        )
        return rendered

    return Prompter(name, template, render, formats.choose_format(template, format))
