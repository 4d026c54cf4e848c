"""The web.config file: its keys take effect, faults are named, and a change takes effect without a restart."""

import base64
import os
import socket
import ssl
from pathlib import Path

import bcrypt
import pytest
import trustme

from postward.agent.http.auth import WebAccess
from postward.agent.http.web_config import WebConfigError, parse_web_config
from tests.http.serving import Endpoint, exchange, serving
from tests.support.waiting import wait_for

HASH = bcrypt.hashpw(b"letmein", bcrypt.gensalt(4)).decode()


def basic(name: str, password: str) -> str:
    """An Authorization header."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "tls_server_config:\n  cert_file: a.pem\n",
            "tls_server_config.key_file: is missing; write the file's path",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, min_version: TLS10}",
            "tls_server_config.min_version: is 'TLS10'; write one of: TLS12, TLS13",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAndVerifyClientCert}",
            "tls_server_config.client_ca_file: is missing; client certificates are verified by it",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_ca_file: c}",
            "tls_server_config.client_auth_type: is missing; write RequireAndVerifyClientCert",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, cipher_suites: [X]}",
            (
                "tls_server_config.cipher_suites: is not supported; there are: cert_file, key_file, client_auth_type, "
                "client_ca_file, client_allowed_sans, min_version, max_version, prefer_server_cipher_suites"
            ),
        ),
        (
            "basic_auth_users: {prom: secret}",
            'basic_auth_users.prom: must be a bcrypt hash; make one with: htpasswd -nBC 10 ""',
        ),
        (
            "http_server_config: {http2: true}",
            "http_server_config.http2: is not supported; leave it out, or write false",
        ),
        (
            "http_server_config: {headers: {X-Powered-By: x}}",
            (
                "http_server_config.headers.X-Powered-By: is not allowed; there are: Content-Security-Policy, "
                "Strict-Transport-Security, X-Content-Type-Options, X-Frame-Options, X-XSS-Protection"
            ),
        ),
        ("rate_limit: {interval: often}", "rate_limit.interval: must be a duration such as 1s or 100ms"),
        (
            "users: {}",
            "users: is not supported; there are: tls_server_config, http_server_config, basic_auth_users, rate_limit",
        ),
        ("a: [", "is not YAML in line 1"),
        ("a: 2026-99-99", "is not YAML that can be read"),
        ("[" * 100_000, "is not YAML that can be read"),
        (
            "basic_auth_users: {me: $2b$20$" + "a" * 53 + "}",
            (
                "basic_auth_users.me: must have a cost of at most 14, or a login takes seconds; "
                'make one with: htpasswd -nBC 10 ""'
            ),
        ),
        ("- x", "the file: must be a mapping; write key: value lines"),
    ],
)
def test_a_fault_is_named_and_no_password_shown(text: str, message: str) -> None:
    """The message names the key and the fix."""
    with pytest.raises(WebConfigError) as caught:
        parse_web_config(text, Path("/"))

    assert str(caught.value) == message


def test_an_empty_file_allows_every_request() -> None:
    """The exporter-toolkit does the same."""
    assert parse_web_config("", Path("/")).tls is None


def test_logins_are_required_except_of_supervisors(tmp_path: Path) -> None:
    """401 without the right login, for a name that does not exist and for garbage as well."""
    config = tmp_path / "web.yml"
    config.write_text(
        f"basic_auth_users:\n  prom: {HASH}\nhttp_server_config:\n  headers:\n    X-Frame-Options: deny\n"
    )
    with serving(config) as endpoint:

        def status(authorization: str) -> int:
            return endpoint.ask("GET /metrics", Authorization=authorization)[0]

        tries = [
            basic("prom", "letmein"),
            basic("prom", "x"),
            basic("eve", "letmein"),
            "Basic !",
            "Bearer x",
            "",
            basic("prom", "letmein" + "x" * 80),
        ]
        statuses = [status(text) for text in tries]
        _, headers, _ = endpoint.ask("GET /metrics")
        healthy = endpoint.ask("GET /-/healthy")[0]

    assert statuses == [200, 401, 401, 401, 401, 401, 401]
    assert (headers["www-authenticate"], headers["x-frame-options"]) == ("Basic", "deny")
    assert healthy == 200


def test_a_rate_limit_holds(tmp_path: Path) -> None:
    """`burst` requests at once, then one every `interval`."""
    now = [0.0]
    (config := tmp_path / "web.yml").write_text("rate_limit: {interval: 10s, burst: 2}")
    access = WebAccess(config, lambda: now[0])
    first = [access.within_rate() for _ in range(3)]
    now[0] = 10.5

    assert (first, access.within_rate(), access.within_rate()) == ([True, True, False], True, False)


def test_an_unchanged_file_is_read_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With TLS files named: polls log nothing, and an accepted login needs no second bcrypt."""
    now = [0.0]
    Authority(tmp_path).issue("one.test", "server")
    (config := tmp_path / "web.yml").write_text(
        f"tls_server_config: {{cert_file: server.crt, key_file: server.key}}\nbasic_auth_users: {{prom: {HASH}}}\n"
    )
    access = WebAccess(config, lambda: now[0])
    context = access.context()
    assert access.accepts_login(basic("prom", "letmein"))
    now[0] = 5.0
    caplog.set_level("INFO")
    access.poll()
    monkeypatch.setattr(bcrypt, "checkpw", lambda *_: False)

    assert access.context() is context
    assert access.accepts_login(basic("prom", "letmein"))
    assert caplog.messages == []


