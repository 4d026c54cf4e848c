"""Living hosts are adopted as they are: the plan is empty, and what changes in the settings later breaks no route."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from postward.agent.commands.adopt import command as adopt
from postward.agent.commands.apply import put_into_force
from postward.agent.commands.common import write_settings
from postward.agent.enforce.adoption import read_other
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.postfix.commands import Postfix
from postward.config.settings import Settings, load_settings
from tests.enforce.living.host import Host
from tests.enforce.living.layouts import HOSTS
from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for


@pytest.mark.parametrize("name", HOSTS)
def test_a_living_host_is_adopted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adopting changes nothing. A new password and a new port are applied, and all mail still takes its route."""
    monkeypatch.setenv("POSTWARD_ENFORCE__DIRECTORY", str(tmp_path / "enforce"))
    file = tmp_path / "adopted" / "postward.toml"
    with Host(name, tmp_path) as host:
        monkeypatch.setenv("POSTWARD_LOG__SOURCE", str(host.postfix.maillog))
        before = host.files()
        done = CliRunner().invoke(
            adopt,
            [
                *("--config", str(file), "--postfix", str(host.postfix.config_directory)),
                *("--yes", "--recipient", "probe@[127.0.0.2]"),
            ],
        )
        assert done.exit_code == 0, done.output
        assert "plan: empty" in done.output
        assert host.files() == before
        _no_secret_is_exposed(host, file, done.output)
        put_into_force(load_settings(file), _enforcer(file), verify=True)
        assert host.files() == before
        sent = [host.send_all(managed=False)]

        logins = _rotate(host, load_settings(file))
        put_into_force(load_settings(file), _enforcer(file), verify=True)
        sent.append(host.send_all(managed=False))

        # The login in a directory is for the former port, and the admin's to change.
        ports = [relay.port for relay in load_settings(file).relay if relay.host and not relay.login_table]
        for port in ports[:1]:
            old = next(hop for hop in host.hops.values() if hop.port == port)
            new = Relay(CA(), users=dict(old.users), tls=old.tls, auth_required=old.auth_required)
            with new:
                new.messages = old.messages
                moved = file.read_text().replace(f"\nport = {port}\n", f"\nport = {new.port}\n")
                file.write_text(moved)
                put_into_force(load_settings(file), _enforcer(file), verify=True)
                assert not _enforcer(file).look()[0]
                sent.append(host.send_all(managed=False))
                assert new.connections > 0
    print(f"\n{name:<22} relays {len(load_settings(file).relay)}  logins {logins}  routes {sent}")  # noqa: T201


def test_a_host_moves_from_another_program(tmp_path: Path) -> None:
    """Mail leaves with the login and the senders of ssmtp, and root's mail goes where it went."""
    require_postfix()
    root = tmp_path / "root"
    (root / "etc/ssmtp").mkdir(parents=True)
    with (
        Relay(CA(), users={"app@shop.example": "s3cret=1"}) as relay,
        PostfixInstance(tmp_path / "p") as postfix,
    ):
        (root / "etc/ssmtp/ssmtp.conf").write_text(
            f"root=ops@admin.example\nmailhub=127.0.0.1:{relay.port}\nhostname=web1.shop.example\nUseTLS=YES\n"
            "UseSTARTTLS=YES\nAuthUser=app@shop.example\nAuthPass=s3cret=1\n"
        )
        (root / "etc/ssmtp/revaliases").write_text("www-data:web@shop.example\n")
        adopted = read_other("ssmtp", root)
        file = tmp_path / "postward.toml"
        passwords = tmp_path / "passwords"
        write_settings(
            file,
            f'{adopted.text(passwords)}[postfix]\nconfig_directory = "{postfix.config_directory}"\n'
            f'[enforce]\ndirectory = "{tmp_path}/enforce"\n[log]\nsource = "{postfix.maillog}"\n',
            {passwords / name: text for name, text in adopted.passwords().items()},
        )
        put_into_force(load_settings(file), _enforcer(file), verify=True)
        for to, sender in (("a@b.example", "www-data"), ("a@b.example", "root"), ("root", "root")):
            postfix.sendmail(to, sender)
        wait_for(lambda: len(relay.messages) == 3, what="the mails at the relay")
    mails = {(mail.mail_from, *mail.rcpt_tos, mail.username) for mail in relay.messages}
    assert mails == {
        ("web@shop.example", "a@b.example", "app@shop.example"),
        ("root@web1.shop.example", "a@b.example", "app@shop.example"),
        ("root@web1.shop.example", "ops@admin.example", "app@shop.example"),
    }


def _enforcer(file: Path) -> Enforcer:
    settings = load_settings(file)
    return Enforcer(settings, Postfix(Path(settings.postfix.config_directory)))


def _rotate(host: Host, settings: Settings) -> int:
    """Change the passwords of the adopted logins at their relays and in their files. Return their number."""
    logins = [relay for relay in settings.relay if relay.password_file]
    for relay in logins:
        hop = next(hop for hop in host.hops.values() if hop.port == relay.port)
        hop.users[relay.username] = f"rotated {relay.username}: #1"
        Path(relay.password_file).write_text(f"{hop.users[relay.username]}\n")
    return len(logins)


def _no_secret_is_exposed(host: Host, file: Path, output: str) -> None:
    secrets = {password for hop in host.hops.values() for password in hop.users.values()}
    shown = output + file.read_text()
    assert not [secret for secret in secrets if re.search(rf"\b{secret}\b", shown)]
    assert {path.stat().st_mode & 0o777 for path in file.parent.glob("passwords/*")} <= {0o600}
