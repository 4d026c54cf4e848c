"""The conversation of `postward init`: each answer is checked when it is given, and a wrong one is asked for again.

The order is that of the checks. The relay is tried before its login is asked for, and the password is the last answer;
it is asked for again only if the relay rejects the login. At the end the relay has accepted login, sender and the
recipient of probes, as far as it says so before a mail.

Without a terminal, the options are the answers, and the first wrong one raises `AnswerError`.
"""

import asyncio
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from postward.agent.oauth2.request import TokenError
from postward.agent.relay.check import RelayCheck, check_relay
from postward.agent.relay.endpoint import ALTERNATIVE_PORTS, RelayEndpoint, login_endpoint, read_client
from postward.agent.setup.questions import QUESTIONS, TLS_MODES, Question, Terminal
from postward.agent.setup.reach import find_ways
from postward.config.fields import is_address, is_host_name
from postward.config.initial import Answers, answer_faults, settings_of
from postward.config.oauth2 import grants_of
from postward.config.passwords import password_fault
from postward.config.providers import CLOSED_PORTS, PROVIDERS, find_provider, provider_of, region_of
from postward.config.relay import Relay, TlsMode, split_notation, with_port_and_tls
from postward.parsers import Cause

_BY_PASSWORD = "password"  # noqa: S105 -- an answer
_SECRETS = {
    "client_credentials": "The client secret",
    "service_account": "The service account's key, in one line of JSON",
    "refresh_token": "The refresh token",
}
_MAX_REFUSED_LOGINS = 3  # providers block a login after several wrong passwords
_STEPS = {
    "dns": "its name is not found",
    "connect": "it accepts no connection",
    "greeting": "it does not greet",
    "ehlo": "it refuses this host's greeting (EHLO)",
    "tls": "TLS does not begin",
    "certificate": "its certificate is refused",
    "auth": "it refuses the login",
    "mail_from": "it refuses the sender",
    "rcpt_to": "it refuses a recipient",
}


class AnswerError(Exception):
    """An answer is wrong, and no terminal is there to ask again. The text names the option, or the relay's refusal."""


