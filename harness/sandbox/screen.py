"""Which tools may share a worker: a static look at the source that lets through only what is known to leave no trace.

A shared worker runs many tools, one call after another. The jail keeps all of them from the machine; this screen keeps
one from the next: no state of the library may be changed, and nothing that leads to another tool's code may be named.
It is an allow list throughout: of syntax, of builtins, of modules and which of their names, of attributes. What it does
not know costs a process of its own, never a wrong answer. Left out: any judgement of what a tool computes.
"""

from __future__ import annotations

import ast
import builtins
import collections
import datetime
import decimal
import fractions
import io
import re
import string
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from harness.data.source import child_nodes, parse_source

_SOURCE_LIMIT = 200_000  # characters

# --- what is known to be harmless --------------------------------------------------------------------------------


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SYNTAX = _words(
    """Module Expr FunctionDef Return Assign AnnAssign AugAssign Delete For While If With Raise Try TryStar Assert
    Import ImportFrom Pass Break Continue Nonlocal BoolOp NamedExpr BinOp UnaryOp Lambda IfExp Dict Set ListComp SetComp
    DictComp GeneratorExp Yield YieldFrom Compare Call FormattedValue JoinedStr Constant Attribute Subscript Starred
    Name List Tuple Slice ExceptHandler arguments arg keyword alias withitem comprehension Match match_case MatchValue
    MatchSingleton MatchSequence MatchMapping MatchStar MatchAs MatchOr"""
)

_BUILTINS = _words(
    """abs all any ascii bin bool bytearray bytes callable chr complex dict divmod enumerate filter float format
    frozenset hash hex int isinstance issubclass iter len list map max min next object oct ord pow print range
    repr reversed round set slice sorted str sum tuple zip Ellipsis NotImplemented __name__"""
) | {name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)}

_KNOWN_BUILTINS = frozenset(vars(builtins)) | {"__name__"}

# Only functions without memory, immutable classes and immutable constants. A test checks what can be checked of that.
_MODULES: dict[str, frozenset[str]] = {
    name: _words(names)
    for name, names in {
        "__future__": "annotations",
        "ast": "literal_eval",
        "base64": "b16decode b16encode b32decode b32encode b64decode b64encode urlsafe_b64decode urlsafe_b64encode",
        "bisect": "bisect bisect_left bisect_right insort insort_left insort_right",
        "calendar": "MONDAY TUESDAY WEDNESDAY THURSDAY FRIDAY SATURDAY SUNDAY day_abbr day_name isleap leapdays "
        "month_abbr month_name monthrange timegm weekday",
        "cmath": "exp log phase pi polar rect sqrt",
        "collections": "Counter OrderedDict defaultdict deque",
        "copy": "copy deepcopy",
        "datetime": "MAXYEAR MINYEAR UTC date datetime time timedelta timezone tzinfo",
        "decimal": "Decimal DivisionByZero InvalidOperation ROUND_CEILING ROUND_DOWN ROUND_FLOOR ROUND_HALF_DOWN "
        "ROUND_HALF_EVEN ROUND_HALF_UP ROUND_UP",
        "difflib": "SequenceMatcher get_close_matches ndiff unified_diff",
        "fractions": "Fraction",
        "functools": "cmp_to_key partial reduce",
        "hashlib": "blake2b blake2s md5 sha1 sha224 sha256 sha384 sha512 sha3_256 sha3_512",
        "heapq": "heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest",
        "html": "escape unescape",
        "io": "BytesIO StringIO",
        "itertools": "accumulate batched chain combinations combinations_with_replacement compress count cycle "
        "dropwhile filterfalse groupby islice pairwise permutations product repeat starmap takewhile tee zip_longest",
        "json": "JSONDecodeError dumps loads",
        "math": "acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist e erf erfc exp "
        "exp2 expm1 fabs factorial floor fmod frexp fsum gamma gcd hypot inf isclose isfinite isinf isnan isqrt lcm "
        "ldexp lgamma log log10 log1p log2 modf nan nextafter perm pi pow prod radians remainder sin sinh sqrt sumprod "
        "tan tanh tau trunc ulp",
        "operator": "abs add and_ concat contains countOf eq floordiv ge gt index indexOf itemgetter le lt mod mul ne "
        "neg not_ or_ pos pow sub truediv truth xor",
        "pytz": "AmbiguousTimeError NonExistentTimeError UTC UnknownTimeZoneError timezone utc",
        "random": "Random betavariate choice choices expovariate gauss getrandbits normalvariate randbytes randint "
        "random randrange sample seed shuffle triangular uniform",
        "re": "A ASCII DOTALL I IGNORECASE M MULTILINE Match Pattern S U UNICODE VERBOSE X compile error escape "
        "findall finditer fullmatch match search split sub subn",
        "statistics": "StatisticsError correlation covariance fmean geometric_mean harmonic_mean linear_regression "
        "mean median median_high median_low mode multimode pstdev pvariance quantiles stdev variance",
        "string": "ascii_letters ascii_lowercase ascii_uppercase capwords digits hexdigits octdigits printable "
        "punctuation whitespace",
        "textwrap": "dedent fill indent shorten wrap",
        "time": "gmtime localtime mktime sleep strftime strptime time time_ns",
        "typing": "Any Callable Dict FrozenSet Generator Iterable Iterator List Literal Mapping Optional Sequence Set "
        "Tuple Union",
        "unicodedata": "category combining name normalize numeric",
        "urllib.parse": "parse_qs parse_qsl quote quote_plus unquote unquote_plus urlencode urljoin urlparse urlsplit "
        "urlunparse urlunsplit",
        "uuid": "NAMESPACE_DNS NAMESPACE_OID NAMESPACE_URL UUID uuid3 uuid4 uuid5",
        "zoneinfo": "ZoneInfo ZoneInfoNotFoundError",
    }.items()
}

