"""`postward relay`: transcript, JSON and exit status, on a real relay."""

import json
from pathlib import Path

from postward.parsers.scrub import MASK
from tests.relay import PASSWORD, USER
from tests.support import CA, Relay
from tests.support.product import run_postward


def test_it_prints_a_transcript_and_exits_by_the_result(tmp_path: Path) -> None:
    """Exit status 0 and 1, a readable transcript, JSON, other ports, and never the password."""
    ca = CA()
    ca_file = ca.write(tmp_path)
    with Relay(ca, users={USER: PASSWORD}) as running:
        settings = tmp_path / "postward.toml"
        password_file = tmp_path / "password"
        password_file.write_text(PASSWORD)
        state = tmp_path / "state"
        state.mkdir()
        settings.write_text(
            f'[host]\nmyhostname = "mx.example.test"\n[[relay]]\nname = "demo"\nhost = "localhost"\nport = {running.port}\n'
            f'tls = "starttls"\nca_file = "{ca_file}"\nusername = "{USER}"\npassword_file = "{password_file}"\n'
            f'[state]\ndirectory = "{state}"\n'
        )
        good = run_postward("relay", "--config", str(settings))
        running.users = {USER: "another"}
        bad = run_postward("relay", "--json", "--all-ports", "--config", str(settings))
        again = [run_postward("relay", "demo", "--config", str(settings)) for _ in range(3)]

    assert good.returncode == 0, good.stdout + good.stderr
    assert f"AUTH PLAIN {MASK}" in good.stdout
    assert bad.returncode == 1
    (checks,) = json.loads(bad.stdout)
    assert (checks[0]["step"], checks[0]["cause"]) == ("auth", "auth_rejected")
    assert [check["port"] for check in checks[1:]] == [587, 465, 2525, 25]
    assert [done.returncode for done in again] == [1, 1, 1]
    assert "no login attempted: rejected before" in again[-1].stdout
    assert sum(not attempt.accepted for attempt in running.auth_attempts) == 2
    for done in (good, bad, *again):
        assert "s3cret" not in done.stdout + done.stderr