class Conversation:
    """A conversation.

    Args:
        given: the options of the command; None for those that were not given.
        terminal: the terminal; None if all answers come from options and defaults.
        proposed: key of a question → the default of its answer.
        token_of: returns an access token for a relay and the secret of its grant; raises TokenError.
        only_sends: returns whether this host is to receive nothing; it may ask.
        ipv4_only: the host has no IPv6 route.

    Attributes:
        answers: the answers so far.
        check: the last check of the relay.
    """

    def __init__(
        self,
        given: Mapping[str, Any],
        terminal: Terminal | None,
        *,
        proposed: Mapping[str, str],
        token_of: Callable[[Relay, str], str],
        only_sends: Callable[[], bool],
        ipv4_only: bool,
    ) -> None:
        self._given = {key: value for key, value in given.items() if value is not None}
        self._terminal = terminal
        self._proposed = proposed
        self._token_of = token_of
        self._only_sends = only_sends
        self.answers = Answers(
            sender=self._given.get("sender", ""),
            secret_expires=self._given.get("secret_expires", ""),
            ipv4_only=ipv4_only,
        )
        self.check: RelayCheck | None = None

    def run(self) -> str | None:
        """Ask everything. Return the password or secret; None for a relay without a login. Raises AnswerError."""
        self._ask_relay()
        self._find_way()
        self._ask_grant()
        self._ask_username()
        self._ask_application()
        self._ask_sender()
        self._ask("myhostname")
        self._ask("admin")
        self._ask("recipient")
        self.answers = replace(self.answers, send_only=self._only_sends())
        return self._log_in()

    # The questions

    def _ask(
        self, key: str, default: str = "", *, text: str = "", empty: str = "", again: bool = False
    ) -> None:
        """Take the answer to a question that is an attribute of `Answers`, from its option at first."""
        default = default or self._proposed.get(key, "")
        if again:
            default = str(getattr(self.answers, key) or default)
        while True:
            value: object = self._option(key, again=again)
            if value is None:
                value = self._answer(QUESTIONS[key], default, text=text, empty=empty)
            if fault := self._accept(key, value):
                self._refuse(key, fault)
                again = True
                continue
            return

    def _option(self, key: str, *, again: bool) -> Any:
        return None if again else self._given.get(key)

    def _answer(self, question: Question, default: str, *, text: str = "", empty: str = "") -> str:
        if self._terminal is None:
            if default or empty or question.empty:
                return default
            raise AnswerError(f"{question.option} is required")
        return self._terminal.ask(question, default, text=text, empty=empty)

    def _accept(self, key: str, value: object) -> str | None:
        """Take an answer if it is right; else return its fault."""
        if key == "port":
            text = str(value)
            if text and not (text.isascii() and text.isdecimal() and 0 < int(text[:6]) < 65536):
                return "must be a number from 1 to 65535"
            value = int(text) if text else None
        if key == "tls" and value not in TLS_MODES:
            return f"must be one of {', '.join(TLS_MODES)}"
        if key == "grant" and value not in (kinds := self._kinds_of_login()):
            return f"must be one of {', '.join(kinds)}"
        changes: dict[str, Any] = {key: "" if value == _BY_PASSWORD else value}
        answers = replace(self.answers, **changes)
        faults = answer_faults(answers)
        if key not in faults:
            self.answers = answers
        return faults.get(key)

    def _refuse(self, key: str, fault: str) -> None:
        if self._terminal is None:
            raise AnswerError(f"{QUESTIONS[key].option}: {fault}")
        self._terminal.say(f"  {fault}")

    def _say(self, text: str) -> None:
        if self._terminal is not None:
            self._terminal.say(text)

    # The relay

    def _ask_relay(self, *, again: bool = False) -> None:
        """Ask for provider or host, and for the provider's region."""
        given = {} if again else self._given
        port = given.get("port")
        self.answers = replace(self.answers, provider="", region="", host="", port=None, tls="")
        if provider := given.get("provider"):
            self.answers = replace(self.answers, provider=provider, host=given.get("host", ""))
        elif not (host := given.get("host")) or (fault := self._take_relay(host)):
            if host:
                self._refuse("relay", fault or "")
            while fault := self._take_relay(
                self._answer(QUESTIONS["relay"], self._proposed.get("relay", ""))
            ):
                self._refuse("relay", fault)
        if "{region}" in (self.provider.host if self.provider else "") and not self.answers.host:
            self._ask_region(again=again)
        for key, value in (("port", port), ("tls", given.get("tls"))):
            if value and (fault := self._accept(key, value)):
                self._refuse(key, fault)

    @property
    def provider(self) -> Any:
        """The preset; None without one."""
        return PROVIDERS.get(self.answers.provider)

    def _take_relay(self, text: str) -> str | None:
        """Take a provider or host name as people write it; return the fault of another text."""
        bare, port = split_notation(text)
        name = find_provider(bare)
        is_host = (is_host_name(bare) and "." in bare) or is_address(bare)
        if name is None and not is_host:
            close = difflib.get_close_matches(bare.lower(), PROVIDERS, 3)
            hint = f"did you mean {' or '.join(close)}?" if close else "? lists the providers"
            return f'"{text}" is neither a known provider nor a full host name; {hint}'
        host = bare if is_host and (name is None or provider_of(bare)) else ""
        region = ""
        if name:
            region = region_of(host, PROVIDERS[name])
            host = "" if region or host.lower() == PROVIDERS[name].host else host
        self.answers = replace(self.answers, provider=name or "", host=host, region=region)
        return self._accept("port", port) if port else None

    def _ask_region(self, *, again: bool) -> None:
        while True:
            if not self.answers.region:
                self._ask("region", again=again)
            if re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", self.answers.region):
                return
            self._refuse("region", f'must be a region, as in eu-west-1, not "{self.answers.region}"')
            self.answers, again = replace(self.answers, region=""), True

    def _find_way(self) -> None:
        """Try the relay until it answers, and note port and TLS. Other ports and another relay are asked for."""
        while True:
            endpoint = self._endpoint(None)
            ports = self._ports()
            self._say(f"trying {endpoint.host}, port {', '.join(map(str, ports))} …")
            checks = find_ways(endpoint, ports, cast("TlsMode", self.answers.tls) or None)
            if found := next((check for check in checks if check.ok), None):
                self._note_way(found)
                return
            failed = max(checks, key=lambda check: len(check.steps))
            others = [] if failed.step == "dns" else self._other_ways(endpoint, ports)
            offered = ", ".join(f"{check.port} ({check.tls})" for check in others)
            reason = _reason(failed) + (f"; these ports answer: {offered}" if offered else "")
            if self._terminal is None:
                raise AnswerError(f"nothing was written: {reason}")
            self._say(f"  {reason}")
            if others:
                self.answers = replace(self.answers, port=None, tls="")
                self._ask("port", str(others[0].port), again=True)
            elif failed.cause is Cause.TLS_NOT_OFFERED and failed.starttls is False:
                self.answers = replace(self.answers, port=failed.port)
                self._ask("tls", "opportunistic", again=True)
            else:
                if failed.step == "connect":
                    self._say("  a firewall may block the ports, or the relay's name is another one")
                self._ask_relay(again=True)
                if failed.step != "dns" and self.answers.port is None:
                    self._ask("port", again=True)

    def _ports(self) -> list[int]:
        answers = self.answers
        if answers.port:
            return [answers.port]
        if answers.provider:
            return [settings_of(answers).relay[0].port]
        implicit = answers.tls == "implicit"
        return (
            [465] if implicit else [port for port in ALTERNATIVE_PORTS if not (answers.tls and port == 465)]
        )

    def _other_ways(self, endpoint: RelayEndpoint, tried: list[int]) -> list[RelayCheck]:
        """Return the checks of other ports that answer, of those that the provider may serve."""
        closed = {*tried, *CLOSED_PORTS.get(self.answers.provider, ())}
        ports = [port for port in ALTERNATIVE_PORTS if port not in closed]
        return [check for check in find_ways(endpoint, ports, None) if check.ok]

    def _note_way(self, found: RelayCheck) -> None:
        """Keep port and TLS as answers, if they are not the ones that follow from the other settings."""
        bare = replace(self.answers, port=None, tls="")
        usual = settings_of(bare).relay[0]
        port = None if found.port == usual.port else found.port
        derived = with_port_and_tls({"port": found.port})["tls"] if port else usual.tls
        tls = self.answers.tls if "tls" in self._given else ""
        self.answers = replace(bare, port=port, tls=tls or ("" if derived == found.tls else found.tls))
        self.check = found
        self._say(f"  {found.host} answers on port {found.port} ({found.tls})")
        if found.problem:
            self._say(
                f"  its certificate is not valid: {found.problem}. Another host in its place could read the password"
            )

    # The login

    def _kinds_of_login(self) -> tuple[str, ...]:
        identity = self.provider.identity if self.provider else None
        return (*(grants_of(identity) if identity else ()), _BY_PASSWORD)

    def _ask_grant(self) -> None:
        """Ask whether tokens take the place of a password, where the provider gives tokens."""
        if "grant" in self._given:
            self._ask("grant")
        elif len(self._kinds_of_login()) > 1 and self._terminal and not self._has_password():
            kinds = self._kinds_of_login()
            usual = kinds[0] if self.provider.identity.device_endpoint else _BY_PASSWORD
            self._ask("grant", usual, text=f"{QUESTIONS['grant'].text} ({', '.join(kinds)})")

    def _has_password(self) -> bool:
        return "password_file" in self._given or self._given.get("username") == ""

    def _ask_application(self, *, again: bool = False) -> None:
        """Ask for the application by which the provider gives tokens."""
        if self.answers.grant and self.answers.provider == "office365":
            self._ask("tenant", again=again)
        if self.answers.grant not in {"", "service_account"}:
            self._ask("client_id", again=again)

    def _ask_username(self, *, again: bool = False) -> None:
        provider = self.provider
        if provider and provider.username and "username" not in self._given:
            self.answers = replace(self.answers, username=provider.username)
            return
        text = f"The login at {provider.title}: {provider.login}" if provider and provider.login else ""
        self._ask("username", text=text, again=again)

    def _ask_sender(self) -> None:
        """Ask for one sender of all mail where the provider does not accept every sender."""
        provider, username = self.provider, self.answers.username
        if "rewrite_sender" in self._given:
            self._ask("rewrite_sender")
        elif provider and provider.senders == "login" and "@" in username:
            only = f"{provider.title} accepts no sender but its login. {QUESTIONS['rewrite_sender'].text}"
            self._ask("rewrite_sender", username, text=only, empty="mail of other senders bounces")
        elif provider and provider.senders == "verified" and self._terminal:
            only = f"{provider.title} accepts only senders that it has verified"
            self._ask("rewrite_sender", text=f"{only}. {QUESTIONS['rewrite_sender'].text}")

    def _secret(self, *, again: bool = False) -> str | None:
        """Return the password or secret, from its file or the terminal; None for a relay without a login.

        A sign-in by a device code needs none, and has "".
        """
        if not self.answers.username:
            return None
        file = self._option("password_file", again=again)
        if file is None and self.answers.grant == "device_code":
            return ""
        if file is not None:
            password = str(file.read()).rstrip("\r\n")
            if (fault := password_fault(password)) is None:
                return password
            if self._terminal is None:
                raise AnswerError(f"--password-file: the password {fault}")
            self._say(f"  the password {fault}")
        if self._terminal is None:
            raise AnswerError("--password-file is required")
        kind = self.provider.credential if self.provider else ""
        text = f"The password of {self.answers.username}" + (f": {kind}" if kind else "")
        return self._terminal.secret(_SECRETS.get(self.answers.grant, text), password_fault)

    def _password(self, secret: str | None) -> tuple[str | None, str | None]:
        """Return the secret and the password that it stands for, which is a token if the relay takes tokens."""
        for _ in range(_MAX_REFUSED_LOGINS):
            if secret is None or not self.answers.grant:
                return secret, secret
            try:
                return secret, self._token_of(settings_of(self.answers).relay[0], secret)
            except TokenError as error:
                problem = f"nothing was written: {error}"
                if self._terminal is None:
                    raise AnswerError(problem) from None
                self._say(f"  {error}")
            self._ask_application(again=True)
            secret = self._secret(again=True)
        raise AnswerError(problem)

    def _log_in(self) -> str | None:
        """Try login, sender and recipient until the relay accepts them, and return the password or secret."""
        (secret, password), refused = self._password(self._secret()), 0
        while True:
            endpoint = self._endpoint(password)
            self.check = check = asyncio.run(check_relay(endpoint))
            in_clear = (
                check.ok and self.answers.username and not check.tls_version and check.auth != "accepted"
            )
            if check.ok and not in_clear:
                return secret
            refused += check.cause is Cause.AUTH_REJECTED
            reason = f"the login would not be sent, since {check.auth_detail}" if in_clear else _reason(check)
            if self._terminal is None:
                raise AnswerError(f"nothing was written: {reason}")
            if refused == _MAX_REFUSED_LOGINS:
                raise AnswerError(
                    f"nothing was written: {reason}. This was attempt {refused}: more could block the login"
                )
            self._say(f"  {reason}")
            if self._correct(check) or not self.answers.username:
                secret, password = self._password(self._secret(again=True))

    def _correct(self, check: RelayCheck) -> bool:
        """Ask again for the answer that the relay refuses. Return True if the password is to be asked for too."""
        needs_login = check.cause in {Cause.AUTH_REQUIRED, Cause.RELAY_DENIED} and not self.answers.username
        if check.ok or check.cause in {Cause.AUTH_REJECTED, Cause.AUTH_MECHANISM} or needs_login:
            self._ask_username(again=True)
            return True
        if check.step == "dns":
            self._ask_relay(again=True)
            self._find_way()
        elif check.step == "ehlo":
            self._ask("myhostname", again=True)
        elif check.step == "mail_from":
            self._ask("rewrite_sender", again=True)
        elif check.step == "rcpt_to":
            self._ask("recipient" if check.refused == self.answers.recipient else "admin", again=True)
        elif self._terminal is None or not self._terminal.agree("Try again?", default=True):
            raise AnswerError(f"nothing was written: {_reason(check)}")
        return False

    def _endpoint(self, password: str | None) -> RelayEndpoint:
        """Return the relay as Postfix would use it with the answers so far."""
        settings = settings_of(self.answers)
        endpoint = login_endpoint(settings.relay[0], settings, password, read_client(settings))
        sender = settings.host.rewrite_sender or settings.probe_sender
        recipients = dict.fromkeys(filter(None, (settings.probe.recipient, settings.host.admin)))
        return replace(endpoint, envelope=(sender, *recipients))


def _reason(check: RelayCheck) -> str:
    """Return why a check failed, in a line."""
    step = _STEPS.get(check.step, check.step) + (f" {check.refused}" if check.refused else "")
    return f"{check.host}:{check.port}: {step}: {check.cause} ({check.detail})"
