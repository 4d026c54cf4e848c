"""`postward why` and `postward doctor` while Postfix's configuration differs from the settings."""

import json
from pathlib import Path

from tests.support import CA, PostfixInstance, Relay, require_postfix
from tests.support.product import AgentProcess, run_postward, write_settings


def test_drift_is_the_first_finding_and_no_login_goes_to_another_host(tmp_path: Path) -> None:
    """Without an enforcer that would repair it. The remedies of what describes the drift wait for its repair."""
    require_postfix()
    with Relay(CA()) as relay, PostfixInstance(tmp_path / "postfix") as postfix:
        file = write_settings(
            tmp_path, relay, postfix, password="secret", probe_recipient="", preflight=False
        )
        config = ("--config", str(file))
        assert run_postward("apply", *config).returncode == 0
        postfix.set(relayhost="[smtp.other.test]:25")
        with AgentProcess(file):
            why = run_postward("why", *config, "--json")
            doctor = run_postward("doctor", *config, "--no-relay", "--json")
    first = json.loads(why.stdout)["incidents"][0]
    findings = json.loads(doctor.stdout)["findings"]
    drift = next(row for row in findings if row["id"] == "config-drift")

    assert (first["symptom"], first["causes"][0]["remedy"]) == ("config-drift", "postward apply")
    assert "relayhost" in first["evidence"][0]
    assert (drift["severity"], drift["remedy"]) == ("error", "postward apply")
    assert "relayhost" in drift["what"]
    mismatch = next(row for row in findings if row["id"] == "password-key-mismatch")
    assert mismatch["remedy"].startswith("postward apply")
    assert not any("smtp.other.test" in row["remedy"] for row in findings)
