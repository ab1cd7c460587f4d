"""What can be read off a tool's source without running it: the clock, chance, and reaching out of the sandbox.

Why: tools run with a frozen clock and a seeded generator, so a call cannot show that it would differ elsewhere; and the
paper's own tools run the same code without any sandbox. A source is parsed only when a telling word is in it.
Left out: aliases made by assignment (f = open), and anything hidden from a reader on purpose: the sandbox is for that.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from harness.data.source import parse_source
from harness.sandbox import screen

TELLING = re.compile(
    r"\b(now|utcnow|today|time|time_ns|ctime|localtime|gmtime|monotonic|perf_counter|strftime|random|secrets|uuid\w*"
    r"|urandom|open|eval|exec|compile|input|breakpoint|__\w+__|import)\b"
)
STEMS = (
    *("now", "today", "time", "monotonic", "perf_counter", "random", "secrets", "uuid", "open", "eval", "exec"),
    *("compile", "input", "breakpoint", "__", "import"),
)
"""Every telling word has one of these in it, and most sources have none."""
CLOCK_METHODS = frozenset(("now", "utcnow", "today"))
CLOCK_CALLS = frozenset(
    f"time.{name}"
    for name in ("time", "time_ns", "ctime", "localtime", "gmtime", "monotonic", "perf_counter", "process_time")
)
CLOCK_WITH_ARGUMENTS = {"time.ctime": 1, "time.localtime": 1, "time.gmtime": 1, "time.strftime": 2}
"""With so many arguments these read no clock."""
CHANCE_MODULES = frozenset(("random", "secrets"))
CHANCE_CALLS = frozenset(("uuid.uuid1", "uuid.uuid4", "os.urandom"))
SEEDED = frozenset(("random.Random", "random.seed"))
UNSAFE_NAMES = frozenset(("open", "eval", "exec", "compile", "input", "breakpoint", "__import__", "__builtins__"))
UNSAFE_MODULES = frozenset(
    (
        *("os", "sys", "subprocess", "socket", "shutil", "pathlib", "tempfile", "glob", "pickle", "sqlite3"),
        *("requests", "urllib.request", "http", "httpx", "aiohttp", "threading", "multiprocessing", "asyncio"),
        *("ctypes", "signal", "importlib", "builtins", "gc", "inspect", "resource"),
    )
)
PLAIN_DUNDERS = frozenset(("__name__", "__init__"))

Remark = tuple[str, str]
"""A check's name and what was found."""


@lru_cache(maxsize=1 << 12)
def find_code_faults(source: str) -> tuple[Remark, ...]:
    """What the source does that a tool should not: (clock | random | unsafe | own_worker, what)."""
    found = list(dict.fromkeys(_seen(parse_source(source).nodes))) if is_telling(source) else []
    if not any(check == "unsafe" for check, _ in found) and not screen.is_plain_source(source):
        found.append(("own_worker", "not known to be harmless"))
    return tuple(found)


def is_telling(source: str) -> bool:
    """Whether a source has a word of the clock, of chance or of reaching out."""
    return any(stem in source for stem in STEMS) and TELLING.search(source) is not None


def _seen(nodes: Sequence[ast.AST]) -> Iterator[Remark]:
    origins = _origins(nodes)
    seeded = any(isinstance(n, ast.Call) and n.args and _path(n.func, origins) == "random.seed" for n in nodes)
    for node in nodes:
        if isinstance(node, ast.Call):
            yield from _call(_path(node.func, origins), len(node.args), seeded)
        elif isinstance(node, ast.Name) and node.id in UNSAFE_NAMES:
            yield "unsafe", node.id
        elif isinstance(node, ast.Attribute) and node.attr.startswith("__") and node.attr not in PLAIN_DUNDERS:
            yield "unsafe", node.attr
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (("unsafe", f"import {name}") for name in _modules(node) if _is_unsafe(name))


def _call(path: str, arguments: int, seeded: bool) -> Iterator[Remark]:
    root, _, last = path.rpartition(".")
    if root and last in CLOCK_METHODS:
        yield "clock", path
    elif path in CLOCK_CALLS or path == "time.strftime":
        if arguments < CLOCK_WITH_ARGUMENTS.get(path, 99):
            yield "clock", path
    elif path in CHANCE_CALLS or (root in CHANCE_MODULES and not seeded and not (path in SEEDED and arguments)):
        yield "random", path


def _origins(nodes: Sequence[ast.AST]) -> dict[str, str]:
    """What an imported name stands for: {"dt": "datetime.datetime", "np": "numpy"}."""
    origins: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            origins |= {alias.asname or alias.name.partition(".")[0]: _bound(alias) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            origins |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return origins


def _bound(alias: ast.alias) -> str:
    return alias.name if alias.asname else alias.name.partition(".")[0]


def _path(node: ast.expr, origins: dict[str, str]) -> str:
    """`datetime.datetime.now` for the expression that means it; empty for what is no plain path."""
    if isinstance(node, ast.Name):
        return origins.get(node.id, "")
    if isinstance(node, ast.Attribute):
        before = _path(node.value, origins)
        return f"{before}.{node.attr}" if before else ""
    return ""


def _modules(node: ast.Import | ast.ImportFrom) -> list[str]:
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]


def _is_unsafe(name: str) -> bool:
    return name in UNSAFE_MODULES or name.partition(".")[0] in UNSAFE_MODULES
