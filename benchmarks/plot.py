"""A small writer of line charts and bar charts as SVG."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 132, 40, 48
COLOURS = ("#0b6e99", "#d9730d", "#6b7280", "#0f7b6c", "#ad1a72")
FONT = 'font-family="sans-serif" font-size="12"'

Points = Sequence[tuple[float, float, float, float]]
"""(x, y, low, high), in the order of x."""


def nice_step(span: float, most: int = 6) -> float:
    """Return a round distance (1, 2 or 5 times a power of ten) that divides span into at most so many parts."""
    step = 10.0**-9
    while True:
        for factor in (1, 2, 5):
            if span / (step * factor) <= most:
                return step * factor
        step *= 10


def number(value: float) -> str:
    return f"{value:g}"


class Chart:
    """The frame of a chart: title, axes from zero, and what is drawn inside, piece by piece."""

    def __init__(self, title: str, x_title: str, y_title: str, x_most: float, y_most: float) -> None:
        self.x_most, self.y_most = x_most or 1, y_most or 1
        middle = (LEFT + WIDTH - RIGHT) / 2
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT}>',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            f'<text x="{middle:g}" y="22" text-anchor="middle" font-size="14">{escape(title)}</text>',
            f'<text x="{middle:g}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_title)}</text>',
            f'<text transform="translate(16 {(TOP + HEIGHT - BOTTOM) / 2:g}) rotate(-90)" text-anchor="middle">'
            f"{escape(y_title)}</text>",
        ]

    def x(self, value: float) -> float:
        return LEFT + value / self.x_most * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self.y_most * (HEIGHT - TOP - BOTTOM)

    def y_axis(self) -> None:
        step = nice_step(self.y_most)
        for place in range(int(self.y_most / step) + 1):
            value = place * step
            y = self.y(value)
            self.parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e5e7eb"/>')
            self.parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')

    def x_label(self, place: float, text: str) -> None:
        y = HEIGHT - BOTTOM + 18
        self.parts.append(f'<text x="{place:.1f}" y="{y}" text-anchor="middle">{escape(text)}</text>')

    def legend(self, names: Sequence[str]) -> None:
        for place, name in enumerate(names):
            x, y = WIDTH - RIGHT + 12, TOP + 10 + 20 * place
            self.parts.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour(place)}"/>')
            self.parts.append(f'<text x="{x + 16}" y="{y}">{escape(name)}</text>')

    def text(self) -> str:
        return "\n".join([*self.parts, "</svg>", ""])


def colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def lines(title: str, x_title: str, y_title: str, series: Mapping[str, Points]) -> str:
    """Return a chart with one line per name, and the middle half of the samples as a bar at each point."""
    points = [point for each in series.values() for point in each]
    chart = Chart(title, x_title, y_title, max(p[0] for p in points), 1.05 * max(p[3] for p in points))
    chart.y_axis()
    marks = sorted({point[0] for point in points})
    for place, value in enumerate(marks):
        crowded = place + 1 < len(marks) and chart.x(marks[place + 1]) - chart.x(value) < 24
        if not crowded:
            chart.x_label(chart.x(value), number(value))
    for place, each in enumerate(series.values()):
        path = " ".join(f"{chart.x(x):.1f},{chart.y(y):.1f}" for x, y, _, _ in each)
        chart.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour(place)}" stroke-width="2"/>')
        for x, y, low, high in each:
            chart.parts.append(
                f'<path d="M{chart.x(x):.1f} {chart.y(low):.1f}V{chart.y(high):.1f}" stroke="{colour(place)}"/>'
                f'<circle cx="{chart.x(x):.1f}" cy="{chart.y(y):.1f}" r="3" fill="{colour(place)}"/>'
            )
    chart.legend(list(series))
    return chart.text()


def bars(title: str, y_title: str, groups: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    """Return a chart with a group of bars per word in groups, one bar per name."""
    chart = Chart(title, "", y_title, len(groups), 1.05 * max(max(values) for values in series.values()))
    chart.y_axis()
    width = 0.8 / len(series)
    for group, word in enumerate(groups):
        chart.x_label(chart.x(group + 0.5), word)
        for place, values in enumerate(series.values()):
            left, top = chart.x(group + 0.1 + place * width), chart.y(values[group])
            box = f'x="{left:.1f}" y="{top:.1f}" width="{chart.x(width) - LEFT:.1f}"'
            height = HEIGHT - BOTTOM - top
            chart.parts.append(f'<rect {box} height="{height:.1f}" fill="{colour(place)}"/>')
    chart.legend(list(series))
    return chart.text()
