"""Charts as inline SVG: no script, nothing fetched, legible without colours through titles.

Colours are classes of `style.css`, named after the series.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from markupsafe import Markup, escape

_WIDTH: Final = 900
_HEIGHT: Final = 160
_MIN_HEIGHT: Final = 2.0  # one mail beside a million is still seen

Series = Mapping[str, Sequence[int]]  # name → a value for each step


def highest(series: Series) -> int:
    """Return the largest sum of a step."""
    return max((sum(values) for values in zip(*series.values(), strict=True)), default=0)


def stacked_bars(title: str, labels: Sequence[str], series: Series) -> Markup:
    """Return bars over time, each stacked of the values of a step.

    Args:
        title: read aloud in the place of the chart.
        labels: of the steps; each bar shows its own with its values.
        series: the values; one class of colour for each.
    """
    top = highest(series) or 1
    step = _WIDTH / max(1, len(labels))
    bars = []
    for place, label in enumerate(labels):
        values = {name: column[place] for name, column in series.items()}
        text = ", ".join(f"{name} {value:,}" for name, value in values.items())
        bars.append(
            f"<g><title>{escape(f'{label}: {text}')}</title>{_stack(values, place * step, step, top)}</g>"
        )
    return Markup(  # noqa: S704 - of numbers and escaped text
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 1}" role="img" aria-label="{escape(title)}">{"".join(bars)}'
        f'<line x1="0" y1="{_HEIGHT}" x2="{_WIDTH}" y2="{_HEIGHT}" class="axis"/></svg>'
    )


def _stack(values: Mapping[str, int], x: float, step: float, top: int) -> str:
    y = float(_HEIGHT)
    shapes = []
    for name, value in values.items():
        if value:
            height = max(value * _HEIGHT / top, _MIN_HEIGHT)
            y = max(y - height, 0.0)
            shapes.append(
                f'<rect x="{x:.2f}" y="{y:.2f}" width="{step * 0.9:.2f}" height="{height:.2f}" class="c-{escape(name)}"/>'
            )
    return "".join(shapes)


def bar(value: float, top: float, name: str) -> Markup:
    """Return a horizontal bar for a table's cell. The number beside it is its text alternative."""
    width = 100 * value / top if top else 0
    return Markup(  # noqa: S704 - of a number and escaped text
        '<svg viewBox="0 0 100 8" preserveAspectRatio="none" class="bar" aria-hidden="true">'
        f'<rect width="{width:.1f}" height="8" class="c-{escape(name)}"/></svg>'
    )
