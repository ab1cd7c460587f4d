"""Which tools may share a worker: a static look at the source that lets through only what is known to leave no trace.

A shared worker runs many tools, one call after another. The jail keeps all of them from the machine; this screen keeps
one from the next: no state of the library may be changed, and nothing that leads to another tool's code may be named.
Nor may anything be asked that what ran before decides: hashes by address, what the library keeps of types.
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
from functools import cached_property, lru_cache
from typing import Any

from harness.data.source import ParsedSource, child_nodes, parse_source

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

_EXCEPTIONS = frozenset(
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
)

_BUILTINS = _words(
    """abs all any ascii bin bool bytearray bytes callable chr complex dict divmod enumerate filter float format
    frozenset hex int isinstance issubclass iter len list map max min next oct ord pow print range
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

_COPY = ("copy", "deepcopy")
_CHANCE = frozenset(("random", "uuid"))
"""The modules of the list that draw from what a call before may have moved."""
_HINTED = _words(
    """bool bytes complex dict float frozenset int list object set str tuple type date datetime time timedelta Decimal
    Fraction UUID"""
)
"""The classes that may stand in a hint of typing's."""

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
        _Look(parsed).see(parsed.tree, frozenset())
    except (_NotPlain, SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return True


def uses_chance(source: str) -> bool:
    """Whether a plain tool draws at random, and so needs a fresh start before each call. By the names that Python
    reads, whatever letters they were written in."""
    imports = parse_source(source).imports
    named = [alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names]
    named += [node.module or "" for node in imports if isinstance(node, ast.ImportFrom)]
    return not _CHANCE.isdisjoint(named)


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


def _names_from(imports: Sequence[ast.Import | ast.ImportFrom], module: str) -> dict[str, set[str]]:
    """name: the names of one module that it stands for anywhere in the source."""
    names: dict[str, set[str]] = {}
    for node in imports:
        if isinstance(node, ast.ImportFrom) and node.module == module:
            for alias in node.names:
                names.setdefault(alias.asname or alias.name, set()).add(alias.name)
    return names


class _Look:
    """One walk over the tree. `own`: parameters in sight, which hide builtins of the same name.

    typing keeps what it was asked for and gives it again for what is equal (0.0 and -0.0), so its names may only stand
    in annotations, which nobody reads, and with nothing in them but classes. deepcopy has a second argument, which it
    fills with addresses.
    """

    def __init__(self, parsed: ParsedSource) -> None:
        self.parsed = parsed
        self.modules = _modules(parsed.imports)
        self.hints = _names_from(parsed.imports, "typing")
        self.typed = bool(self.hints) or {"typing"} in self.modules.values()
        self.copies = {name for name, of in _names_from(parsed.imports, "copy").items() if "deepcopy" in of}

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
        if name in self.hints or name in self.copies:
            raise _NotPlain
        if name in self.modules or (name.startswith("__") and name != "__name__"):
            raise _NotPlain
        if name not in own and name in _KNOWN_BUILTINS and name not in _BUILTINS and isinstance(node.ctx, ast.Load):
            raise _NotPlain

    def see_Attribute(self, node: ast.Attribute, own: frozenset[str]) -> None:
        if not isinstance(node.ctx, ast.Load):
            raise _NotPlain
        of = node.value
        if isinstance(of, ast.Name) and of.id in self.modules:
            for module in self.modules[of.id]:
                if node.attr not in _MODULES[module] or module == "typing" or (module, node.attr) == _COPY:
                    raise _NotPlain
            return
        if node.attr not in _ATTRIBUTES and not (node.attr == "format" and _is_plain_template(of)):
            raise _NotPlain
        self.see(of, own)

    def see_Call(self, node: ast.Call, own: frozenset[str]) -> None:
        match node:
            case ast.Call(func=func, args=[argument], keywords=[]) if self.copies_deeply(func):
                if isinstance(argument, ast.Starred):
                    raise _NotPlain
                self.see(argument, own)
            case _:
                self.all(child_nodes(node), own)

    def copies_deeply(self, func: ast.expr) -> bool:
        match func:
            case ast.Name(id=name):
                return name in self.copies and name not in self.bound
            case ast.Attribute(value=ast.Name(id=name), attr="deepcopy"):
                return self.modules.get(name) == {"copy"}
        return False

    def see_Set(self, node: ast.Set, own: frozenset[str]) -> None:
        """A set has its order from hashes: those of functions and exceptions are addresses."""
        for item in node.elts:
            named = item.func if isinstance(item, ast.Call) else item
            if isinstance(named, ast.Lambda) or (isinstance(named, ast.Name) and named.id in self.by_address):
                raise _NotPlain
        self.all(node.elts, own)

    def see_Dict(self, node: ast.Dict, own: frozenset[str]) -> None:
        self.all(node.keys, own)
        self.all(node.values, own)

    def see_Tuple(self, node: ast.Tuple | ast.List, own: frozenset[str]) -> None:
        """Tables of facts, most of whose items are constants."""
        self.all(node.elts, own)

    see_List = see_Tuple

    def see_AnnAssign(self, node: ast.AnnAssign, own: frozenset[str]) -> None:
        self.annotation(node.annotation, own)
        self.all([node.target, node.value], own)

    def annotation(self, node: ast.expr | None, own: frozenset[str]) -> None:
        if node is not None and not (self.typed and self.is_hint(node)):
            self.see(node, own)

    def is_hint(self, node: ast.expr) -> bool:
        """Whether an annotation is made of typing's names, classes and plain constants alone."""
        match node:
            case ast.Constant(value=value):
                return value is None or value is Ellipsis or isinstance(value, str)
            case ast.Name(id=name):
                return (name in self.hints or name in _HINTED) and name not in self.bound
            case ast.Attribute(value=ast.Name(id=name), attr=attribute):
                known = _MODULES["typing"] | _HINTED
                return name in self.modules and attribute in known and name not in self.bound
            case ast.Subscript(value=of, slice=ast.Constant(value=int() | str()) | ast.Tuple(elts=[*_]) as inner) if (
                self.is_literal(of)
            ):
                elements = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                return all(isinstance(one, ast.Constant) and isinstance(one.value, int | str) for one in elements)
            case ast.Subscript(value=of, slice=inner):
                return self.is_hint(of) and self.is_hint(inner)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self.is_hint(left) and self.is_hint(right)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                return all(map(self.is_hint, elements))
        return False

    def is_literal(self, node: ast.expr) -> bool:
        """typing tells 1 and True apart here, and nowhere else."""
        match node:
            case ast.Name(id=name):
                return self.hints.get(name) == {"Literal"} and name not in self.bound
            case ast.Attribute(value=ast.Name(id=name), attr="Literal"):
                return self.modules.get(name) == {"typing"}
        return False

    @cached_property
    def bound(self) -> frozenset[str]:
        """Every name that the source binds but by an import."""
        return frozenset(name for node in self.parsed.nodes if (name := _bound_name(node)) is not None)

    @cached_property
    def by_address(self) -> frozenset[str]:
        """Names of what is hashed by its address: functions and exceptions."""
        kinds = (ast.FunctionDef, ast.ExceptHandler)
        return _EXCEPTIONS | {node.name for node in self.parsed.nodes if isinstance(node, kinds) and node.name}

    def see_Compare(self, node: ast.Compare, own: frozenset[str]) -> None:
        """The only place for type(x): elsewhere type(type(x)) would make classes, and classes have finalizers. `is` is
        for what there is once: whether two texts are one tells whose pattern `re` kept."""
        operands = [node.left, *node.comparators]
        for place, operator in enumerate(node.ops):
            if isinstance(operator, ast.Is | ast.IsNot) and not any(map(self.is_single, operands[place : place + 2])):
                raise _NotPlain
        for operand in operands:
            match operand:
                case ast.Call(func=ast.Name(id="type"), args=[argument], keywords=[]):
                    self.see(argument, own)
                case _:
                    self.see(operand, own)

    def is_single(self, node: ast.expr) -> bool:
        """Whether there is only one of what an expression gives: None and its like, a class of Python's."""
        match node:
            case ast.Constant(value=value):
                return value is None or value is Ellipsis or isinstance(value, bool)
            case ast.Call(func=ast.Name(id="type")) if "type" not in self.bound:
                return True
            case ast.Name(id=name):
                return name in _BUILTINS and name not in self.bound
        return False

    def see_Try(self, node: ast.Try, own: frozenset[str]) -> None:
        """A generator that is dropped inside one of these runs its end at a moment of the collector's choice."""
        if any(isinstance(inner, (ast.Yield, ast.YieldFrom)) for inner in ast.walk(node)):
            raise _NotPlain
        self.all(ast.iter_child_nodes(node), own)

    see_TryStar = see_With = see_Try

    def see_FunctionDef(self, node: ast.FunctionDef, own: frozenset[str]) -> None:
        self.names(node)
        self.all([*node.decorator_list, *getattr(node, "type_params", [])], own)
        self.annotation(node.returns, own)
        self.all(node.body, self.signature(node.args, own))

    def see_Lambda(self, node: ast.Lambda, own: frozenset[str]) -> None:
        self.see(node.body, self.signature(node.args, own))

    def signature(self, arguments: ast.arguments, own: frozenset[str]) -> frozenset[str]:
        """Defaults and annotations belong to the scope outside; the result is what is in sight inside."""
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        parameters += [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
        for parameter in parameters:
            self.names(parameter)
            self.annotation(parameter.annotation, own)
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


def _bound_name(node: ast.AST) -> str | None:
    """The name that a node binds in its scope; imports bind what they name and are looked at apart."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name) | ast.FunctionDef(name=name):
            return name
        case ast.ExceptHandler(name=other) | ast.MatchAs(name=other) | ast.MatchStar(name=other):
            return other
        case ast.MatchMapping(rest=other):
            return other
    return None


def _is_plain_template(node: ast.expr) -> bool:
    """A literal whose fields name no attribute: "{0.x}".format(y) would read one that the look cannot see."""
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return False
    return all(_is_plain_field(field, spec) for _, field, spec, _ in string.Formatter().parse(node.value))


def _is_plain_field(field: str | None, spec: str | None) -> bool:
    return "." not in (field or "") and "{" not in (spec or "")
