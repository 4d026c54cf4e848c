"""The text of docs/metrics.md, from the table of metrics. `make docs` writes it."""

from collections.abc import Iterator

from postward.agent.metrics.catalog import METRICS


def reference() -> str:
    """Return the reference as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Metrics"
    yield ""
    yield "Generated from the table in `agent/metrics/catalog.py` by `make docs`; `/metrics` shows the same help."
    yield ""
    yield "`relay` is a relay's name in the settings, or `other`, `local` (delivered on this host) or `none` (no relay was"
    yield "reached, and the log does not name the intended one). All counters continue across restarts."
    yield "Where one agent serves several instances of Postfix, each metric also has the label `multi_instance`"
    yield "([instances](instances.md)). Where it reads the log of other hosts, their metrics have the label `log_host`"
    yield "([log sources](log-sources.md#the-log-of-several-hosts))."
    yield ""
    yield "| metric | type | labels | meaning |"
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
