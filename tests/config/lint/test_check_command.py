"""`postward check` on a host: findings with their remedies, and its exit status."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from postward.agent.commands import check
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.facts import read_host_facts
from postward.config.lint import HostFacts, lint
from tests.config.lint.healthy import write_desired
from tests.config.lint.host import SECRETS, Host
from tests.config.samples import load
from tests.support.product import run_postward

_SETTINGS = (
    '[host]\nprofile = "send-only"\nmyhostname = "client.example.test"\n[[relay]]\nname = "a"\nhost = "smtp.relay.test"\n'
    'username = "relay-user"\npassword = "Gr33n-Fern-s3cret"\n[postfix]\nconfig_directory = "{etc}"\n'
)


def _settings(host: Host, folder: Path) -> Path:
    text = _SETTINGS.format(etc=host.etc)
    write_desired(host, text)
    path = folder / "postward.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_findings_are_printed_and_exit_with_status_3(host: Host, tmp_path: Path) -> None:
    """A mistake from a how-to guide is reported with place, reason and remedy."""
    path = _settings(host, tmp_path)
    host.set("smtp_tls_wrappermode = yes")
    done = run_postward("check", "--config", str(path))
    line = host.main_cf.splitlines().index("smtp_tls_wrappermode = yes") + 1

    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == f"{path}: 1 error"
    assert (
        "error   wrappermode-on-starttls-port\n"
        f"  {host.etc}/main.cf:{line}: smtp_tls_wrappermode is yes, and [smtp.relay.test]:587 greets in clear text and offers STARTTLS\n"
        "  why:  Postfix expects TLS, and the relay greets in clear text: no mail leaves "
        "(wrong version number, Cannot start TLS).\n"
        "  remedy: postward apply\n"
    ) in done.stdout
    assert all(secret not in done.stdout + done.stderr for secret in SECRETS)


def test_json_has_settings_findings_and_unread_files(host: Host, tmp_path: Path) -> None:
    """The output is one JSON object; --no-host reads no file of the host."""
    path = _settings(host, tmp_path)
    host.set("soft_bounce = yes")
    done = run_postward("check", "--json", "--config", str(path))
    alone = run_postward("check", "--json", "--no-host", "--config", str(path))
    printed = json.loads(done.stdout)

    assert set(printed) == {"files", "settings", "findings", "unread"}
    assert [finding["id"] for finding in printed["findings"]] == ["soft-bounce"]
    assert set(printed["findings"][0]) == {"id", "severity", "where", "what", "why", "remedy"}
    assert (done.returncode, alone.returncode, json.loads(alone.stdout)["findings"]) == (3, 0, [])
    assert all(secret not in done.stdout for secret in SECRETS)


@pytest.mark.parametrize("command", [["check"], ["doctor", "--no-relay"]], ids=["check", "doctor"])
def test_parts_that_cannot_be_read_are_listed(command: list[str], host: Host, tmp_path: Path) -> None:
    """Standard error has a line for each part that was not checked, with the reason."""
    path = _settings(host, tmp_path)
    (tmp_path / "table").mkdir()
    host.set(f"virtual_alias_maps = texthash:{tmp_path}/table")
    done = run_postward(*command, "--config", str(path))

    assert f"not checked: {tmp_path}/table: Is a directory\n" in done.stderr


def test_no_findings_are_summarized_as_no_problem() -> None:
    """Without errors and warnings the summary reports no problem."""
    assert check._summary([]) == "no problem found"


def _unprivileged_check(host: Host) -> subprocess.CompletedProcess[str]:
    """Print the findings and the unread files as an unprivileged user sees them."""
    program = (
        "import os; from pathlib import Path\n"
        "from postward.agent.postfix.facts import read_host_facts, unread_of; from postward.agent.postfix.commands import Postfix\n"
        "from postward.config.lint import lint\n"
        "os.setgid(65534); os.setgroups([]); os.setuid(65534)\n"
        f"facts = read_host_facts(Postfix(Path({str(host.etc)!r})), None, None, Path({str(host.system)!r}))\n"
        "print([finding.id for finding in lint(None, facts)], *unread_of(facts), sep='\\n')\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )


@pytest.mark.parametrize("name", ["sasl_passwd", "main.cf", "master.cf"])
def test_without_root_unreadable_files_are_reported(host: Host, name: str) -> None:
    """A file that only root may read is named as unread and causes no finding."""
    (host.etc / name).chmod(0o600)
    done = _unprivileged_check(host)

    assert done.stdout.splitlines() == [
        "[]",
        f"{host.etc}/{name}: Permission denied; use sudo to include it",
    ], done.stderr


def test_without_postfix_the_settings_are_checked(tmp_path: Path) -> None:
    """The missing configuration directory is named."""
    facts = read_host_facts(Postfix(tmp_path / "nowhere"), None, None)

    assert facts.defaults == {}
    assert len(facts.unread) == 1
    assert "is postfix.config_directory right" in facts.unread[0]
    assert (
        lint(
            load(
                '[host]\nprofile = "send-only"\nmyhostname = "a.test"\n[[relay]]\nname = "a"\nhost = "b.test"\n'
            ),
            facts,
        )
        == []
    )


@pytest.mark.parametrize(
    ("release", "package"),
    [
        ('ID=ubuntu\nID_LIKE="debian"\n', "apt-get install libsasl2-modules"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf install cyrus-sasl-plain"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "zypper install cyrus-sasl-plain"),
        ("ID=alpine\n", "apk add cyrus-sasl cyrus-sasl-login"),
        ("ID=void\n", "install the package libsasl2-modules or cyrus-sasl-plain"),
    ],
)
def test_remedies_use_the_package_manager_of_the_distribution(host: Host, release: str, package: str) -> None:
    """The remedy installs the package with the SASL plug-in for PLAIN."""
    host.write("etc/os-release", release).remove("usr/lib/sasl2/libplain.so.2", "usr/lib/sasl2/liblogin.so.2")
    (finding,) = host.findings()

    assert finding.remedy.startswith(package)


def test_empty_facts_stand_for_an_unknown_host() -> None:
    """--no-host uses the empty value."""
    assert (HostFacts().version, HostFacts().routes, HostFacts().level) == ((0, 0), (), (0, 0))
