"""Invented names: people, places, companies, titles, codes. Nothing real, so nothing can be answered from memory.

A name is made from a pattern such as "{first} {last}" or "{stem} Works|{stem} & Sons"; every word in braces is a part
that is put together from syllables or drawn from a list. With disjoint names the SHA-256 of a name says which split it
belongs to, and a name of another split is drawn again, so that no name is met in training and in a test.
"""

from __future__ import annotations

import re
from random import Random

from envbuilder.worlds.names import parse_name_pattern, split_of


def _words_of(text: str) -> tuple[str, ...]:
    return tuple(text.split())


MANY = 10_000
"""Draws of a name before it is given up."""

_ONSETS = _words_of(
    "b br c cr d dr f fr g gr h j k kr l m n p pr r s st t tr v w y z th sh ch bl cl fl gl pl sl sk sp sn sw vr kl kn "
    "b d f g h k l m n p r s t v "
)
_VOWELS = _words_of("a e i o u a e i o u a e i o ae ia ei ou ea io au ai")
_SINGLES = _words_of("l r n s m d v t k b g l r n")
_CLUSTERS = _words_of("l r n s m d v t k b g nd rn lm st rv ld ss nn ll mb rt sk th nt rd lt lv rk ndr str")
_FINALS = _words_of("l n r s m d t k x th st nd rn sk ll")
_FIRST_ENDS = _words_of(
    "a an el in is o us ia en ir ane ek as ine ette ora ard ick iel ola em ys ild und ina os it ona"
)
_LAST_ENDS = _words_of(
    "er sen wick man dale ov ano ez ham well ford berg quist ley more ton by ell ard ock ish ant igan ander us ic ak "
    "strom inger ollo hart stone"
)
_TOWN_ENDS = _words_of(
    "ford ham by ton mouth wick stead holm gard borg minster dale port bridge haven field worth ness burn combe loch "
    "ville mark grad ovo ara ona ium eth ast und heim wold firth moor crag bury ley"
)
_ADJECTIVES = _words_of(
    "Amber Ashen Autumn Bitter Blind Borrowed Brazen Bright Broken Burning Careful Copper Crimson Crooked Distant "
    "Drowned Early Eastern Empty Endless Faded Fallen Feral Final Folded Forgotten Frozen Gentle Gilded Glass Golden "
    "Grey Hidden Hollow Idle Indigo Iron Ivory Jagged Last Late Lesser Little Lonely Lost Marble Midnight Mirrored "
    "Morning Nameless Narrow Ninth Northern Obedient Opal Pale Paper Patient Polished Quiet Rainy Restless Rusted "
    "Sacred Salted Scarlet Second Secret Seventh Shallow Silent Silver Sleeping Slow Solemn Stolen Stubborn Sudden "
    "Tangled Third Timid Twisted Unfinished Unwritten Velvet Violet Wandering Weary Western Whispering Wicked Wild "
    "Winter Wooden Yellow Youngest"
)
_NOUNS = _words_of(
    "Abbot Acre Almanac Anchor Anvil Apprentice Arch Arrow Balcony Banner Barge Bell Bishop Blossom Boat Boulder "
    "Bramble Bride Bridle Candle Canary Carpet Cartographer Cathedral Chandelier Chimney Clock Comet Compass Corridor "
    "Cradle Crossing Crown Cuckoo Curtain Dancer Doorway Dragonfly Drummer Eclipse Ember Envelope Fable Falcon Feather "
    "Fiddle Flute Fountain Fox Garden Gate Ghost Glacier Glove Goose Hammer Harbour Harvest Hedge Heron Horizon "
    "Hourglass House Hunter Island Jester Juniper Key Kingfisher Kite Labyrinth Ladder Lantern Laurel Ledger Letter "
    "Lighthouse Lily Locket Lullaby Magpie Mask Meadow Merchant Miller Mirror Moth Needle Nightingale Oak Orchard "
    "Otter Owl Palace Parade Passenger Pavilion Pear Pebble Pendulum Piper Planet Plough Portrait Prophet Quarry Quilt "
    "Rain Raven River Road Robin Rooftop Rope Sailor Saint Scarecrow Shepherd Shore Signal Sister Sparrow Spindle "
    "Staircase Starling Stranger Summer Swallow Tailor Tapestry Teapot Thimble Thistle Thunder Tide Tower Trumpet "
    "Umbrella Valley Veil Village Violin Voyage Wagon Waltz Watchman Well Whale Wheel Widow Window Wolf Wren"
)
_PART = re.compile(r"\{(\w+)\}")
_WORD = re.compile(r"[^\W_]+(?:-\d+)?")


class Namer:
    """Draws names that share no distinctive word with each other. `split` None: any split's names will do."""

    def __init__(self, random: Random, split: str | None, short: bool = False, taken: tuple[str, ...] = ()) -> None:
        self._random = random
        self._split = split
        self._short = short
        self._taken = {word for name in taken for word in _words(name)}

    def draw(self, pattern: str) -> str:
        """A name after one of the alternatives of `pattern`, none of whose invented words was drawn before.

        Raises LookupError where so many draws gave none.
        """
        alternatives = parse_name_pattern(pattern)
        for _ in range(MANY):
            pieces = alternatives[int(self._random.random() * len(alternatives))]
            invented = [self._part(piece) if part else piece for part, piece in pieces]
            name = "".join(invented)
            if self._split is not None and split_of(name) != self._split:
                continue
            words = [word for (part, _), text in zip(pieces, invented, strict=True) if part for word in _words(text)]
            if not self._taken.isdisjoint(words):
                continue
            self._taken.update(words)
            return name
        raise LookupError(f"no name is left for {pattern!r}")

    def _choice(self, options: tuple[str, ...]) -> str:
        return options[int(self._random.random() * len(options))]

    def _part(self, kind: str) -> str:
        choice = self._choice
        match kind:
            case "first":
                return self._stem(choice(_FIRST_ENDS), 0.25)
            case "last":
                return self._stem(choice(_LAST_ENDS), 0.2)
            case "town":
                return self._stem(choice(_TOWN_ENDS), 0.3)
            case "stem":
                return self._stem(choice(_VOWELS)[0] + choice(_FINALS), 0.15)
            case "lower":
                return self._stem(choice(_VOWELS)[0] + choice(_FINALS), 0.0).lower()
            case "adjective":
                return choice(_ADJECTIVES)
            case "noun":
                return choice(_NOUNS)
            case "digits":
                return str(10_000 + int(self._random.random() * 90_000))
        raise ValueError(f"no part of a name is called {kind!r}")

    def _stem(self, end: str, longer: float) -> str:
        choice = self._choice
        stem = choice(_ONSETS) + choice(_VOWELS)
        if not self._short and self._random.random() < longer:
            stem += choice(_SINGLES) + choice(_VOWELS)[0]
        return (stem + choice(_CLUSTERS if end[0] in "aeiou" else _SINGLES) + end).capitalize()


def _words(name: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(name)]
