"""The SASL plug-in: its messages byte by byte, what it refuses, and its use by a real Postfix."""

import subprocess
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from postward.agent.relay.endpoint import read_plugins
from postward.config.sasl import OWN_PLUGIN, SaslClient
from postward.parsers.postconf import split_list
from tests.support import CA, PostfixInstance, Relay, require_postfix
from tests.support.sasl import require_compiler, with_plugin
from tests.support.waiting import wait_for
from tools.sasl import build_harness

USER, TOKEN = "app@example.com", "eyJ0.tok-en_~+/=="
CONTINUE, FAILED, BAD_PROTOCOL, BAD_PARAMETER = 1, -1, -5, -7


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plug-in outside libsasl2, under the address sanitizer."""
    require_compiler()
    return build_harness(tmp_path_factory.mktemp("harness"))


def say(harness: Path, mechanism: str, user: bytes, token: bytes, *replies: bytes) -> list[tuple[str, bytes]]:
    """Return the steps of a login as (result, message), and remarks as (kind, text)."""
    texts = [text.hex() for text in (user, token, b"smtp.example.net", *replies)]
    done = subprocess.run(
        [harness, "say", mechanism, *texts], capture_output=True, text=True, check=True, timeout=60
    )
    rows = [line.split(" ", 1) for line in done.stdout.splitlines()]
    return [(kind, text.encode() if kind in {"log", "error"} else bytes.fromhex(text)) for kind, text in rows]


@pytest.mark.parametrize(
    ("mechanism", "user", "message"),
    [
        ("XOAUTH2", b"a,b=c@x", b"user=a,b=c@x\x01auth=Bearer T.k\x01\x01"),
        ("OAUTHBEARER", b"a,b=c@x", b"n,a=a=2Cb=3Dc@x,\x01host=smtp.example.net\x01auth=Bearer T.k\x01\x01"),
    ],
)
def test_the_first_message_has_user_and_token(
    harness: Path, mechanism: str, user: bytes, message: bytes
) -> None:
    """The form is that of the providers' documentation and of RFC 7628."""
    assert say(harness, mechanism, user, b"T.k") == [(str(CONTINUE), message)]


@pytest.mark.parametrize(("mechanism", "answer"), [("XOAUTH2", b""), ("OAUTHBEARER", b"\x01")])
def test_an_error_message_is_answered_once(harness: Path, mechanism: str, answer: bytes) -> None:
    """The status is logged, and nothing else of the server's message."""
    error = b'{ "status" : "401", "schemes":"bearer", "scope":"secret" }'
    _, log, second, third = say(harness, mechanism, b"u", b"T", error, error)
    assert log == ("log", f"postward: the relay refuses the token by {mechanism}, status 401".encode())
    assert second == (str(CONTINUE), answer)
    assert third == (str(BAD_PROTOCOL), b"")


@pytest.mark.parametrize("reply", [b"", b"\xff\x00", b'"status"', b'{"status":"12345"}', b'{"status":"40x"}'])
def test_another_reply_has_no_status(harness: Path, reply: bytes) -> None:
    """A reply without a status of three digits is answered likewise."""
    assert say(harness, "XOAUTH2", b"u", b"T", reply)[1][1].endswith(b"by XOAUTH2, status none")


@pytest.mark.parametrize(
    ("user", "token"),
    [
        (b"u\x01auth=Bearer other", b"T"),
        (b"u\n", b"T"),
        (b"u", b"T\x01\x01"),
        (b"u", b"T k"),
        (b"u", b""),
        (b"u" * 1025, b"T"),
        (b"u", b"T" * 16385),
    ],
    ids=[
        "^A in the user",
        "line end in the user",
        "^A in the token",
        "blank",
        "no token",
        "long user",
        "long token",
    ],
)
def test_a_login_that_could_forge_a_field_is_refused(harness: Path, user: bytes, token: bytes) -> None:
    """Nothing is sent, and the error names no content."""
    error, step = say(harness, "XOAUTH2", user, token)
    assert error[0] == "error"
    assert b"T" not in error[1].replace(b"OAuth2", b"")
    assert step == (str(BAD_PARAMETER), b"")


def test_long_tokens_are_sent_whole(harness: Path) -> None:
    """The longest token, at its limit."""
    assert say(harness, "XOAUTH2", b"u", b"T" * 16384)[0][1].count(b"T") == 16384


