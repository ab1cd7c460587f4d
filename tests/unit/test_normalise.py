"""Text to tokens and outputs to leaves, rule by rule."""

import pytest

from harness.scoring.leaves import MAX_DEPTH, MAX_LEAVES, NumberText, decode, leaf, leaves
from harness.scoring.normalise import tokens, without_articles
from harness.scoring.numbers import number
from harness.scoring.phrases import parts, same


def leaf_tokens(text: str) -> set[tuple[str, ...]]:
    return {found.tokens for found in leaves(text)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("?! $ % -- …", ()),
        ("Albrecht Dürer", ("albrecht", "durer")),
        ("ＦＵＬＬ ﬁne", ("full", "fine")),
        ("STRASSE straße", ("strasse", "strasse")),
        ("Zürich", ("zurich",)),
        ("Cortina d'Ampezzo", ("cortina", "d", "ampezzo")),
        ("el-Sisi", ("el", "sisi")),
        ("snake_case", ("snake", "case")),
        ("कि का", ("कि", "का")),
        ("$5.00 (50%)", ("#5", "usd", "#50", "%")),
    ],
)
def test_words(text: str, expected: tuple[str, ...]) -> None:
    assert tokens(text) == expected


def test_accents_drop_whether_composed_or_not() -> None:
    assert tokens("Joaquín") == tokens("Joaqui\u0301n") == ("joaquin",)


