"""Charts as inline SVG: no script, nothing fetched, legible without colours through titles."""

from collections.abc import Sequence
from html import escape
from typing import Final

_WIDTH: Final = 900
_HEIGHT: Final = 160
COLOURS: Final = {
    "sent": "#2e7d32",
    "deferred": "#f9a825",
    "bounced": "#c62828",
    "rejected": "#6a1b9a",
    "received": "#1565c0",
}

Series = tuple[str, Sequence[int]]  # name, a value for each step


def stacked_bars(title: str, labels: Sequence[str], series: Sequence[Series]) -> str:
    """Bars over time, each stacked of the series' values."""
    highest = max((sum(values) for values in zip(*(values for _, values in series), strict=True)), default=0)
    if not highest:
        return ""
    step = _WIDTH / len(labels)
    bars = []
    for place, label in enumerate(labels):
        top = float(_HEIGHT)
        words = ", ".join(f"{name} {values[place]:,}" for name, values in series)
        parts = []
        for name, values in series:
            height = values[place] * _HEIGHT / highest
            top -= height
            if height:
                parts.append(
                    f'<rect x="{place * step:.2f}" y="{top:.2f}" width="{max(step - 1, 0.5):.2f}" height="{height:.2f}"'
                    f' fill="{COLOURS[name]}"/>'
                )
        bars.append(f"<g><title>{escape(f'{label}: {words}')}</title>{''.join(parts)}</g>")
    # Not in the picture, which shrinks with the window.
    ends = (
        f"<span>{escape(labels[0])}</span><span>highest: {highest:,}</span><span>{escape(labels[-1])}</span>"
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 1}" role="img" aria-label="{escape(f"{title}, at most {highest:,} in one bar")}">'
        f'{"".join(bars)}<line x1="0" y1="{_HEIGHT}" x2="{_WIDTH}" y2="{_HEIGHT}" class="axis"/></svg><p class="ends">{ends}</p>'
    )


def legend(names: Sequence[str]) -> str:
    """What the colours mean."""
    return "".join(
        f'<span class="key"><i style="background:{COLOURS[name]}"></i>{escape(name)}</span>' for name in names
    )


def bar(value: float, highest: float, colour: str) -> str:
    """A horizontal bar for a table's cell."""
    width = 100 * value / highest if highest else 0
    return f'<svg viewBox="0 0 100 8" class="bar" aria-hidden="true"><rect width="{width:.1f}" height="8" fill="{colour}"/></svg>'
