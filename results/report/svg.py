"""Plots as SVG text: intervals, lines, bubbles, stacked bars. Colours are classes of report.css, in light and dark.

No style attribute is used, because the page's Content-Security-Policy forbids them. All text is escaped here.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

PLOT_WIDTH = 560
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 40
LETTER = 7.2
"""Pixels of a letter at 12 pixels, in the widest of the fonts that report.css may get."""
LONGEST_NAME = 30


@dataclass(frozen=True, slots=True)
class PlotMark:
    """A value with its interval, in one colour; a hollow one is the paper's rule."""

    value: float
    interval: tuple[float, float] | None
    colour: str
    title: str
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class PlotLine:
    """Points (x, y, interval) that belong together."""

    points: Sequence[tuple[float, float, tuple[float, float] | None]]
    colour: str
    title: str
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to pixels; `log` is for counts of one and more."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (
            (math.log(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 1)


def element(name: str, content: str = "", **attributes: object) -> str:
    """One element; `content` is markup. Underscores in names are dashes, `class_` is class."""
    parts = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(str(v))}"' for key, v in attributes.items())
    return f"<{name}{parts}>{content}</{name}>"


def text_element(x: float, y: float, said: str, **attributes: object) -> str:
    return element("text", escape(said), x=x, y=y, **attributes)


def drawing(height: float, content: str, says: str, width: float = PLOT_WIDTH) -> str:
    """An <svg> that scales with its column and has a name for those who cannot see it."""
    return element("svg", content, viewBox=f"0 0 {width} {round(height)}", role="img", aria_label=says)


