"""A stand-in for `vllm.entrypoints.openai.api_server`: the same flags and routes, replies from a file.

`install` puts it into a folder as a package named vllm. The folder of the model holds fake.json:

    replies   what the network "writes", one text a turn
    after     seconds before the server listens (default 0)
    dies      a line to print before ending with status 3 (default: it does not)
    ids       whether token ids are returned when asked for (default true)
    context   max_model_len (default 4096)

Its parsers behave as vLLM's do where it matters: a malformed call is left in the content. Every request body is
appended to requests.jsonl in the folder of the model.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)


def install(folder: Path) -> Path:
    """A folder for PYTHONPATH in which this file is vLLM's API server."""
    package = folder / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    for parent in (package, package.parent, package.parent.parent):
        (parent / "__init__.py").write_text("")
    shutil.copy(__file__, package / "api_server.py")
    return folder


def parsed(text: str) -> dict[str, Any]:
    """The message that a server makes of a text."""
    calls = []
    for index, body in enumerate(CALL.findall(text)):
        try:
            call = json.loads(body)
        except ValueError:
            return {"role": "assistant", "content": text, "tool_calls": []}
        function = {"name": call["name"], "arguments": json.dumps(call["arguments"])}
        calls.append({"id": f"chatcmpl-tool-{index}", "type": "function", "function": function})
    return {"role": "assistant", "content": CALL.sub("", text).strip() or None, "tool_calls": calls}


class Server:
    """The routes of one model."""

    def __init__(self, folder: Path) -> None:
        import jinja2
        from tokenizers import Tokenizer  # transformers would take seconds to import

        self.folder = folder
        self.settings = json.loads((folder / "fake.json").read_text())
        self.context = self.settings.get("context", 4096)
        self.words = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.template = jinja2.Template((folder / "chat_template.jinja").read_text())

    async def complete(self, request: Any) -> Any:
        from aiohttp import web

        body = await request.json()
        with (self.folder / "requests.jsonl").open("a") as file:
            file.write(json.dumps(body) + "\n")
        for message in body["messages"]:
            for call in message.get("tool_calls") or []:
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        options = body.get("chat_template_kwargs") or {}
        prompt = self.template.render(
            messages=body["messages"], tools=body.get("tools"), add_generation_prompt=True, **options
        )
        prompt_ids = self.words.encode(prompt).ids
        if len(prompt_ids) + (body.get("max_tokens") or 1) > self.context:
            return web.json_response({"error": {"message": "This model's maximum context length is ..."}}, status=400)
        turn = sum(message["role"] == "assistant" for message in body["messages"])
        text = self.settings["replies"][turn]
        ids = [*self.words.encode(text).ids, self.words.token_to_id("<|im_end|>")]
        choice = {"index": 0, "message": parsed(text), "finish_reason": "stop"}
        usage = {"prompt_tokens": len(prompt_ids), "completion_tokens": len(ids)}
        payload: dict[str, Any] = {"choices": [choice], "usage": usage}
        if body.get("return_token_ids") and self.settings.get("ids", True):
            choice["token_ids"], payload["prompt_token_ids"] = ids, prompt_ids
        return web.json_response(payload)

    async def models(self, request: Any) -> Any:
        from aiohttp import web

        return web.json_response({"data": [{"id": "model", "max_model_len": self.context}]})

    async def detokenize(self, request: Any) -> Any:
        from aiohttp import web

        body = await request.json()
        return web.json_response({"prompt": self.words.decode(body["tokens"], skip_special_tokens=False)})

    async def health(self, request: Any) -> Any:
        from aiohttp import web

        return web.Response()


def main() -> None:
    from aiohttp import web

    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    args, _ = parser.parse_known_args()
    settings = json.loads((args.model / "fake.json").read_text())
    time.sleep(settings.get("after", 0))
    if "dies" in settings:
        print(settings["dies"])
        raise SystemExit(3)
    server, app = Server(args.model), web.Application()
    app.router.add_post("/v1/chat/completions", server.complete)
    app.router.add_get("/v1/models", server.models)
    app.router.add_post("/detokenize", server.detokenize)
    app.router.add_get("/health", server.health)
    web.run_app(app, host=args.host, port=args.port, print=None)


if __name__ == "__main__":
    main()
