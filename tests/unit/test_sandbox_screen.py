"""Which tools may share a worker. What is refused here is refused because it could reach the next call."""

from __future__ import annotations

import builtins
import importlib
import sys
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sandbox import screen

NAMES = """eval exec compile open getattr setattr delattr globals locals vars dir __import__ input breakpoint memoryview
super type staticmethod"""
FRAMES = "gi_frame gi_code f_back f_globals f_locals tb_frame tb_next cr_frame ag_frame __globals__ __code__ mro"

PLAIN = [
    "def f(x):\n    return x",
    "import re\nfrom datetime import datetime as dt\ndef f(x):\n    return re.findall('a', x), dt.now()",
    "import datetime\ndef f(x):\n    return datetime.datetime.strptime(x, '%Y').year + 1",
    "from __future__ import annotations\ndef f(x: 'Any' = None) -> dict[str, int]:\n    return {}",
    "import urllib.parse as up\ndef f(x):\n    return up.quote(x)",
    "def f(x):\n    return '{} {:>5} {name} {0[a]}'.format(x, 1, name=2)",
    "def f(x):\n    return f'{x!r:>{len(x)}}'",
    "def f(type, input, id):\n    return type + input + id",
    "def f(x):\n    assert x > 0, 'no'\n    print(x, sep='')\n    return type(x) == int and type(x) in (int, str)",
    "def f(x):\n    try:\n        return x['a']\n    except KeyError as error:\n        return error.args",
    "def f(x):\n    def g(y):\n        nonlocal x\n        x += y\n    return sorted(map(g, [1]), key=lambda z: -z)",
    "def f(x):\n    yield x\nTABLE = {'a': [1]}\nTABLE['b'] = 2\ndel TABLE['a']",
    "def f(x):\n    match x:\n        case {'a': [1, *rest], **more}:\n            return rest",
    "import random\ndef f():\n    return random.Random(1).choice([1, 2])",
    "if __name__ == '__main__':\n    print(1)\ndef f():\n    pass",
    "from typing import Any, Dict, List, Optional as O\n"
    "def f(x: Dict[str, Any], y: O[List['f']] = None) -> List[int]:\n    z: Dict[str, List[int]] = {}\n    return [z]",
    "import typing as t\nfrom datetime import date\n"
    "def f(x: t.Union[date, t.Tuple[int, ...], None]) -> 't.Any':\n    pass",
    "from typing import Literal, Callable, Optional\n"
    "def f(x: Literal['a', 1, True], y: Callable[[int], str] | None = None):\n"
    "    pass",
    "import copy\nfrom copy import deepcopy\ndef f(x):\n    return copy.deepcopy(x), deepcopy([x]), copy.copy(x)",
    "def f(x):\n    return {1, len(x), str(x), *x}",
]

OWN = [
    # cannot be read
    "def f(:",
    "\0",
    "x = " + "(" * 300 + ")" * 300,
    "#" * 300_000,
    # the library's own state
    "import calendar\ndef f():\n    calendar.setfirstweekday(3)",
    "from calendar import setfirstweekday",
    "import calendar\ncalendar.mdays[1] = 0",
    "import decimal\ndecimal.getcontext().prec = 2",
    "from decimal import localcontext",
    "import sys\nsys.setrecursionlimit(50)",
    "import re\nre.purge()",
    "import json\njson.dumps = None",
    "import json as j\nj.loads = print",
    "import json\ndel json.dumps",
    "import functools, json\nfunctools.update_wrapper(json.dumps, print)",
    "import pytz\npytz.all_timezones.append('x')",
    "import uuid\nuuid.uuid1()",
    "import os",
    "import os.path",
    "import urllib.parse",
    "from . import x",
    "from json import *",
    "import datetime\ndatetime.datetime.x = 1",
    "def f():\n    f.count = 1",
    # modules and the ways to them as values
    "import json\nx = json",
    "import json\ndef f(m=json):\n    return m",
    "import json\njson = 1",
    "import json\ndef json():\n    pass",
    "import json\ntry:\n    pass\nexcept Exception as json:\n    pass",
    "import json\n(json := 1)",
    "import json\nx = [json.decoder]",
    "import json as len\nx = len([])",
    # names that lead anywhere
    *(f"def f(x):\n    return {name}" for name in NAMES.split()),
    "x = __builtins__",
    "__builtins__ = {}",
    "def __getattr__(x):\n    pass",
    "from math import pow as __builtins__",
    "def f(x):\n    return x.__class__",
    "def f(x):\n    return x._private",
    "def f(open=open):\n    return open",
    "def f(x):\n    def g(open):\n        return 1\n    return open",
    "def f(eval):\n    global x\n    return eval",
    "def f(x):\n    return type(type(x))",
    "def f(x):\n    return type(x)('a', (), {})",
    "def f(x):\n    return type('A', (), {}) == 1",
    "def f(x):\n    return [type(y) for y in x]",
    "def f(x):\n    match x:\n        case str(__class__=y):\n            return y",
    # frames
    *(f"def f(x):\n    return x.{name}" for name in FRAMES.split()),
    "def f(x):\n    try:\n        1 / 0\n    except Exception as e:\n        return e.with_traceback(None)",
    # formats that read attributes
    "def f(t, x):\n    return t.format(x)",
    "def f(t, x):\n    return ('a' + t).format(x)",
    "def f(x):\n    return '{0.real}'.format(x)",
    "def f(x):\n    return '{0:{1.real}}'.format(x, x)",
    "def f(t, x):\n    return str.format(t, x)",
    "def f(t):\n    return map(str.format, t)",
    "def f(t, x):\n    return t.format_map(x)",
    "import string\nstring.Formatter().format('{0.x}', 1)",
    "import operator\nf = operator.attrgetter('real')",
    "'{'.format(1)",
    # what the library keeps, and addresses
    "import typing\nx = typing.List[0.0]",
    "from typing import List\nx = List",
    "from typing import List\nRow = List[int]\ndef f(x: List[Row]):\n    pass",
    "from typing import List\ndef f(x: List[0.0]):\n    pass",
    "from typing import List\ndef f(x: List[1]):\n    pass",
    "from typing import Literal\ndef f(x: Literal[0.0]):\n    pass",
    "from typing import List\ndef f(x: (y := List[int])):\n    pass",
    "from typing import List\ndef f(x: print(List[int])):\n    pass",
    "from typing import List\nint = 0.0\ndef f(x: List[int]):\n    pass",
    "from typing import List\ndef f(int):\n    def g(x: List[int]):\n        pass",
    "from typing import List\nT = {}\ndef f(x: T[List[int]]):\n    pass",
    "from typing import Any as ｙ, List\ndef f(x):\n    return y",
    "from math import pi as date\nfrom typing import List\ndef f(x: List[date]):\n    date = 1",
    "def f(x):\n    return hash(x)",
    "def f(x):\n    return list(map(hash, x))",
    "def f():\n    return {ValueError('a'), KeyError('b')}",
    "def f():\n    return {f, lambda: 1}",
    "def f():\n    try:\n        pass\n    except ValueError as e:\n        return {e, 1}",
    "import copy\ndef f(x, m):\n    return copy.deepcopy(x, m)",
    "from copy import deepcopy as d\ndef f(x, m):\n    return d(x, memo=m)",
    "from copy import deepcopy\ndef f(x, m):\n    return map(deepcopy, x, m)",
    "from copy import deepcopy\ndef f(x):\n    return deepcopy(*x)",
    "from copy import copy as d, deepcopy as d\ndef f(x, m):\n    return d(x, m)",
    "from copy import deepcopy as d, copy as d\ndef f(x, m):\n    return d(x, m)",
    "import copy as c\ndef f(x):\n    return c.deepcopy",
    "def f():\n    return object()",
    # what runs later, and syntax that is not on the list
    "def f():\n    try:\n        yield 1\n    finally:\n        print(1)",
    "def f(x):\n    with x:\n        yield 1",
    "class A:\n    pass",
    "async def f():\n    pass",
    "def f():\n    global x\n    x = 1",
]


