"""`harness doctor`: what is missing is named with an extra that there is."""

import argparse
import tomllib
from pathlib import Path

from harness.commands import doctor

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_a_missing_package_is_named_with_its_extra(monkeypatch, capsys):
    extras = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    monkeypatch.setattr(doctor, "_sandbox", lambda: True)
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert doctor.run(argparse.Namespace()) == 0
    said = capsys.readouterr().out
    for package, (extra, purpose) in doctor.EXTRAS.items():
        assert any(package in need for need in extras[extra])
        assert f"-    {purpose}: pip install '.[{extra}]'" in said
