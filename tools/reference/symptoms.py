"""docs/symptoms.md: every symptom of the catalogue of incidents, with its possible causes."""

import importlib
from collections.abc import Iterator, Sequence
from typing import Final

from postward.agent.incidents.catalog.symptom import Symptom
from postward.agent.incidents.remedies import fill_in_names
from tools.reference.markdown import cell, plain

# Module of the catalogue → heading, in the order of the page.
SUBJECTS: Final = {
    "logins": "Logins",
    "tls": "TLS",
    "openssl": "OpenSSL",
    "network": "Network and name lookup",
    "replies": "Replies of servers",
    "tables": "Lookup tables",
    "services": "Services of Postfix",
    "configuration": "Configuration",
    "host": "This host",
    "watching": "Postward itself, the log, the queue and the probes",
}

_INTRODUCTION = """\
# Symptoms

A symptom is a sign in the log, of a probe, of the queue or of the enforcer. Its name is the label `symptom` of
`postward_incident_open`. `postward why` prints the causes that are left on a host, each with its remedy.
[Incidents](incidents.md) explains the effects, and [certainty](certainty.md) how facts of the host leave one cause of
several. `make docs` makes this page from `agent/incidents/catalog/`.
"""


def symptoms() -> str:
    """Return the page."""
    return _INTRODUCTION + "\n".join(_sections()) + "\n"


def _sections() -> Iterator[str]:
    for module, heading in SUBJECTS.items():
        rows: Sequence[Symptom] = importlib.import_module(
            f"postward.agent.incidents.catalog.{module}"
        ).SYMPTOMS
        yield f"\n## {heading}\n\n| symptom | effect | meaning | possible causes |\n|---|---|---|---|"
        for identifier in dict.fromkeys(row.id for row in rows):
            same = [row for row in rows if row.id == identifier]
            causes = dict.fromkeys(_text(one.what) for row in same for one in row.candidates)
            listed = (
                [f"{number}. {cause}" for number, cause in enumerate(causes, 1)]
                if len(causes) > 1
                else causes
            )
            yield f"| `{identifier}` | {same[0].effect} | {_text(same[0].title)} | {'<br>'.join(listed)} |"


def _text(text: str) -> str:
    return cell(plain(fill_in_names(text, {})).strip())
