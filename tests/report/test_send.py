"""Reports that the timer sends: once by each way, by mail through a real relay and to a web hook."""

import json
from datetime import datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path

from click.testing import CliRunner, Result

from postward.agent.commands.report import command
from postward.agent.text import local_now
from tests.incidents.test_notify import SECRET, hook
from tests.report.test_period import sent
from tests.support import CA, Fault, Relay

USER, PASSWORD = "API_USER", "s3cret-Gr33n-Fern"


def prepare(folder: Path, relay: Relay, more: str) -> Path:
    """Write a log with mail of yesterday and of the day before, and settings; return their file."""
    noon = datetime.combine(local_now() - timedelta(days=1), datetime.min.time()).replace(hour=12)
    days = [noon - timedelta(days=2), *[noon - timedelta(days=1)] * 2, *[noon] * 3]
    (folder / "mail.log").write_text("".join(sent(day, number=n) for n, day in enumerate(days)))
    file = folder / "postward.toml"
    file.write_text(
        f'[host]\nmyhostname = "mx.example.test"\n[[relay]]\nname = "demo"\nhost = "localhost"\nport = {relay.port}\n'
        f'tls = "starttls"\nallow_unusual_port = true\nusername = "{USER}"\npassword = "{PASSWORD}"\n'
        f'ca_file = "{folder / "ca.pem"}"\n[log]\nsource = "{folder / "mail.log"}"\n'
        f'[state]\ndirectory = "{folder}"\n{more}'
    )
    return file


def run(settings: Path) -> Result:
    """`postward report --send`, in this process."""
    return CliRunner().invoke(command, ["--send", "--config", str(settings)])


def test_a_report_leaves_once_by_each_way(tmp_path: Path) -> None:
    """A relay that refuses the mail, then takes it; the web hook that took the report gets it only once."""
    ca = CA()
    ca.write(tmp_path)
    with Relay(ca, users={USER: PASSWORD}) as relay, hook([]) as (url, received):
        more = f'[notify]\nwebhook_url = "{url}"\n[report]\nsend = "daily"\nmail_to = "ops@example.net"\nwebhook = true\n'
        settings = prepare(tmp_path, relay, more)
        with relay.failing(Fault(step="data", reply="452 4.3.1 full")):
            first = run(settings)
        second, third = run(settings), run(settings)

    assert (first.exit_code, second.exit_code, third.exit_code) == (1, 0, 0)
    assert "report.mail_to: relay demo: " in first.stderr
    assert first.stdout.startswith("sent by webhook: Mail of mx.example.test on ")
    assert second.stdout.startswith("sent by mail: ")
    assert third.stdout == "the report has been sent before\n"
    [(line, _, body)] = received
    assert line == f"POST /{SECRET}"
    posted = json.loads(body)
    assert posted["event"] == "report"
    assert posted["report"]["totals"]["delivered"] == 3
    [mail] = [row for row in relay.messages if row.rcpt_tos == ["ops@example.net"]]
    assert mail.tls
    assert mail.username == USER
    message = message_from_bytes(mail.data, policy=default)
    assert message["Subject"].endswith(": 3 delivered (+50%), 0 bounced, 0 incidents")
    assert message["Auto-Submitted"] == "auto-generated"
    text, page = message.iter_parts()
    assert "before: 2  +50%" in text.get_content()
    assert page.get_filename() == "report.html"
    assert page.get_content().startswith("<!doctype html>")
    assert PASSWORD not in first.output + second.output


def test_no_report_is_sent_by_default(tmp_path: Path) -> None:
    """The timer runs on every host; without [report] it does nothing."""
    ca = CA()
    ca.write(tmp_path)
    with Relay(ca, users={USER: PASSWORD}) as relay:
        result = run(prepare(tmp_path, relay, ""))

        assert result.exit_code == 0
        assert result.stdout == 'no report is sent: report.send is "never"\n'
        assert relay.messages == []