class Authority:
    """Certificates of an authority, as files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ca = folder, trustme.CA()
        self.ca.cert_pem.write_to_path(folder / "ca.pem")

    def issue(self, name: str, file: str) -> None:
        """A certificate and its key, moved into place at once."""
        certificate = self.ca.issue_cert(name)
        for blob, end in ((certificate.cert_chain_pems[0], "crt"), (certificate.private_key_pem, "key")):
            blob.write_to_path(self.folder / "new")
            (self.folder / "new").replace(self.folder / f"{file}.{end}")

    def client(self, own: str | None = None) -> ssl.SSLContext:
        """A client that trusts the authority, with or without a certificate of its own."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if own:
            context.load_cert_chain(self.folder / f"{own}.crt", self.folder / f"{own}.key")
        return context


def ask(endpoint: Endpoint, context: ssl.SSLContext, name: str) -> int:
    """The status of /metrics over TLS."""
    with (
        socket.create_connection(("127.0.0.1", endpoint.port), 10) as raw,
        context.wrap_socket(raw, server_hostname=name) as client,
    ):
        return exchange(client, "GET /metrics")[0]


def test_client_certificates_and_their_names(tmp_path: Path) -> None:
    """No certificate: no handshake. Another name than allowed: 403. Plain HTTP: no answer."""
    authority = Authority(tmp_path)
    for name, file in (("one.test", "server"), ("prom.test", "prom"), ("eve.test", "eve")):
        authority.issue(name, file)
    config = tmp_path / "web.yml"
    config.write_text(
        "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_ca_file: ca.pem\n"
        "  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [prom.test]\n"
    )
    with serving(config) as endpoint:
        assert ask(endpoint, authority.client("prom"), "one.test") == 200
        assert ask(endpoint, authority.client("eve"), "one.test") == 403
        with pytest.raises((ssl.SSLError, ConnectionError, IndexError)):
            ask(endpoint, authority.client(), "one.test")
        with pytest.raises((IndexError, ConnectionError)):
            endpoint.ask("GET /metrics")


def test_changed_files_take_effect_without_a_restart(tmp_path: Path) -> None:
    """The next connection uses them; a file that became bad is reported and changes nothing."""
    authority = Authority(tmp_path)
    authority.issue("one.test", "server")
    config = tmp_path / "web.yml"
    config.write_text("tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n")

    def answers(name: str) -> bool:
        try:
            return ask(endpoint, authority.client(), name) == 200
        except ssl.SSLError:
            return False

    with serving(config) as endpoint:
        assert answers("one.test")
        assert not answers("two.test")
        authority.issue("two.test", "server")
        wait_for(lambda: answers("two.test"), what="the new certificate")
        config.write_text("tls_server_config: {cert_file: server.crt")
        os.utime(config, (1, 1))
        access = endpoint.access
        wait_for(lambda: answers("two.test") and access.problem, what="the bad file to be noticed")
        config.write_text("")
        wait_for(lambda: access.context() is None and access.problem is None, what="plain HTTP")
        assert endpoint.ask("GET /metrics")[0] == 200
