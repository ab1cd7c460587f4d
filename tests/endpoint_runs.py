"""One episode of towns against a scripted endpoint."""

from builders import record, write_records
from fakes.chat_server import ChatServer

from harness import evaluate, load_model


def play(tmp_path, script, *words, out="run", model="openai/m"):
    """An episode in this process: its record, the server, and what the run prints."""
    path = write_records(tmp_path / "towns.jsonl", [record()])
    args = {"max_retry_wait": "0.01", "max_retries": "1", "timeout": "5", **dict(word.split("=") for word in words)}
    with ChatServer(script) as server:
        loaded = load_model(model, base_url=server.url, **args)
        run = evaluate(loaded, str(path), tmp_path / out)
    [episode] = run.records
    return episode, server, str(run)
