"""docs/runbooks/README.md: the list of runbooks, of each alert and each cause."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from grafana.alerts import ALERTS
from postward.parsers import Cause
from tools.reference.markdown import wrapped

_FOLDER: Final = Path(__file__).parents[2] / "docs/runbooks"
_LAYERS: Final = {
    "blindness": "Blindness: while one of these fires, other alerts are not reliable",
    "cause": "Causes",
    "symptom": "Symptoms",
}

_INTRODUCTION = """\
# Runbooks

One page for each alert and each cause: what it means, what to check, how to fix it, and when it is fixed. Alerts link
to these pages. `make docs` makes this list from the tables of alerts and causes.

Start on the host with `postward why`: it names the cause, the setting to blame and the remedy
([incidents](../incidents.md)). `postward status` shows the state of the host on one screen.

The pages read `/var/log/mail.log`. On RHEL it is `/var/log/maillog`. If there is only the journal (Debian 13), replace
the file by `journal`, as in `postward parse --cause dns journal`; with `grep`, read `journalctl SYSLOG_FACILITY=2`.

## Alerts
"""


def runbooks() -> str:
    """Return the page."""
    return _INTRODUCTION + "\n".join(_lists()) + "\n"


def _lists() -> Iterator[str]:
    for layer, heading in _LAYERS.items():
        yield f"\n**{heading}**\n"
        for alert in ALERTS:
            if alert.layer == layer:
                yield _item(f"[{alert.name}]({alert.name}.md) ({alert.severity}): {alert.summary}")
    yield "\n## Causes\n\nEach failed delivery attempt has exactly one cause.\n"
    for cause in sorted(Cause):
        title = (_FOLDER / f"causes/{cause}.md").read_text(encoding="utf-8").partition("\n")[0]
        yield _item(f"[{cause}](causes/{cause}.md): {title.partition(': ')[2]}")


def _item(text: str) -> str:
    return wrapped(f"- {text}", indent="  ")
