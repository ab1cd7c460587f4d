"""hf/FILE.gguf: weights, tokenizer and template in one file are played, saved as a folder, or refused."""

from __future__ import annotations

import pytest
import torch
from builders import sample
from fakes import gguf_file, tiny_model

from harness.errors import UsageError
from harness.models import ModelOptions, load_model
from harness.models.local.folder import check_folder, folder_digest
from harness.models.local.hf import load_weights
from harness.models.local.tokenizer import open_tokenizer
from harness.types import ModelRequest, Reply, Sampling
from trainer.precision import save_model
from trainer.sft.network import CHAT_TEMPLATE

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return gguf_file.write(tmp_path_factory.mktemp("gguf") / "tiny.gguf", CHATML)


def said(name, one, **args):
    model = load_model(name, ModelOptions(args=args))
    request = ModelRequest(one.messages, one.tools, Sampling(0.0, 12), one)
    (reply,) = model.batch([request])
    assert isinstance(reply, Reply)
    return model, reply.message.raw


def test_a_file_is_played_and_saved_as_a_folder_that_says_the_same(file, tmp_path):
    model, text = said(f"hf/{file}", sample())
    assert text
    assert model.fingerprint["format"] == "react"
    assert model.fingerprint["sha256"] == folder_digest(file)
    local = open_tokenizer(check_folder("tiny", file, {}), {})
    assert local.folder.context == 2048
    network = load_weights(local, "float32", "cpu")
    save_model(network, tmp_path / "model", "float32", local.save_tokenizer)
    assert said(f"hf/{tmp_path / 'model'}", sample())[1] == text
    again = load_weights(open_tokenizer(check_folder("t", tmp_path / "model", {}), {}), "float32", "cpu")
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_template_and_a_format_given_once_are_kept_with_what_is_saved(file, tmp_path):
    (tmp_path / "t.jinja").write_text(CHAT_TEMPLATE)
    for args, name in (({"chat_template": str(tmp_path / "t.jinja")}, "hermes"), ({"format": "llama3"}, "llama3")):
        local = open_tokenizer(check_folder("tiny", file, args), args)
        folder = tmp_path / name
        local.save_tokenizer(folder)
        opened = open_tokenizer(check_folder("t", file, {}).__class__("t", folder, local.folder.config), {})
        assert opened.format.name == local.format.name == name
        assert opened.prompter.template == local.prompter.template
        assert opened.encode(tiny_model.CALL + "<|im_end|>") == local.encode(tiny_model.CALL + "<|im_end|>")


def test_what_is_no_model_is_one_sentence(file, tmp_path):
    (tmp_path / "torn.gguf").write_bytes(file.read_bytes()[:500])
    without = gguf_file.write(tmp_path / "without.gguf", None)
    for path, says in ((tmp_path / "torn.gguf", "cannot be read as GGUF"), (without, "has no chat template")):
        with pytest.raises(UsageError, match=says) as caught:
            load_model(f"hf/{path}", ModelOptions())
        assert "\n" not in str(caught.value)
