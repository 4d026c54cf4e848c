"""Random edits of managed and unmanaged parts of a Postfix configuration, while the enforcer runs and is killed.

Promise: a round ends only when the managed configuration is that of the settings, every edit of unmanaged parts is
still there, and a mail is delivered. The seed determines everything random, but not how far the enforcer gets between
two steps.
How it fails: AssertionError with the output of `postward plan` and of the agent.
"""

import random
import re
import signal
from pathlib import Path

from tests.support import CA, PostfixInstance, Relay, wait_for
from tests.support.product import AgentProcess, run_postward, write_settings

_USER, _PASSWORDS = "API_USER", ("s3cret-Gr33n-Fern", "s3cret-Bl8e-Moss")
_DEADLINE = 60.0  # seconds; a repair takes one or two
_BROKEN = (
    "smtp_tls_security_level=none",
    "relayhost=[other.test]:25",
    "smtp_sasl_auth_enable=no",
    "smtp_sasl_password_maps=",
    "smtp_tls_wrappermode=yes",
    "mynetworks=0.0.0.0/0",
)


class EditSoak:
    """One host, for any number of rounds.

    Attributes:
        steps: the steps of the current round.
        kills: how often the agent was killed with SIGKILL.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.steps: list[str] = []
        self.kills = 0
        self._random = random.Random(seed)  # noqa: S311 - the seed makes a run repeatable
        self._parameters: dict[str, str] = {}
        self._comments: list[str] = []
        self._service = ""
        self._helo_timeout = "5s"
        self._number = 0
        self._password = 0
        self._password_file = folder / "password"
        self.relay = Relay(CA(), "relay.example.test", users={_USER: _PASSWORDS[0]})
        self.relay.start()
        self.postfix = PostfixInstance(folder / "postfix")
        self.postfix.start()
        self._settings = write_settings(
            folder, self.relay, self.postfix, password=_PASSWORDS[0], enforce_interval=5
        )
        text = self._settings.read_text()
        self._settings.write_text(text.replace("[enforce]\n", "[enforce]\nmax_repairs_per_hour = 3600\n"))
        self.agent = AgentProcess(self._settings, "--enforce")
        self.agent.ready_timeout = _DEADLINE
        self.agent.start()
        self._settle()

    def close(self) -> None:
        """Stop the agent, Postfix and the relay."""
        self.agent.stop(signal.SIGKILL)
        self.postfix.stop()
        self.relay.stop()

    def summary(self) -> str:
        """Return the counts of edits and kills as text."""
        edits = len(self._parameters) + len(self._comments)
        return f"{edits} edits kept, {self.kills} kills"

    def _next(self) -> int:
        self._number += 1
        return self._number

    # Edits of unmanaged parts

    def _run_script(self) -> None:
        """Run several postconf commands, one after the other, as configuration management does."""
        for _ in range(self._random.randint(1, 12)):
            name, value = f"site_parameter_{self._next()}", str(self._number)
            self.postfix.set(**{name: value})
            self._parameters[name] = value

    def _save_in_editor(self) -> None:
        """Append a comment by renaming a new file over main.cf."""
        comment = f"# note {self._next()}"
        main_cf = self.postfix.config_directory / "main.cf"
        beside = main_cf.with_suffix(".swp")
        beside.write_text(f"{main_cf.read_text()}{comment}\n")
        beside.chmod(0o644)
        beside.replace(main_cf)
        self._comments.append(comment)

    def _change_service(self) -> None:
        self._service = f"{self._next()}s"
        self.postfix.set_service("smtp/unix/smtp_connect_timeout", self._service)

    # Drift of managed parts

    def _break_parameter(self) -> None:
        name, _, value = self._random.choice(_BROKEN).partition("=")
        self.postfix.set(**{name: value})

    def _save_in_place(self) -> None:
        """Change relayhost by overwriting main.cf in place.

        The line is replaced, because two lines for one parameter can stop Postfix (lint: duplicate-parameter-hangs).
        """
        main_cf = self.postfix.config_directory / "main.cf"
        main_cf.write_text(re.sub(r"(?m)^relayhost = .*", "relayhost = [in.place.test]", main_cf.read_text()))

    def _delete_table(self) -> None:
        name = self._random.choice(("sasl_passwd", "sasl_passwd.db"))
        (self.postfix.config_directory / name).unlink(missing_ok=True)

    def _expose_table(self) -> None:
        path = self.postfix.config_directory / self._random.choice(("sasl_passwd", "sasl_passwd.db"))
        if path.exists():
            path.chmod(0o644)

    def _overwrite_table(self) -> None:
        """Write another login of the relay over Postward's. A login of another hop would make the table the admin's."""
        entry = f"[127.0.0.1]:{self.relay.port} other:login\n"
        (self.postfix.config_directory / "sasl_passwd").write_text(entry)

    # Other changes

    def _change_password(self) -> None:
        """Change the password at the relay first, then in the password file. The relay rejects probes in between."""
        self._password ^= 1
        password = _PASSWORDS[self._password]
        self.relay.users[_USER] = password
        self._password_file.write_text(password)
        wait_for(lambda: password in self._table(), timeout=_DEADLINE, what="the new password to be in force")

    def _change_settings(self) -> None:
        self._helo_timeout = f"{self._random.randint(3, 60)}s"
        text = re.sub(
            r'smtp_helo_timeout = "\d+s"',
            f'smtp_helo_timeout = "{self._helo_timeout}"',
            self._settings.read_text(),
        )
        beside = self._settings.with_suffix(".new")
        beside.write_text(text)
        beside.replace(self._settings)

    def _kill(self) -> None:
        self.kills += 1
        self.agent.stop(signal.SIGKILL)
        self.agent.start()

    def _apply(self) -> None:
        """Run `postward apply` while the enforcer runs."""
        run_postward("apply", "--config", str(self._settings), "--no-verify")

    # Rounds

    def round(self) -> None:
        """Run random steps, then wait for sync, check the edits and wait for a mail to be delivered."""
        actions = [
            self._run_script,
            self._save_in_editor,
            self._change_service,
            self._break_parameter,
            self._save_in_place,
            self._delete_table,
            self._expose_table,
            self._overwrite_table,
            self._change_password,
            self._change_settings,
            self._kill,
            self._apply,
            self.postfix.reload,
            self.postfix.restart,
        ]
        self.steps.clear()
        for _ in range(self._random.randint(1, 6)):
            action = self._random.choice(actions)
            self.steps.append(action.__name__.strip("_"))
            action()
            # Let the enforcer proceed before the next step.
            for _ in range(self._random.choice((0, 0, 5, 20))):
                self.postfix.postconf("relayhost")
        self._settle()

    def _settle(self) -> None:
        try:
            wait_for(self._is_in_sync, timeout=_DEADLINE, what="the configuration to be in sync")
            self._check_edits()
            recipient = f"user{self._next()}@dest.test"
            self.postfix.sendmail(recipient)
            wait_for(
                lambda: any(recipient in mail.rcpt_tos for mail in self.relay.messages),
                timeout=_DEADLINE,
                what=f"mail to {recipient} to arrive",
            )
        except AssertionError as error:
            planned = run_postward("plan", "--config", str(self._settings)).stdout
            raise AssertionError(
                f"{error}\n{planned}\noutput of the agent: {self.agent.output()[-3000:]}"
            ) from None

    def _is_in_sync(self) -> bool:
        shown = self.agent.value("postward_config_in_sync") == 1
        return shown and run_postward("plan", "--config", str(self._settings)).returncode == 0

    def _check_edits(self) -> None:
        lines = set((self.postfix.config_directory / "main.cf").read_text().splitlines())
        wanted = [f"{name} = {value}" for name, value in self._parameters.items()] + self._comments
        wanted.append(f"smtp_helo_timeout = {self._helo_timeout}")
        assert [line for line in wanted if line not in lines] == [], "edits were lost"
        master_cf = (self.postfix.config_directory / "master.cf").read_text()
        assert f"smtp_connect_timeout={self._service}" in master_cf or not self._service
        assert self.postfix.is_running(), "Postfix does not run"

    def _table(self) -> str:
        path = self.postfix.config_directory / "sasl_passwd"
        return path.read_text() if path.exists() else ""
