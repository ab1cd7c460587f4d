"""Plays recorded turns through a real inspect_ai: python inspect_replay.py RECORDING OUT [ARGUMENTS], in an export.

inspect_ai's own scripted model says what the recording (lines as in samples.jsonl) says for each sample. OUT gets what
inspect_ai made of it, as JSON. ARGUMENTS are those of inspect_ai's eval(), as JSON.
"""

import json
import sys
from pathlib import Path

from inspect_ai import eval
from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage, get_model
from inspect_ai.tool import ToolCall

recording, out, arguments = Path(sys.argv[1]), Path(sys.argv[2]), json.loads((sys.argv[3:] or ["{}"])[0])
turns, offered = {}, {}
for line in recording.read_text().splitlines():
    record = json.loads(line)
    said = [message for message in record["messages"] if message["role"] == "assistant"]
    turns[record["messages"][0]["content"]] = said


def spoken(message):
    """A recorded message as inspect_ai's providers give it."""
    calls = []
    for call in message.get("tool_calls", ()):
        name, error = call["function"]["name"], call.get("parse_error")
        calls.append(ToolCall(call["id"], name, {} if error else json.loads(call["function"]["arguments"]), error))
    return ChatMessageAssistant(content=message["content"], tool_calls=calls or None)


def speak(input, tools, tool_choice, config):
    question = input[0].text
    offered[question] = [tool.model_dump(exclude_none=True) for tool in tools]
    message = turns[question][sum(message.role == "assistant" for message in input)]
    if message.get("raises"):
        raise RuntimeError(message["raises"])
    choice = ChatCompletionChoice(message=spoken(message), stop_reason=message.get("stop_reason", "stop"))
    return ModelOutput(model="scripted", choices=[choice], usage=ModelUsage(input_tokens=5, output_tokens=3))


model = get_model("mockllm/model", custom_outputs=speak)
[log] = eval("task.py", model=model, log_dir=str(out.parent / "logs"), display="none", **arguments)
found = {
    "status": log.status,
    "metrics": {
        score.name: {**{name: metric.value for name, metric in score.metrics.items()}, "n": score.scored_samples}
        for score in (log.results.scores if log.results else [])
    },
    "samples": {
        f"{sample.id}/{sample.epoch}": {
            "scores": {name: score.value for name, score in (sample.scores or {}).items()},
            "messages": [[message.role, message.text] for message in sample.messages],
            "episode": sample.store.get("harness_episode"),
            "error": sample.error.message if sample.error else None,
        }
        for sample in log.samples or []
    },
    "offered": list(offered.values()),
}
out.write_text(json.dumps(found))