def test_only_whole_articles_drop() -> None:
    assert without_articles(tokens("The theatre of an ant, a The")) == ("theatre", "of", "ant")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("70,000,000.00 USD", ("#70000000", "usd")),
        ("70000000", ("#70000000",)),
        ("0.50", ("#0.5",)),
        (".5 and $.5", ("#0.5", "and", "#0.5", "usd")),
        ("...5", ("#5",)),
        ("007", ("#7",)),
        ("12.75.", ("#12.75",)),
        ("1,024,2,048", ("#1024", "#2048")),
        ("1,23", ("#1.23",)),
        ("1,23,4", ("#1", "#23", "#4")),
        ("[3,5] and Lund,3,5", ("#3", "#5", "and", "lund", "#3", "#5")),
        ("12 345 678; 12'345 1.234.567 12.345,6", ("#12345678", "#12345", "#1234567", "#12345.6")),
        ("12 345 12", ("#12345", "#12")),
        ("1.5 million 12k 3bn two hundred", ("#1500000", "#12000", "#3000000000", "#200")),
        ("12.75 million_square_km", ("#12.75", "million", "square", "km")),
        ("½ 2½", ("#0.5", "#2.5")),
        ("2000,300", ("#2000", "#300")),
        ("1,0000", ("#1",)),
        ("3.14159265358979323846264338327950288", ("#3.14159265358979323846264338327950288",)),
        ("0.1 0.10000000000000001", ("#0.1", "#0.10000000000000001")),
        ("1e+22 1e-05", ("#10000000000000000000000", "#0.00001")),
        ("٣٤", ("#34",)),
    ],
)
def test_numbers(text: str, expected: tuple[str, ...]) -> None:
    assert tokens(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-97", ("#-97",)),
        ("−97 –97 －97", ("#-97", "#-97", "#-97")),
        ("(-5) [-5] {-5}", ("#-5", "#-5", "#-5")),
        ("at -5", ("at", "#-5")),
        ("x=-5", ("x", "#-5")),
        ("**-5** $-5 -$5", ("#-5", "#-5", "usd", "#-5", "usd")),
        ("minus 5, 10 minus 5", ("#-5", "#10", "minus", "#5")),
        ("'-5'", ("#-5",)),
        ("3-5", ("3-5",)),
        ("3 - 5", ("3-5",)),
        ("3 -5", ("#3", "#-5")),
        ("(3)-5", ("#3", "#5")),
        ("--5", ("#5",)),
        ("x_-5", ("x", "#-5")),
        ("-0", ("#0",)),
        ("-.5", ("#-0.5",)),
        ("1939–1945", ("1939-1945",)),
    ],
)
def test_a_minus_counts_unless_a_word_a_number_or_a_bracket_ends_before_it(
    text: str, expected: tuple[str, ...]
) -> None:
    assert tokens(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2007-05-01",
        "2007-5-1",
        "2007‐05‐01",
        "1 May 2007",
        "01 MAY 2007",
        "1 May, 2007",
        "May 1, 2007",
        "May 1 2007",
        "May 01,2007",
    ],
)
def test_spellings_of_one_date(text: str) -> None:
    assert tokens(text) == ("@2007-05-01",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2007-11-7", ("@2007-11-07",)),
        ("Sept. 3, 2007; 3 Sep 2007; September 3 2007", ("@2007-09-03",) * 3),
        ("29 February 2024", ("@2024-02-29",)),
        ("29 February 2023", ("#29", "february", "#2023")),
        ("2023-02-29", ("2023-02-29",)),
        ("2023-13-01", ("2023-13-01",)),
        ("0000-01-01", ("0000-01-01",)),
        ("2007-05-01T10:30:00", ("@2007-05-01", "10:30")),
        ("2007-05-01T10:30:00.25Z", ("@2007-05-01", "10:30:00.25")),
        ("2007-05-01 10:30", ("@2007-05-01", "10:30")),
        ("2023-10-13-2023-10-22", ("@2023-10-13", "@2023-10-22")),
        ("report-2007-05-01.txt", ("report", "@2007-05-01", "txt")),
        ("-1 May 2007 and -2007-05-01", ("@2007-05-01", "and", "@2007-05-01")),
        ("2007-05-011", ("2007-05-011",)),
        ("2007-05-01st", ("2007-05-01", "st")),
        ("1 May 20071", ("@-05-01", "#20071")),
        ("May 2007; 2007-05; 05/2007", ("@2007-05",) * 3),
        ("they may 5, on May 5", ("they", "may", "#5", "on", "@-05-05")),
        ("05/06/2007 05/31/2007", ("@2007-5/6", "@2007-05-31")),
        ("2007/05/01", ("@2007-05-01",)),
        ("1st May 2007", ("@2007-05-01",)),
    ],
)
def test_dates(text: str, expected: tuple[str, ...]) -> None:
    assert tokens(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("COVID-19", ("covid-19",)),
        ("COVID–19", ("covid-19",)),
        ("SARS-CoV-2", ("sars", "cov-2")),
        ("19-year-old", ("#19", "year", "old")),
        ("F-16A B2", ("f-16a", "b2")),
        ("GPT-4.5 v3.11.7 python3.11", ("gpt-4.5", "v3.11.7", "python3.11")),
        ("1,024GB 12km 5G", ("#1024", "gb", "#12", "km", "5g")),
        ("3rd 7e7 0x1f", ("3rd", "7e7", "0x1f")),
        ("10:30 10:30:05 9:05am", ("10:30", "10:30:05", "09:05")),
        ("16:9 10:75 10:305", ("16:9", "10:75", "10:305")),
        ("555 1234, +46 70 123 45 67", ("555 1234", "+46 70 123 45 67")),
        ("version 3.11 report_2007.pdf", ("version", "3.11", "report", "2007", "pdf")),
        ("3.11.7 10.0.0.1", ("3.11.7", "10.0.0.1")),
    ],
)
def test_what_stays_one_token(text: str, expected: tuple[str, ...]) -> None:
    assert tokens(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7e7", "#70000000"),
        ("70000000", "#70000000"),
        ("70.0E+6", "#70000000"),
        ("-1.5e-3", "#-0.0015"),
        ("-0.000", "#0"),
        ("0e999999999999999999999999", "#0"),
        ("1e999999999", "#1e999999999"),
        ("10e999999998", "#1e999999999"),
        ("1e-999999999", "#1e-999999999"),
        ("123456789012345678901234567890.10", "#123456789012345678901234567890.1"),
    ],
)
def test_json_numbers_are_exact(text: str, expected: str) -> None:
    assert number(text) == expected