def test_random_logins_break_nothing(harness: Path) -> None:
    """A short run of the fuzzer, with failing allocations and callbacks: `python -m tools.sasl` takes longer."""
    done = subprocess.run(
        [harness, "fuzz", "2", "1"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) >= 1000


# --- with Postfix

_TOKENS = {"smtp_sasl_mechanism_filter": "xoauth2,oauthbearer", "smtp_sasl_tls_security_options": ""}
_PASSWORDS = {"smtp_sasl_mechanism_filter": "", "smtp_sasl_tls_security_options": "noanonymous"}


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Relay, PostfixInstance]]:
    """A relay, and a Postfix with the plug-in that sends to it with a token of 3000 bytes."""
    require_postfix()
    token = "t" * 3000
    with Relay(CA(), users={USER: token}) as relay:
        main_cf = {
            "relayhost": f"[127.0.0.1]:{relay.port}",
            "smtp_tls_security_level": "encrypt",
            "smtp_sasl_auth_enable": "yes",
            **with_plugin(),
        }
        postfix = PostfixInstance(tmp_path_factory.mktemp("postfix"), main_cf, chroot=True)
        table = postfix.config_directory / "sasl_passwd"
        table.write_text(f"[127.0.0.1]:{relay.port} {USER}:{token}\n")
        postfix.build_table(table)
        postfix.set(smtp_sasl_password_maps=f"hash:{table}")
        with postfix:
            yield relay, postfix


def mechanism_of(
    sender: tuple[Relay, PostfixInstance], offered: tuple[str, ...], name: str, **main_cf: str
) -> str:
    """Return the mechanism by which Postfix logs in to a relay with this offer, and delivers a mail."""
    relay, postfix = sender
    relay.forget()
    relay.mechanisms = offered
    postfix.set(**main_cf)
    postfix.reload()
    postfix.sendmail(f"{name}@dest.test")
    wait_for(lambda: postfix.log_lines(f"to=<{name}@dest.test>"), what="the delivery")
    (line,) = postfix.log_lines(f"to=<{name}@dest.test>")
    assert "status=sent" in line, line
    return relay.auth_attempts[0].mechanism


def plugins() -> frozenset[str]:
    """Return the plug-ins that the Postfix of these tests loads."""
    return (read_plugins() or frozenset()) | {OWN_PLUGIN}


@pytest.mark.parametrize(
    ("offered", "words"),
    [
        (("CRAM-MD5", "PLAIN"), ""),
        (("PLAIN", "CRAM-MD5"), ""),
        (("XOAUTH2", "CRAM-MD5", "LOGIN"), ""),
        (("CRAM-MD5", "PLAIN", "LOGIN"), "!cram-md5, static:all"),
        (("PLAIN", "LOGIN", "XOAUTH2"), "login"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else value or "any",
)
def test_the_choice_of_a_mechanism_is_foreseen(
    sender: tuple[Relay, PostfixInstance], offered: tuple[str, ...], words: str
) -> None:
    """The check of a relay sends a password only by the mechanism that Postfix takes."""
    main_cf = {**_PASSWORDS, "smtp_sasl_mechanism_filter": words}
    name = "-".join([*offered, words[1:4]]).lower()
    chosen = mechanism_of(sender, offered, name, **main_cf)
    client = SaslClient(plugins(), tuple(split_list(words)))
    assert client.choose(offered) == chosen


@pytest.mark.parametrize(
    "offered", [("LOGIN", "XOAUTH2"), ("OAUTHBEARER", "PLAIN")], ids=lambda names: names[0]
)
def test_postfix_sends_a_long_token(sender: tuple[Relay, PostfixInstance], offered: tuple[str, ...]) -> None:
    """From inside its chroot, and by no mechanism for passwords."""
    chosen = mechanism_of(sender, offered, f"token-{offered[0]}", **_TOKENS)
    assert chosen in {"XOAUTH2", "OAUTHBEARER"}
    assert SaslClient(plugins(), ("xoauth2", "oauthbearer"), frozenset()).choose(offered) == chosen


def test_the_plugin_takes_no_password(sender: tuple[Relay, PostfixInstance]) -> None:
    """With Postfix's usual security options the mechanisms for passwords are chosen, in whatever order they are offered."""
    for offered in permutations(("XOAUTH2", "LOGIN", "PLAIN")):
        name = "-".join(offered).lower()
        chosen = mechanism_of(sender, offered, name, **_PASSWORDS)
        assert chosen in {"LOGIN", "PLAIN"}
        assert SaslClient(plugins()).choose(offered) in {"LOGIN", "PLAIN"}


def test_a_refused_token_is_logged_without_it(sender: tuple[Relay, PostfixInstance]) -> None:
    """The log has the status of the error message and the relay's reply, and no part of the token."""
    relay, postfix = sender
    relay.mechanisms, relay.tokens = ("XOAUTH2",), lambda _user, _token: False
    postfix.set(**_TOKENS)
    postfix.reload()
    postfix.sendmail("refused@dest.test")
    wait_for(lambda: postfix.log_lines("to=<refused@dest.test>"), what="the refusal")
    assert postfix.log_lines("postward: the relay refuses the token by XOAUTH2, status 400")
    assert "said: 535 5.7.8" in postfix.log_lines("to=<refused@dest.test>")[0]
    assert "ttt" not in postfix.log()
