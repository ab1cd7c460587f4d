"""Invented names: people, places, companies, titles, identifiers. Nothing real, so nothing can be answered from memory.

A name is made from a pattern such as "{first} {last}" or "{stem} Works|{stem} & Sons"; every word in braces is a part
that is put together from syllables that can be said aloud, or drawn from a list. With disjoint names the SHA-256 of a
name says which split it belongs to, and a name of another split is drawn again: no name is met in training and a test.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from random import Random

SPLITS = ("train", "validation", "test")
MANY = 10_000
"""Draws of a name before it is given up."""


def _words_of(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_FIRST_STARTS = _words_of(
    "Al An Ar Bel Ben Ber Bri Cal Cor Da Del Do El Em Er Fa Fen Fer Fi Gal Gor Ha Hel Il In Is Ja Jo Ka Kel Ki La Len "
    "Li Lo Lu Ma Mar Mel Mi Mor Na Nel Ni No Ol Or Pa Per Pe Ra Ren Ro Ru Sa Sel Si Sol Ta Tel Ti To Va Ver Vi Wil Ya "
    "Yo Ze"
)
_FIRST_ENDS = _words_of(
    "bert bin da dan dith do dra dric gar gan la lan lena lia lina lis lo lora man mara mas mer mina mira mon na nan "
    "nard nas nelle nia nica nora ra ran ren rena rick rin rina ris ro sa san sel sia sin son ta tan tas ton va van "
    "vera vin vor wen win"
)
_LAST_STARTS = _words_of(
    "Ald Ash Bar Beck Birk Black Brand Brook Cald Carn Chal Clay Crom Dal Dun Eld Ever Fair Farn Fen Gal Garn Glen "
    "Grim Hald Har Hazel Holm Horn Hurl Ing Kel Kirk Lamb Lang Lark Lind Lock Mal Mar Mead Mere Mill Nor Oak Orm Pell "
    "Pen Quill Rad Rav Red Row Sal Sand Sel Shel Stan Stock Sum Tarn Thorn Till Tol Tren Ul Var Wake Wal War West "
    "Whit Wind Yar"
)
_LAST_ENDS = _words_of(
    "bourne burn by combe cott croft dale den er field ford gate grave ham hurst ington ington ley low man mere mont "
    "more ness ridge rick shaw son stead stone strand ton vale wick win wood worth yard"
)
_TOWN_STARTS = _words_of(
    "Ald Am Ash Bel Ben Black Bram Brid Cal Cam Car Clap Cold Cor Dar Dun East El Fal Fen Gal Gor Grim Hal Har Hol "
    "Hun Kel Kil Kings Lang Lil Lim Mal Mar Mel Mid Mor Nether Nor Oak Old Or Pel Pen Pol Quar Ran Rav Ros Sal Sel "
    "Shel Stan Stain Tam Tar Thorn Tol Tre Ul Upper Val Ver Wal War Wel Wes Whit Win Yar"
)
_TOWN_ENDS = _words_of(
    "bourne bridge brook bury by cester combe cross dale den ford gate grove ham harbour haven holm hurst keld leigh "
    "ley market mere minster mouth ness pool port reach ridge sand sea stead stoke thorpe ton vale wade well wick "
    "wood worth"
)
_STEM_STARTS = _words_of(
    "Al An Ar Bal Bel Bor Bran Cal Car Cor Dal Del Dor El En Er Fal Fer Gal Gar Hal Har Hel Il Kar Kel Kor Lan Lor "
    "Mal Mar Mel Mor Nal Nor Ol Or Pal Par Pel Por Ral Ran Ros Sal San Sel Sol Tal Tar Tel Tor Val Var Ver Vol Wal "
    "Zan Zor"
)
_STEM_ENDS = _words_of(
    "aden aldo amar andor anta ario aster avin edin elan elda endor enta erin esta evan ican idan ilon imar indo isan "
    "istra ivan oda olan omar onda onel oran orin osta ovan udan ulan umar unda uran"
)
_ADJECTIVES = _words_of(
    "Amber Autumn Bitter Blind Borrowed Brazen Bright Broken Burning Careful Copper Crimson Crooked Distant Drowned "
    "Eastern Empty Endless Faded Fallen Feral Folded Forgotten Frozen Gentle Gilded Glass Golden Grey Hidden Hollow "
    "Idle Indigo Iron Ivory Jagged Lonely Lost Marble Midnight Mirrored Morning Nameless Narrow Northern Obedient "
    "Opal Pale Paper Patient Polished Quiet Rainy Restless Rusted Sacred Salted Scarlet Secret Shallow Silent Silver "
    "Sleeping Solemn Stolen Stubborn Sudden Tangled Timid Twisted Unwritten Velvet Violet Wandering Weary Western "
    "Whispering Wicked Wild Winter Wooden Yellow"
)
_NOUNS = _words_of(
    "Abbot Acre Almanac Anchor Anvil Arrow Balcony Banner Barge Bell Bishop Blossom Boulder Bramble Bride Bridle "
    "Candle Canary Carpet Chandelier Chimney Clock Compass Corridor Cradle Crown Cuckoo Curtain Dancer Doorway "
    "Dragonfly Drummer Ember Envelope Fable Falcon Feather Fiddle Flute Fountain Fox Ghost Glove Goose Hammer Harvest "
    "Hedge Heron Horizon Hourglass Hunter Jester Juniper Key Kingfisher Kite Labyrinth Ladder Lantern Laurel Lily "
    "Locket Lullaby Magpie Mask Meadow Merchant Miller Mirror Moth Needle Nightingale Otter Owl Parade Pavilion Pear "
    "Pebble Pendulum Piper Plough Prophet Quarry Quilt Raven Robin Rooftop Rope Sailor Saint Scarecrow Shepherd "
    "Signal Sister Sparrow Spindle Staircase Starling Stranger Summer Swallow Tailor Tapestry Teapot Thimble Thistle "
    "Thunder Tide Trumpet Umbrella Veil Violin Voyage Wagon Waltz Watchman Whale Wheel Widow Window Wolf Wren"
)
_SYLLABLES = {
    "first": (_FIRST_STARTS, _FIRST_ENDS),
    "last": (_LAST_STARTS, _LAST_ENDS),
    "town": (_TOWN_STARTS, _TOWN_ENDS),
    "stem": (_STEM_STARTS, _STEM_ENDS),
}
_UNFIT = frozenset(("Mormon", "Moronda", "Moronel", "Norman", "Pedo", "Roman", "Satan"))
"""What syllables make that nobody should be called, or that means something else."""
_LISTS = {"adjective": _ADJECTIVES, "noun": _NOUNS}
_LETTERS = "ABCDEFGHKLMNPRSTVWXYZ"
COMMON_NAMES = frozenset(
    (
        *("January", "February", "March", "April", "May", "June", "July", "August", "September", "October"),
        *("November", "December", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        *("French", "German", "Spanish", "Italian", "Portuguese", "Norwegian", "Polish", "Greek", "Finnish"),
        *("Welsh", "Turkish", "Cornish", "Frisian", "Basque", "Maltese", "Faroese"),
        *("D minor", "F major", "E flat major", "B minor", "G major", "Hall A", "Hall B", "Hall C", "Foyer"),
        "Berliner",
    )
)
_PART = re.compile(r"\{(\w+)\}")
_WORD = re.compile(r"[^\W_]+(?:-\d+)?")


class Namer:
    """Draws names that share no distinctive word with each other. `split` None: any split's names will do."""

    def __init__(self, random: Random, split: str | None, taken: Sequence[str] = (), codes: Sequence[str] = ()) -> None:
        """`taken` are names whose words are not drawn again, `codes` what is not drawn again as a whole."""
        self._random = random
        self._split = split
        self._taken = {word for name in taken for word in _words(name)} | {code.casefold() for code in codes}

    def draw(self, pattern: str, apart: bool = True) -> str:
        """A name after one of the alternatives of `pattern`, none of whose invented words was drawn before.

        Not `apart`: the whole name alone must be new, as for references and the rows of lists. Raises LookupError where
        so many draws gave none.
        """
        alternatives = parse_name_pattern(pattern)
        for _ in range(MANY):
            pieces = alternatives[int(self._random.random() * len(alternatives))]
            invented = [self._part(piece) if part else piece for part, piece in pieces]
            name = "".join(invented)
            if self._split is not None and split_of(name) != self._split:
                continue
            parts = [text for (part, _), text in zip(pieces, invented, strict=True) if part]
            words = [word for text in parts for word in _words(text)] if apart else [name.casefold()]
            if not self._taken.isdisjoint(words):
                continue
            self._taken.update(words)
            return name
        raise LookupError(f"no name is left for {pattern!r}")

    def _choice(self, options: tuple[str, ...]) -> str:
        return options[int(self._random.random() * len(options))]

    def _part(self, part: str) -> str:
        if part in _SYLLABLES:
            starts, ends = _SYLLABLES[part]
            while (word := _joined(self._choice(starts), self._choice(ends))) in _UNFIT:
                pass
            return word
        if part in _LISTS:
            return self._choice(_LISTS[part])
        if low := _lowest(part):
            return str(low + int(self._random.random() * 9 * low))
        if part.strip("L") == "":
            return "".join([_LETTERS[int(self._random.random() * len(_LETTERS))] for _ in part])
        raise ValueError(f"no part of a name is called {part!r}")