@pytest.mark.parametrize("source", PLAIN)
def test_plain(source: str) -> None:
    assert screen.is_plain_source(source)


@pytest.mark.parametrize("source", OWN)
def test_not_plain(source: str) -> None:
    assert not screen.is_plain_source(source)


@pytest.mark.parametrize(
    ("source", "draws"),
    [
        ("import random\ndef f():\n    return random.random()", True),
        ("def f():\n    import ｒandom as r\n    return r.random()", True),
        ("from ｕuid import uuid4\ndef f():\n    return uuid4()", True),
        ("def f():\n    'at random'\n    return 'uuid'", False),
    ],
)
def test_what_draws_at_random_is_known_by_its_imports(source: str, draws: bool) -> None:
    assert screen.is_plain_source(source)
    assert screen.uses_chance(source) is draws


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters came with Python 3.12")
@pytest.mark.parametrize("source", ["def f[T: (eval('1'))](x):\n    return x", "type X = eval('1')"])
def test_bounds_that_are_evaluated_later(source: str) -> None:
    assert not screen.is_plain_source(source)


@pytest.mark.parametrize("name", screen._MODULES)
def test_what_may_be_used_of_a_module_is_a_function_a_class_or_a_constant(name: str) -> None:
    module = pytest.importorskip(name)
    for attribute in screen._MODULES[name]:
        value = getattr(module, attribute, None)
        assert not isinstance(value, (list, dict, set, bytearray, types.ModuleType)), attribute


def test_no_attribute_on_the_list_leads_to_a_frame_or_a_module() -> None:
    def generator() -> Any:
        yield

    try:
        raise ValueError
    except ValueError as error:
        trace = error.__traceback__
    assert trace is not None
    for value in (generator(), trace, trace.tb_frame, generator.__code__, generator):
        reached = {name for name in dir(value) if not name.startswith("_")} & screen._ATTRIBUTES
        assert all(callable(getattr(value, name)) for name in reached), (value, reached)
        assert not reached & {"send", "throw", "gi_frame", "tb_frame", "f_back"}


def test_every_builtin_on_the_list_exists() -> None:
    assert [name for name in screen._BUILTINS if name != "__name__" and not hasattr(builtins, name)] == []


@given(st.text(max_size=200))
def test_any_text_gets_a_verdict(source: str) -> None:
    assert screen.is_plain_source(source) in (True, False)


@pytest.mark.parametrize("unit", ["-", "not ", "a.b.", "f()()", "lambda:", "1+", "1 if 1 else ", "~", "await "])
def test_deep_sources_get_a_verdict(unit: str) -> None:
    assert not screen.is_plain_source((unit * (150_000 // len(unit))) + "1")


def test_modules_are_loaded_by_name_in_the_launcher() -> None:
    """What the screen lets a shared tool import has to be there, because nothing can be read from disk later."""
    launcher = importlib.import_module("harness.sandbox.launcher")
    loaded = {*launcher.MODULES.split(), *launcher.OPTIONAL}
    assert set(screen._MODULES) - loaded == set()
