"""Charts as inline SVG: no script, nothing fetched, legible without colours through titles."""

from collections.abc import Sequence
from html import escape
from typing import Final

_WIDTH: Final = 900
_HEIGHT: Final = 160
_FOOT: Final = 18
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
    foot = (
        f'<text x="0" y="{_HEIGHT + 14}">{escape(labels[0])}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 14}" text-anchor="end">{escape(labels[-1])}</text>'
        f'<text x="4" y="12">{highest:,}</text>'
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _FOOT}" role="img" aria-label="{escape(title)}">'
        f'{"".join(bars)}<line x1="0" y1="{_HEIGHT}" x2="{_WIDTH}" y2="{_HEIGHT}" class="axis"/>{foot}</svg>'
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