@cache
def _lowest(part: str) -> int:
    """The lowest number of so many digits as "d4" says; 0 for any other part."""
    return int(10 ** (int(part[1:]) - 1)) if part.startswith("d") and part[1:].isdigit() else 0


def _joined(start: str, end: str) -> str:
    """Two syllables as one word: no letter three times, no vowel twice where they meet."""
    thrice = len(start) > 1 and start[-2:] == 2 * end[0]
    return start + (end[1:] if thrice or (start[-1] == end[0] and end[0] in "aeiou") else end)


def split_of(name: str) -> str:
    """The only split that may use a name when names are disjoint."""
    return SPLITS[int.from_bytes(hashlib.sha256(name.casefold().encode()).digest()[:4], "big") % len(SPLITS)]


@lru_cache(maxsize=1024)
def parse_name_pattern(pattern: str) -> tuple[tuple[tuple[bool, str], ...], ...]:
    """ "{stem} Works|{town}" as alternatives of (is a part to invent, text) pieces."""
    return tuple(
        tuple((bool(at % 2), piece) for at, piece in enumerate(_PART.split(alternative)) if piece)
        for alternative in pattern.split("|")
    )


def is_invented(text: str) -> bool:
    """Whether a text is a name that belongs to one split: capitalised, not a code, and no name that everybody uses."""
    return text[:1].isupper() and any(map(str.islower, text)) and text not in COMMON_NAMES


def _words(name: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(name)]