def test_numbers_of_any_length_are_read_without_conversion() -> None:
    digits = "9" * 10_000
    assert number(digits) == f"#{digits}"
    assert number("1e" + digits) == "#1e" + digits  # an exponent of 10,000 digits is left as it is
    assert leaves(f"[{digits}]")[0].tokens == (f"#{digits}",)


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        ("#2007", "@2007-05-01", True),
        ("#2007", "@2008-05-01", False),
        ("#5", "@2007-05-01", False),
        ("#1", "@2007-05-01", False),
        ("#-2007", "@2007-05-01", False),
        ("#999", "@0999-05-01", False),
        ("@2007-05-01", "#2007", False),
    ],
)
def test_a_year_also_finds_a_date(wanted: str, found: str, expected: bool) -> None:
    assert same(wanted, found) is expected


def test_a_year_is_a_year_by_value() -> None:
    assert same(*tokens("2,007.0"), *tokens("2007-05-01"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Brazil, China", ["Brazil", "China"]),
        ("Brazil,China", ["Brazil", "China"]),
        ("August 21, 1949", ["August 21, 1949"]),
        ("May 1, 2007, Paris", ["May 1, 2007", "Paris"]),
        ("February 31, 2007", ["February 31", "2007"]),
        ("1,024, 2,048", ["1,024", "2,048"]),
        ("", [""]),
        (", ", ["", ""]),
    ],
)
def test_parts(text: str, expected: list[str]) -> None:
    assert parts(text) == expected


def test_leaves_are_strings_numbers_and_the_keys_that_hold_something() -> None:
    output = '{"Big Ben": ["London", {"height": 96.30}], "open": true, "closed": null, "n": -97}'
    assert leaf_tokens(output) == {
        ("big", "ben"),
        ("london",),
        ("#96.3",),
        ("open",),
        ("true",),
        ("none",),
        ("#-97",),
    }
    assert leaf_tokens('{"open": true, "dry": false}') == {("open",)}  # of two, neither says what it answers


def test_json_inside_strings_is_decoded_and_everything_else_is_one_text() -> None:
    assert leaf_tokens('{"data": "[\\"x y\\", 2]"}') == {("x", "y"), ("#2",)}
    assert leaf_tokens("{'a': 1}") == {("#1",)}  # Python's repr: one text, and "a" is an article
    assert leaf_tokens('"quoted"') == {("quoted",)}
    assert leaf_tokens("12") == {("#12",)}
    assert leaf_tokens("[1] and [2]") == {("#1", "and", "#2")}
    assert leaf_tokens(" \n[1, 2]\n") == {("#1",), ("#2",)}


def test_nan_and_infinity_are_words() -> None:
    assert leaf_tokens("[NaN, Infinity, -Infinity]") == {("nan",), ("infinity",)}
    assert not isinstance(decode("[NaN]")[0], NumberText)


def test_number_text_is_a_number_and_a_string_is_a_text() -> None:
    assert leaf(NumberText("7e7")).tokens == ("#70000000",)
    assert leaf("7e7").tokens == ("7e7",)


@pytest.mark.parametrize(
    "output",
    [
        "[" * (MAX_DEPTH + 2) + '"x"' + "]" * (MAX_DEPTH + 2),
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        "[" + "0," * (MAX_LEAVES + 1) + "0]",
    ],
)
def test_hostile_json_is_read_as_one_text(output: str) -> None:
    assert len(leaves(output)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "\u0301\u0323" * 20_000,
        "\u05b0\u0591" * 20_000,
        "\ud800 lone",
        "\x00",
        "\ufdfa" * 100,
        "1 " + " " * 50_000 + "x",
    ],
)
def test_odd_text_is_read_all_the_same(text: str) -> None:
    tokens(text)
    leaves(text)
    parts(text)
