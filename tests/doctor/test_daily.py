"""The agent's daily look at the senders' domains."""

import asyncio
from pathlib import Path

from postward.agent.doctor.daily import SYMPTOM, DomainLook
from postward.agent.doctor.domains import Dns, DnsError
from postward.agent.incidents.catalog.table import SYMPTOMS
from postward.config.settings import load_settings
from tests.support.name_server import Records, name_server
from tests.support.waiting import wait_for_async

_GOOGLE: Records = {("_spf.google.com", "TXT"): ['"v=spf1 ip4:192.0.2.0/24 ~all"']}


def _look(folder: Path, records: Records, *, interval: int = 86400, fails: bool = False) -> DomainLook:
    """Return a look that has looked once."""
    path = folder / "postward.toml"
    path.write_text(
        '[host]\nmyhostname = "mail.shop.org"\n[[relay]]\nname = "main"\nprovider = "gmail-relay"\n'
        f"[probe]\ndomain_check_interval_seconds = {interval}\n"
    )
    looks: list[None] = []

    async def main() -> DomainLook:
        with name_server(records) as resolver:

            def ask() -> Dns:
                looks.append(None)
                if fails:
                    raise DnsError("no resolver")
                return Dns(resolver)

            look = DomainLook(load_settings(path), ask, first_after=0)
            task = asyncio.create_task(look.run())
            await wait_for_async(lambda: look.conditions() or task.done() or (fails and looks), what="a look")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return look

    return asyncio.run(main())


def test_a_warning_is_a_condition_and_its_end_too(tmp_path: Path) -> None:
    """The symptom is in the catalogue. Missing DMARC, a note, is none."""
    bad = _look(tmp_path, _GOOGLE).conditions()
    good = _look(
        tmp_path, {**_GOOGLE, ("shop.org", "TXT"): ['"v=spf1 include:_spf.google.com -all"']}
    ).conditions()

    assert bad == {SYMPTOM: "shop.org has no SPF record"}
    assert good == {SYMPTOM: None}
    assert SYMPTOM in SYMPTOMS


def test_without_an_answer_nothing_is_known(tmp_path: Path) -> None:
    """It does not end the part."""
    assert _look(tmp_path, {}, fails=True).conditions() == {}


def test_the_look_can_be_switched_off(tmp_path: Path) -> None:
    """With the interval 0, the part ends at once."""
    assert _look(tmp_path, {}, interval=0).conditions() == {}
