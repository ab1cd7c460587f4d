"""The command line: `harness COMMAND ...`. Commands are modules found by entry points (group `harness.commands`).

A command module has HELP (one line), configure(parser) and run(args) -> exit status. Exit status: 0 done; 1 some
episodes failed for reasons of infrastructure, or a check fell short; 2 bad input, one sentence; 130 interrupted.
"""

from __future__ import annotations

import argparse
import difflib
import gc
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from types import ModuleType
from typing import Any, NoReturn

import harness
from harness.commands.options import add_read_limit_option, parse_pairs
from harness.console.text import printable
from harness.data.limits import reading_within
from harness.errors import HarnessError, NothingAccepted, UsageError
from harness.key_shapes import WHERE_KEYS_BELONG, hide_keys, is_key, mentions_key
from harness.registry import find_entry_points, load_entry_point, suggest_names

EPILOG = (
    """`harness COMMAND --help` explains a command. A first look: `harness eval --model 'policy/*' --tasks 'demo_*'`."""
)

UTF8 = "Set PYTHONUTF8=1, or LC_ALL=C.UTF-8."
OPTION = re.compile("--?[A-Za-z]")


HOLDS_KEYS = ("header", "base_url")
"""The options whose values may hold a key anywhere."""


RARELY = (50_000, 20, 20)
"""Of Python's collector: new objects before it looks at them, and such looks before it looks at older ones."""


class Parser(argparse.ArgumentParser):
    """argparse with one sentence for an error, not a usage page, which names an unknown option before anything else."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        words = list(sys.argv[1:] if args is None else args)
        self._refuse_unknown(words if self._subparsers is None else takewhile(OPTION.match, words))
        return super().parse_known_args(words, namespace)

    def _refuse_unknown(self, words: Iterable[str]) -> None:
        """What is missing or left over because of a mistyped option would be said of another one."""
        known = self._option_string_actions
        for word in takewhile(lambda word: word != "--", words):
            name = word.partition("=")[0]
            if OPTION.match(word) and " " not in word and not any(option.startswith(name) for option in known):
                near = difflib.get_close_matches(name, known, n=1)
                self.error(f"unrecognized arguments: {name}" + (f"; did you mean {near[0]}" if near else ""))

    def error(self, message: str) -> NoReturn:
        _complain(f"{self.prog}: {message}. See `{self.prog} --help`.")
        raise SystemExit(2)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status; errors for the person are printed as one sentence."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _print_anything()
    try:
        parser, command = _parser(arguments)
        args = parser.parse_args(arguments)
        _refuse_misplaced_keys(args)
        if command is None:
            return _top_help(parser)
        with reading_within(parse_pairs(args.read_limit, "--read-limit")), _rare_collection():
            return int(command.run(args))
    except HarnessError as error:
        _complain(f"harness {arguments[0]}: {error}")
        return 1 if isinstance(error, NothingAccepted) else 2
    except UnicodeEncodeError as error:
        if _is_utf8(sys.getfilesystemencoding()):
            raise
        name = error.object[error.start : error.end]
        _complain(f"harness {arguments[0]}: {name!a} cannot be part of a path in this locale. {UTF8}")
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        _complain(f"harness {arguments[0]}: {error.strerror or error}{where}.")
        return 2


def _complain(sentence: str) -> None:
    """Says to the person what is wrong, without a key that may be part of it."""
    print(printable(hide_keys(sentence)), file=sys.stderr)


def _refuse_misplaced_keys(args: argparse.Namespace) -> None:
    """What is given for a name or a path is printed and written; a key is not."""
    for name, value in vars(args).items():
        if not name.endswith(HOLDS_KEYS) and mentions_key(value):
            raise UsageError(f"{name} was given what looks like an API key, not repeated here: {WHERE_KEYS_BELONG}.")
        if name.endswith("header") and any(is_key(text.partition("=")[0]) for text in value or ()):
            raise UsageError("--header takes NAME=VALUE, and the name of one of those given looks like an API key.")


def _print_anything() -> None:
    """Where the terminal's encoding lacks a character (LC_ALL=C, PYTHONIOENCODING=ascii), an escape stands for it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not _is_utf8(stream.encoding):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _rare_collection() -> Iterator[None]:
    """A command's modules and samples stay as long as it runs: as Python sets its collector, that would go through them
    again and again, for a sixth of a short evaluation."""
    before = gc.get_threshold()
    gc.set_threshold(*RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("-", "") == "utf8"


def _top_help(parser: Parser) -> int:
    parser.print_help()
    return 2


def _parser(arguments: Sequence[str]) -> tuple[Parser, ModuleType | None]:
    """The parser, with only the command that is meant loaded; with all of them where help is wanted."""
    parser = Parser(prog="harness", description=harness.__doc__, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"harness {harness.__version__}")
    points = find_entry_points("harness.commands")
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    if wanted is not None and wanted not in points:
        raise HarnessError(f"there is no such command.{suggest_names(wanted, points)} `harness --help` lists them.")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    chosen: ModuleType | None = None
    for name in [wanted] if wanted else points:
        try:
            module: ModuleType = load_entry_point("harness.commands", name)
        except HarnessError:
            if wanted:
                raise
            continue  # the help of the others
        own = commands.add_parser(
            name, help=module.HELP, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.configure(own)
        add_read_limit_option(own)
        chosen = module if wanted else None
    return parser, chosen


if __name__ == "__main__":
    sys.exit(main())
