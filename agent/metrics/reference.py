"""docs/metrics.md, made from the table of metrics: `python -m postward.agent.metrics.reference > docs/metrics.md`."""

import sys
from collections.abc import Iterator

from postward.agent.metrics.catalog import METRICS


def reference() -> str:
    """The reference as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Metrics"
    yield ""
    yield "Made from the table in `agent/metrics/catalog.py` by `make docs`; `/metrics` shows the same text."
    yield ""
    yield "`relay` is a relay's name in the settings, else `other`, `local` (delivered on this host) or `none`"
    yield "(no relay was reached, and the log does not say which was meant). All counters continue across restarts."
    yield ""
    yield "| metric | type | labels | what it says |"
    yield "|---|---|---|---|"
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "–"
        yield f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |"
    yield ""
    yield "Upper bounds of the histogram buckets:"
    yield ""
    for metric in METRICS:
        if metric.buckets:
            yield f"- `{metric.name}` ({metric.unit}): {', '.join(f'{bound:g}' for bound in metric.buckets)}"


if __name__ == "__main__":
    sys.stdout.write(reference())