# The public attributes of values that tools handle. Frames, code objects, modules and generators are not among them.
_VALUES: tuple[type, ...] = (
    *(bool, bytearray, bytes, complex, dict, float, frozenset, int, list, range, set, slice, str, tuple),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone),
    *(decimal.Decimal, fractions.Fraction, re.Match, re.Pattern, io.StringIO, io.BytesIO),
    *(collections.Counter, collections.OrderedDict, collections.defaultdict, collections.deque),
)
_ATTRIBUTES = (
    {name for value in _VALUES for name in dir(value) if not name.startswith("_")}
    | _words("args colno doc errno lineno msg pos strerror")  # of exceptions
    | _words("hexdigest digest update tm_year tm_mon tm_mday tm_hour tm_min tm_sec tm_wday tm_yday")
    | _words("localize normalize zone key ratio get_matching_blocks get_opcodes")
    | _words("choice choices gauss randint random randrange sample shuffle uniform")
    | _words("scheme netloc path params query fragment hostname port")
) - {"format", "format_map"}


# --- the look ----------------------------------------------------------------------------------------------------


class _NotPlain(Exception):
    """Something that is not known to be harmless."""


@lru_cache(maxsize=1024)
def is_plain_source(source: str) -> bool:
    """Whether a tool may share a worker. A source that cannot be parsed may not."""
    if len(source) > _SOURCE_LIMIT:
        return False
    try:
        parsed = parse_source(source)
        _Look(_modules(parsed.imports)).see(parsed.tree, frozenset())
    except (_NotPlain, SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return True


def _modules(imports: Sequence[ast.Import | ast.ImportFrom]) -> dict[str, set[str]]:
    """name: the modules that it stands for anywhere in the source."""
    names: dict[str, set[str]] = {}
    for node in imports:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name not in _MODULES or ("." in alias.name and alias.asname is None):
                    raise _NotPlain
                names.setdefault(alias.asname or alias.name, set()).add(alias.name)
        else:
            known = _MODULES.get(node.module or "", frozenset())
            if node.level or any(alias.name not in known for alias in node.names):
                raise _NotPlain
    return names


class _Look:
    """One walk over the tree. `own`: parameters in sight, which hide builtins of the same name."""

    def __init__(self, modules: dict[str, set[str]]) -> None:
        self.modules = modules

    def see(self, node: ast.AST, own: frozenset[str]) -> None:
        kind = type(node)
        if kind in _HARMLESS:
            return
        if kind not in _KINDS:
            raise _NotPlain
        check = _CHECKS.get(kind)
        if check is not None:
            check(self, node, own)
        else:
            self.names(node)
            self.all(child_nodes(node), own)

    def all(self, nodes: Iterable[ast.AST | None], own: frozenset[str]) -> None:
        for node in nodes:
            if node is not None and type(node) not in _HARMLESS:
                self.see(node, own)

    def names(self, node: ast.AST) -> None:
        """Names that a node binds may not be double underscored, nor hide a module."""
        for field in _KINDS[type(node)]:
            value = getattr(node, field, None)
            if isinstance(value, str) and (value.startswith("__") or self.binds_module(node, value)):
                raise _NotPlain

    def binds_module(self, node: ast.AST, name: str) -> bool:
        return name in self.modules and not isinstance(node, (ast.alias, ast.keyword))

    def see_Name(self, node: ast.Name, own: frozenset[str]) -> None:
        name = node.id
        if name in self.modules or (name.startswith("__") and name != "__name__"):
            raise _NotPlain
        if name not in own and name in _KNOWN_BUILTINS and name not in _BUILTINS and isinstance(node.ctx, ast.Load):
            raise _NotPlain

    def see_Attribute(self, node: ast.Attribute, own: frozenset[str]) -> None:
        if not isinstance(node.ctx, ast.Load):
            raise _NotPlain
        of = node.value
        if isinstance(of, ast.Name) and of.id in self.modules:
            if any(node.attr not in _MODULES[module] for module in self.modules[of.id]):
                raise _NotPlain
            return
        if node.attr not in _ATTRIBUTES and not (node.attr == "format" and _is_plain_template(of)):
            raise _NotPlain
        self.see(of, own)

    def see_Compare(self, node: ast.Compare, own: frozenset[str]) -> None:
        """The only place for type(x): elsewhere type(type(x)) would make classes, and classes have finalizers."""
        for operand in [node.left, *node.comparators]:
            match operand:
                case ast.Call(func=ast.Name(id="type"), args=[argument], keywords=[]):
                    self.see(argument, own)
                case _:
                    self.see(operand, own)

    def see_Try(self, node: ast.Try, own: frozenset[str]) -> None:
        """A generator that is dropped inside one of these runs its end at a moment of the collector's choice."""
        if any(isinstance(inner, (ast.Yield, ast.YieldFrom)) for inner in ast.walk(node)):
            raise _NotPlain
        self.all(ast.iter_child_nodes(node), own)

    see_TryStar = see_With = see_Try

    def see_FunctionDef(self, node: ast.FunctionDef, own: frozenset[str]) -> None:
        self.names(node)
        self.all([*node.decorator_list, node.returns, *getattr(node, "type_params", [])], own)
        self.all(node.body, self.signature(node.args, own))

    def see_Lambda(self, node: ast.Lambda, own: frozenset[str]) -> None:
        self.see(node.body, self.signature(node.args, own))

    def signature(self, arguments: ast.arguments, own: frozenset[str]) -> frozenset[str]:
        """Defaults and annotations belong to the scope outside; the result is what is in sight inside."""
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        parameters += [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
        for parameter in parameters:
            self.names(parameter)
        self.all([parameter.annotation for parameter in parameters], own)
        self.all([*arguments.defaults, *arguments.kw_defaults], own)
        return own | {parameter.arg for parameter in parameters}


_OPERATORS = (ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context)
_HARMLESS = frozenset((ast.Constant, *(kind for family in _OPERATORS for kind in family.__subclasses__())))
"""What neither names nor holds anything."""
_KINDS = {
    kind: tuple(field for field in ("name", "asname", "arg", "rest") if field in kind._fields)
    for kind in (getattr(ast, name) for name in _SYNTAX if hasattr(ast, name))
}
"""The syntax that is known, and which of its fields bind a name."""
_CHECKS: dict[type[ast.AST], Callable[[_Look, Any, frozenset[str]], None]] = {
    kind: getattr(_Look, f"see_{kind.__name__}") for kind in _KINDS if hasattr(_Look, f"see_{kind.__name__}")
}


def _is_plain_template(node: ast.expr) -> bool:
    """A literal whose fields name no attribute: "{0.x}".format(y) would read one that the look cannot see."""
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return False
    return all(_is_plain_field(field, spec) for _, field, spec, _ in string.Formatter().parse(node.value))


def _is_plain_field(field: str | None, spec: str | None) -> bool:
    return "." not in (field or "") and "{" not in (spec or "")
