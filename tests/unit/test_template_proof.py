"""What becomes of every chat template of TRL's wheel when it is loaded, and of templates that lose something."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import call
from chat_templates import PATHS, TREATED, UNKNOWN, make_prompter, prompter_of

from harness.errors import UsageError
from harness.formats import FORMATS
from harness.models.local.folder import ModelFolder
from harness.models.local.prompting import Prompter, merge_system
from harness.models.local.proof import find_losses, mend_template
from harness.models.local.tokenizer import ModelTokenizer
from harness.types import Message, Tool

CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
CALL = "{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}"
FULL = CHATML.replace(
    "{{ m.content }}",
    f"{{{{ m.content }}}}{{% for c in m.tool_calls or [] %}}<tool_call>{CALL}</tool_call>{{% endfor %}}",
)
TOOL = Tool("find", "Finds.", {"type": "object", "properties": {}})


def treatment(prompter: Prompter) -> str:
    mended = mend_template(prompter)
    return ", ".join([mended.format.name, *mended.mends])


@pytest.mark.parametrize("name", PATHS)
def test_every_template_of_trl_is_played_mended_or_refused(name: str) -> None:
    expected = TREATED[name.removesuffix("_training")]
    if expected == UNKNOWN:
        with pytest.raises(UsageError, match="takes tools in a format that is unknown here: name one of"):
            make_prompter(name)
    else:
        assert treatment(make_prompter(name)) == expected


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["gemma", "gptoss", "lfm2", "llama3_1", "phi3", "qwen3", "smolvlm"])
def test_in_every_format_a_template_shows_all_of_a_conversation(name: str, format: str) -> None:
    assert find_losses(mend_template(make_prompter(name, format))) == []


@pytest.mark.parametrize("name", [name for name in PATHS if TREATED[name.removesuffix("_training")] == UNKNOWN])
def test_what_is_refused_is_played_as_text(name: str) -> None:
    assert treatment(make_prompter(name, "react")) == "react"


@pytest.mark.parametrize(
    ("template", "format", "expected"),
    [
        ("{{ tools }}" + FULL, None, "hermes"),
        ("{{ tools | map(attribute='function.name') | join }}" + FULL, "hermes", "hermes, protocol"),
        ("{{ tools }}" + CHATML, "hermes", "hermes, calls_as_text"),
        ("{{ tools }}" + FULL.replace("{% for m in messages %}", "{% for m in messages if m.role != 'tool' %}"), None,
         "hermes, protocol"),
        ("{{ tools }}" + FULL.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}"), None,
         "hermes, system_in_user"),
        (CHATML.replace("{{ m.content }}", "{{ m.content }}{{ m.content }}").replace("{% for", "{# tools #}{% for", 1),
         "react", ""),
        ("{{ messages[-1].content }}", None, ""),
    ],
)  # fmt: skip
def test_a_template_that_loses_something_is_mended_by_the_least(
    template: str, format: str | None, expected: str
) -> None:
    made = prompter_of(template, format)
    if expected:
        assert treatment(made) == expected
    else:
        with pytest.raises(UsageError, match=r"does not show the model the system message, .* chat_template=FILE"):
            mend_template(made)


def test_the_refusal_says_what_is_lost_and_what_to_do() -> None:
    with pytest.raises(UsageError) as caught:
        mend_template(prompter_of(CHATML.replace("{{ m.content }}", "{{ m.content[:7] if m.content is string }}")))
    assert str(caught.value) == (
        "hf/x: its chat template does not show the model the system message, the tools' names, the tools' "
        "descriptions, the tools' parameters, the names of calls, the arguments of calls, what tools gave, the text "
        "beside a call, the model's answers, the user's second turn, what a second tool gave: give another with "
        "--model-arg chat_template=FILE, or another format of calls with --model-arg format=NAME."
    )


def test_the_system_message_becomes_the_users() -> None:
    said = [Message("system", "A"), Message("user", "B"), Message("assistant", "C"), Message("user", "D")]
    assert [(m.role, m.content) for m in merge_system([*said, Message("system", "E")])] == [
        ("user", "A\n\nB"),
        ("assistant", "C"),
        ("user", "D\n\nE"),
    ]


def test_text_beside_a_call_reaches_llama() -> None:
    made = mend_template(make_prompter("llama3_1"))
    said = Message("assistant", "I look.", None, (call("find", {"town": "Brill"}),))
    text = made.write([Message("user", "?"), said, Message("tool", "5", tool_call_id="call_0")], [TOOL], {}).text
    assert 'I look.\n{"name": "find", "parameters": {"town": "Brill"}}<|eot_id|>' in text
    alone = Message("assistant", "", None, said.tool_calls)
    assert "<|python_tag|>" not in made.write([Message("user", "?"), alone], [TOOL], {}).text
    plain = made.write([Message("user", "?"), alone], [TOOL], {}).text
    assert plain == make_prompter("llama3_1").write([Message("user", "?"), alone], [TOOL], {}).text


def test_trls_training_variants_lose_what_their_templates_lose(tmp_path: Path) -> None:
    for name in PATHS:
        if name.endswith("_training"):
            original = name.removesuffix("_training")
            pair = [find_losses(make_prompter(one, TREATED[original].split(",")[0].replace(UNKNOWN, "react")))
                    for one in (name, original)]  # fmt: skip
            assert pair[0] == pair[1], name


@pytest.mark.parametrize(("name", "mended"), [("qwen3", None), ("gemma", ["system_in_user"])])
def test_only_a_mend_changes_the_fingerprint(tmp_path: Path, name: str, mended: list[str] | None) -> None:
    made = mend_template(make_prompter(name))
    opened = ModelTokenizer(ModelFolder("hf/x", tmp_path, {}), None, made, made.format, ())
    assert set(opened.identity()) == {"sha256", "template", "format", *(["mended"] if mended else [])}
    assert opened.identity().get("mended") == mended
