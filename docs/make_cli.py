"""Writes docs/cli.md from the commands themselves; a test compares the two.

python docs/make_cli.py
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import ModuleType

from harness.registry import load_entry_points

PAGE = Path(__file__).parent / "cli.md"
HEAD = """# Command line

Written by `python docs/make_cli.py` from the commands themselves.

Exit status: 0 done, and no episode ended in an infrastructure error; 1 some did (the table is printed all the same), or
a check fell short; 2 bad input, said in one sentence; 130 interrupted, to be resumed.

Every command also takes `--read-limit NAME=N`, once or more: [how much is read](runs.md#runs-of-others) of a file.
"""


def section(name: str, module: ModuleType) -> str:
    """A command's heading, description and table of arguments."""
    parser = argparse.ArgumentParser(prog=f"harness {name}")
    module.configure(parser)
    return f"\n## harness {name}\n\n{(module.__doc__ or '').strip()}\n{table(parser)}"


def table(parser: argparse.ArgumentParser) -> str:
    """A table of arguments; where a command has several kinds, one for each, under its heading."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            kinds = action.choices.values()
            return "".join(f"\n### {kind.prog}\n\n{(kind.description or '').strip()}\n{table(kind)}" for kind in kinds)
    rows = [row(action) for action in parser._actions if action.dest != "help"]
    return "\n" + ("\n".join(["| argument | meaning |", "|---|---|", *rows]) if rows else "It has no options.") + "\n"


def row(action: argparse.Action) -> str:
    """One line of the table."""
    value = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else "")
    value = "" if action.nargs == 0 else f" {value}" + (" ..." if action.nargs in ("+", "*") else "")
    shown = (f"{action.option_strings[0]}{value}" if action.option_strings else value.strip()).replace("|", "\\|")
    return f"| `{shown}` | {action.help}{' (required)' if action.required and action.option_strings else ''} |"


def page() -> str:
    """The whole text of docs/cli.md."""
    commands = load_entry_points("harness.commands")
    return HEAD + "".join(section(name, commands[name]) for name in sorted(commands))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