def tick_values(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two values: steps of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / about
    if raw < sys.float_info.min:
        return [low]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def plot_intervals(
    rows: Sequence[tuple[str, Sequence[Sequence[PlotMark]]]], x: tuple[float, float], says: str, label: str
) -> str:
    """A row a name, in it lines one below the other, on each its marks: dots with their intervals."""
    left = _room_for([name for name, _ in rows])
    scale = Scale(*x, left, PLOT_WIDTH - RIGHT)
    step, gap = 13, 12
    parts: list[str] = []
    y = float(TOP)
    for name, marks in rows:
        middle = y + step * len(marks) / 2
        parts.append(text_element(left - 12, middle + 4, _short(name, LONGEST_NAME), text_anchor="end", class_="name"))
        parts += [_mark(mark, scale, y + step * (i + 0.5)) for i, line in enumerate(marks) for mark in line]
        y += step * len(marks) + gap
        parts.append(element("line", x1=left, x2=PLOT_WIDTH - RIGHT, y1=y - gap / 2, y2=y - gap / 2, class_="rule"))
    behind = "".join(_upright(scale(at), TOP, y - gap / 2, _tick(at), at == 0) for at in tick_values(*x))
    below = text_element((left + PLOT_WIDTH - RIGHT) / 2, y + 27, label, text_anchor="middle", class_="axis")
    return drawing(y + 34, behind + "".join(parts) + below, says)


def _mark(mark: PlotMark, scale: Scale, y: float) -> str:
    inner = element("title", escape(mark.title))
    if mark.interval:
        inner += element("line", x1=scale(mark.interval[0]), x2=scale(mark.interval[1]), y1=y, y2=y, class_="whisker")
    inner += element("circle", cx=scale(mark.value), cy=y, r=4, class_="hollow" if mark.hollow else "dot")
    return element("g", inner, class_=mark.colour)


def _upright(x: float, top: float, bottom: float, said: str, heavy: bool = False) -> str:
    rule = element("line", x1=x, x2=x, y1=top - 4, y2=bottom, class_="grid zero" if heavy else "grid")
    return rule + text_element(x, bottom + 14, said, text_anchor="middle", class_="tick")


def plot_lines(
    series: Sequence[PlotLine],
    y: tuple[float, float],
    says: str,
    labels: tuple[str, str],
    whole: bool = False,
    height: int = 250,
) -> str:
    """Lines over steps or counts, with whiskers where there are intervals; `whole`: a tick at every x there is."""
    xs = [point[0] for line in series for point in line.points]
    across = Scale(min(xs), max(xs), LEFT + 8, PLOT_WIDTH - RIGHT - 8)
    up = Scale(*y, height - BOTTOM, TOP)
    shown = sorted(set(xs)) if whole and len(set(xs)) <= 14 else tick_values(min(xs), max(xs), 6)
    frame = "".join(_level(up(at), _tick(at)) for at in tick_values(*y))
    frame += "".join(
        text_element(across(at), height - BOTTOM + 17, _tick(at), text_anchor="middle", class_="tick") for at in shown
    )
    frame += _labels(labels, height)
    shift = len(series) - 1
    drawn = "".join(_line(line, across, up, (2 * i - shift) * 1.5 if whole else 0) for i, line in enumerate(series))
    return drawing(height, frame + drawn, says)


def _labels(labels: tuple[str, str], height: float) -> str:
    middle = (TOP + height - BOTTOM) / 2
    turned = f"rotate(-90 13 {middle})"
    return text_element(
        (LEFT + PLOT_WIDTH - RIGHT) / 2, height - 5, labels[0], text_anchor="middle", class_="axis"
    ) + text_element(13, middle, labels[1], text_anchor="middle", class_="axis", transform=turned)


def _level(y: float, said: str) -> str:
    rule = element("line", x1=LEFT, x2=PLOT_WIDTH - RIGHT, y1=y, y2=y, class_="grid")
    return rule + text_element(LEFT - 7, y + 4, said, text_anchor="end", class_="tick")


def _line(line: PlotLine, across: Scale, up: Scale, shift: float) -> str:
    places = [(round(across(x) + shift, 1), up(y), interval) for x, y, interval in line.points]
    inner = element("title", escape(line.title))
    path = " ".join(f"{x},{y}" for x, y, _ in places)
    inner += element("polyline", points=path, class_="line dashed" if line.dashed else "line")
    for x, y, interval in places:
        if interval:
            inner += element("line", x1=x, x2=x, y1=up(interval[0]), y2=up(interval[1]), class_="whisker")
        if len(places) <= 40:
            inner += element("circle", cx=x, cy=y, r=3, class_="dot")
    return element("g", inner, class_=line.colour)


def plot_bubbles(counts: Mapping[tuple[int, float], int], most_calls: int, colour: str, says: str, title: str) -> str:
    """How many episodes have which number of calls and which score: a circle each, its area their number."""
    height, width, left = 205, 270, 34
    across = Scale(1, most_calls + 1, left + 14, width - 16, log=True)
    up = Scale(0, 1, height - BOTTOM - 10, 36)
    frame = text_element(left, 13, _short(title, int((width - left) / LETTER)), class_="name")
    for at in (0.0, 0.5, 1.0):
        frame += element("line", x1=left, x2=width - 4, y1=up(at), y2=up(at), class_="grid")
        frame += text_element(left - 6, up(at) + 4, _tick(at), text_anchor="end", class_="tick")
    for calls in _doubling(most_calls):
        frame += text_element(across(calls + 1), height - BOTTOM + 17, str(calls), text_anchor="middle", class_="tick")
    frame += text_element((left + width) / 2, height - 5, "calls (log)", text_anchor="middle", class_="axis")
    most = max(counts.values())
    circles = "".join(
        element(
            "circle",
            element("title", f"{count} episodes with {calls} calls, F1 about {score:.1f}"),
            cx=across(calls + 1),
            cy=up(score),
            r=round(1.5 + 11 * math.sqrt(count / most), 1),
            class_="bubble",
        )
        for (calls, score), count in sorted(counts.items(), key=lambda entry: -entry[1])
    )
    return drawing(height, frame + element("g", circles, class_=colour), says, width)


def _doubling(most: int) -> Iterator[int]:
    """0, 1, 3, 7, 15 ...: evenly apart on a logarithmic scale of calls + 1."""
    at = 0
    while at <= most:
        yield at
        at = 2 * at + 1


def plot_stacked_bars(rows: Sequence[tuple[str, Sequence[tuple[str, str, int, str]]]], says: str) -> str:
    """A bar a row: shares of (class, title, count, address to go to), in the order given."""
    left = _room_for([name for name, _ in rows])
    parts: list[str] = []
    for index, (name, shares) in enumerate(rows):
        y = TOP + index * 30
        total = sum(count for _, _, count, _ in shares)
        parts.append(text_element(left - 12, y + 15, _short(name, LONGEST_NAME), text_anchor="end", class_="name"))
        at = left
        for class_, title, count, address in shares:
            wide = (2 * PLOT_WIDTH - RIGHT - left) * count / total
            inner = element("title", escape(f"{title}: {count} of {total}"))
            inner += element("rect", x=round(at, 1), y=y, width=round(max(wide - 1, 0.5), 1), height=22, rx=1.5)
            if wide > 12 + LETTER * len(str(count)):
                inner += text_element(
                    round(at + wide / 2, 1), y + 15, str(count), text_anchor="middle", class_="inside"
                )
            parts.append(element("a", inner, href=address, class_=f"share {class_}"))
            at += wide
    return drawing(TOP + len(rows) * 30, "".join(parts), says, 2 * PLOT_WIDTH)


def _room_for(names: Sequence[str]) -> float:
    """Pixels from the left edge to where a drawing begins that has its names before it."""
    return 18 + LETTER * min(LONGEST_NAME, max(map(len, names)))


def _tick(value: float) -> str:
    return f"{value:g}".replace("-", "\u2212")


def _short(said: str, limit: int) -> str:
    return said if len(said) <= limit else said[: limit - 1] + "…"
