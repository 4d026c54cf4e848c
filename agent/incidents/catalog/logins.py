"""Symptoms of logins: passwords, their table, SASL mechanisms."""

import re
from collections.abc import Collection

from postward.agent.incidents.symptom import (
    LOGIN_TABLE,
    Candidate,
    Certainty,
    Effect,
    Offer,
    Resolution,
    Symptom,
    words,
)
from postward.config.lint.facts import HostFacts
from postward.parsers import Cause

_TABLE = LOGIN_TABLE
# What the SASL library takes before PLAIN and LOGIN if it has it.
_STRONG = re.compile(r"(?:CRAM|DIGEST)-MD5|NTLM|GSSAPI|GSS-SPNEGO|SCRAM-.*|OTP")
_PASSWORDS = {"PLAIN", "LOGIN"}


def _without_oauth(facts: HostFacts, _domains: Collection[str]) -> bool | None:
    """No plug-in for OAuth2 is installed: False."""
    return (
        False
        if facts.sasl_plugins is not None and not any("oauth" in name for name in facts.sasl_plugins)
        else None
    )


def _offers_stronger(offer: Offer) -> bool:
    return any(_STRONG.fullmatch(name) for name in offer.mechanisms or ())


def _offers_only_stronger(offer: Offer) -> bool:
    return offer.mechanisms is not None and not offer.mechanisms & _PASSWORDS


# Why no password was sent, or none that was meant. Used by several symptoms.
KEY_MISMATCH = Candidate(
    "password-key", "the password table has no entry for this next hop: its key must be written exactly as relayhost",
    "relay.host, relay.port, relay.username", _TABLE,
    "write the key exactly as relayhost, then {postmap smtp_sasl_password_maps}",
    'postmap -q "$(postconf -hx relayhost)" "$(postconf -hx smtp_sasl_password_maps)" must print the login',
    ("password-key-mismatch", "password-line-indented", "password-line-with-equals", "password-line-without-login",
     "password-of-sender-unused"),
)  # fmt: skip
AUTH_OFF = Candidate(
    "auth-off", "the SMTP client is not told to log in", "relay.username", "smtp_sasl_auth_enable",
    "{set smtp_sasl_auth_enable=yes}", "postconf -h smtp_sasl_auth_enable", ("sasl-switched-off",),
)  # fmt: skip
TLS_OFF = Candidate(
    "tls-off", "no TLS is used, and the relay offers a login only under TLS", "relay.tls", "smtp_tls_security_level",
    "{set smtp_tls_security_level=encrypt}", "postconf -h smtp_tls_security_level", ("password-without-tls",),
)  # fmt: skip
_NULL_SENDER = Candidate(
    "no-password-for-bounces", "with sender-dependent logins, mail with an empty sender (bounces, probes) has no key",
    "relay.username", _TABLE, "add an entry for the next hop itself, then {postmap smtp_sasl_password_maps}",
    "is from=<> on the mail's qmgr line, and is smtp_sender_dependent_authentication = yes?", ("password-missing-for-bounces",),
)  # fmt: skip
_NO_LOGIN = (KEY_MISMATCH, AUTH_OFF, TLS_OFF, _NULL_SENDER)

_WRONG = Candidate(
    "password-wrong", "user name or password are wrong, changed, locked or revoked at the relay",
    "relay.username, relay.password_file", _TABLE,
    "put the login that the relay gave you into the settings, then {apply_login}",
    "does the login work at the relay's own web page?",
)  # fmt: skip
_TEXT = Candidate(
    "password-text", "the entry holds more or less than user:password: a comment, quotes, no colon, or a placeholder",
    "relay.password_file", _TABLE, "write one `key user:password` a line, without quotes and comments, then "
    "{postmap smtp_sasl_password_maps}", "the entry in the table's source: is it `key user:password`, and nothing else?",
    ("password-quoted", "password-with-comment", "password-without-colon", "password-empty", "password-placeholder"),
)  # fmt: skip
_STALE = Candidate(
    "index-stale", "the table was edited and postmap forgotten: the former password is in force", "relay.password_file",
    _TABLE, "{postmap smtp_sasl_password_maps}", "ls -l --time-style=full-iso of the table and of its .db (.lmdb): is the index older?", ("index-stale",),
)  # fmt: skip
_DUPLICATE = Candidate(
    "password-twice", "the key stands twice in the table, and the first one holds", "relay.password_file", _TABLE,
    "delete the old entry, then {postmap smtp_sasl_password_maps}", "grep -nF the next hop in the table's source: does it stand there twice?",
    ("password-key-duplicate",),
)  # fmt: skip
_STRONGER = Candidate(
    "mechanism-preferred", "the relay also offers CRAM-MD5, NTLM or the like, which is preferred and fails for this account",
    "main_cf.smtp_sasl_mechanism_filter", "smtp_sasl_mechanism_filter", '{set smtp_sasl_mechanism_filter=plain, login}',
    "postward relay shows what the relay offers",
    refuted_by=lambda offer: offer.mechanisms is not None and not _offers_stronger(offer),
)  # fmt: skip
_ACCOUNT = "nothing in the settings: the account at the relay"


def _rejected(
    name: str, title: str, says: str, candidate: Candidate, certainty: Certainty = Certainty.CERTAIN
) -> Symptom:
    return Symptom(name, title, (candidate,), certainty, Cause.AUTH_REJECTED, says=words(says))


SYMPTOMS: tuple[Symptom, ...] = (
    # --- 530: no login took place. Postfix bounces these.
    Symptom(
        "login-missing-tls-disabled", "no login took place because TLS is switched off by a faulty setting",
        (Candidate("ca-file", "smtp_tls_CAfile names a file that cannot be loaded, so Postfix switched TLS off, and the relay "
                   "offers a login only under TLS", "relay.ca_file", "smtp_tls_CAfile", "{set smtp_tls_CAfile={ca_file}}"),),
        cause=Cause.AUTH_REQUIRED, clue=words("disabling TLS support"), effect=Effect.LOST,
    ),
    Symptom("login-missing", "the relay wants a login, and none took place", _NO_LOGIN,
            cause=Cause.AUTH_REQUIRED, effect=Effect.LOST),
    # --- 535
    Symptom(
        "login-refused-bounces", "the relay refuses this login, and Postfix bounces instead of waiting",
        (Candidate("sasl-hard-bounce", "smtp_sasl_auth_soft_bounce = no makes every refused login a bounce",
                   "main_cf.smtp_sasl_auth_soft_bounce", "smtp_sasl_auth_soft_bounce", "{remove smtp_sasl_auth_soft_bounce}, "
                   "and put the right login into the settings"),),
        cause=Cause.AUTH_REJECTED, says=words(r"^status=bounced .*SASL "), effect=Effect.LOST,
    ),
    Symptom(
        "login-user-empty", "the login has no user name",
        (Candidate("password-user-empty", "the entry of the password table is `:`, without a user", "relay.username", _TABLE,
                   "write user:password, or no entry at all for a relay without login; then {postmap smtp_sasl_password_maps}"),),
        cause=Cause.AUTH_MECHANISM, clue=words("All-whitespace username"),
    ),
    _rejected("login-app-password", "the account has two-step verification: an app password is needed", r"InvalidSecondFactor|"
              "Application-specific password required", Candidate(
                  "app-password", "Google refuses the account's own password", "relay.password_file", _ACCOUNT,
                  "make an app password at myaccount.google.com/apppasswords, put it into relay.password_file without blanks, "
                  "then {apply_login}")),
    _rejected("login-refused-gmail", "Google refuses user name and password", "p=BadCredentials", Candidate(
        "app-password", "the password is wrong, or the account's own: Google takes app passwords only", "relay.password_file",
        _ACCOUNT, "make an app password at myaccount.google.com/apppasswords, put it into relay.password_file without blanks, then "
        "{apply_login}"), Certainty.LIKELY),
    _rejected("login-smtp-auth-disabled", "SMTP AUTH is switched off for this tenant or mailbox", "SmtpClientAuthentication is disabled"
              "|smtp_auth_disabled", Candidate(
                  "tenant", "Microsoft 365 does not let this mailbox log in by SMTP", _ACCOUNT, "Set-CASMailbox",
                  "Set-CASMailbox -Identity MAILBOX -SmtpClientAuthenticationDisabled $false")),
    _rejected("login-basic-retired", "the relay takes no passwords any more", r"5\.7\.30|Basic authentication is not supported",
              Candidate("tenant", "Microsoft has ended password logins for client submission", "relay.host", _ACCOUNT,
                        "use another relay, or OAuth2")),
    Symptom(
        "login-refused-stale", "the relay refuses this login, and the password table is older than its text",
        (Candidate("index-stale", "the table was edited and postmap forgotten: Postfix still uses the former password",
                   "relay.password_file", _TABLE, "{postmap smtp_sasl_password_maps}"),),
        Certainty.LIKELY, Cause.AUTH_REJECTED, clue=words(r"is older than source file"),
    ),
    Symptom("login-refused", "the relay refuses this login", (_WRONG, _TEXT, _STALE, _DUPLICATE, _STRONGER),
            cause=Cause.AUTH_REJECTED),
    Symptom(
        "login-temporary", "the relay cannot check logins at the moment",
        (Candidate("relay-backend", "the relay's own login service is out of order", "nothing in the settings: the relay", "-",
                   "wait; if it lasts longer than half an hour, ask the relay"),),
        cause=Cause.AUTH_TEMPORARY,
    ),
    # --- mechanisms
    Symptom(
        "mechanism-filtered", "the relay offers no mechanism that smtp_sasl_mechanism_filter lets through",
        (Candidate("mechanism-filter", "the filter leaves nothing of what the relay offers", "main_cf.smtp_sasl_mechanism_filter",
                   "smtp_sasl_mechanism_filter", "{remove smtp_sasl_mechanism_filter}"),),
        cause=Cause.AUTH_MECHANISM, says=words("offered no compatible authentication mechanisms"),
    ),
    Symptom(
        "mechanism-unknown-to-relay", "the relay does not know the mechanism that was chosen",
        (Candidate("mechanism-preferred", "the SASL library prefers GSSAPI, NTLM or the like, which the relay cannot do",
                   "main_cf.smtp_sasl_mechanism_filter", "smtp_sasl_mechanism_filter",
                   "{set smtp_sasl_mechanism_filter=plain, login}"),),
        Certainty.LIKELY, Cause.AUTH_MECHANISM, says=words(r"said: 50[34]"),
    ),
    Symptom(
        "mechanism-none", "there is no common way to log in",
        (
            Candidate("sasl-plugin", "the SASL plug-ins are not installed", "the host's packages", "libsasl2", "{install_sasl}",
                      "ls /usr/lib*/sasl2 /usr/lib/*/sasl2 must show libplain and liblogin", ("sasl-plugin-missing",)),
            Candidate("sasl-noplaintext", "smtp_sasl_security_options forbids PLAIN and LOGIN, and the relay offers nothing else",
                      "main_cf.smtp_sasl_security_options", "smtp_sasl_security_options, smtp_sasl_tls_security_options",
                      "{set smtp_sasl_security_options=noanonymous|smtp_sasl_tls_security_options=noanonymous}",
                      "postconf -x smtp_sasl_security_options smtp_sasl_tls_security_options", ("sasl-forbids-plain",)),
            Candidate("sasl-oauth-only", "the relay offers only XOAUTH2, OAUTHBEARER, NTLM or GSSAPI, or an empty list", "relay.host", "-",
                      "use another relay, or the sasl-xoauth2 plug-in", "postward relay shows what the relay offers",
                      proved_by=_offers_only_stronger, refuted_by=lambda offer: bool((offer.mechanisms or set()) & _PASSWORDS)),
            Candidate("mechanism-filter", "smtp_sasl_mechanism_filter leaves nothing that both sides know",
                      "main_cf.smtp_sasl_mechanism_filter", "smtp_sasl_mechanism_filter", "{remove smtp_sasl_mechanism_filter}",
                      "postconf -h smtp_sasl_mechanism_filter", hints=("sasl-mechanism-unknown",), needs=("smtp_sasl_mechanism_filter",)),
        ),
        cause=Cause.AUTH_MECHANISM, says=words("no mechanism available"),
    ),
    Symptom(
        "mechanism-dialogue", "the login's dialogue went wrong",
        (
            Candidate("relay-dialogue", "the relay's answers do not follow the mechanism: a broken relay or something in between",
                      "relay.host", "-", "try {set smtp_sasl_mechanism_filter=plain}, and ask the relay",
                      "postward relay shows the dialogue"),
            Candidate("oauth-token", "an OAuth2 plug-in got no token", "the sasl-xoauth2 configuration", "sasl-xoauth2",
                      "read the plug-in's own log", "is sasl-xoauth2 in use?", host=_without_oauth),
        ),
        cause=Cause.AUTH_MECHANISM,
    ),
    # --- the table of passwords cannot be read: the delivery says "local data error"
    Symptom(
        "password-table-missing", "the password table was never built",
        (Candidate("index-missing", "the index of the password table is missing", "relay.password_file", _TABLE,
                   "{postmap smtp_sasl_password_maps}"),),
        cause=Cause.LOCAL_CONFIG, says=words("local data error"), clue=words(r"sasl\S* is unavailable\. .*No such file|open database \S*sasl\S*: No such file"),
    ),
    Symptom(
        "password-table-damaged", "the password table is damaged, or of another type",
        (Candidate("index-damaged", "the index is not of the type that main.cf names", "relay.password_file", _TABLE,
                   "{anew smtp_sasl_password_maps}"),),
        cause=Cause.LOCAL_CONFIG, says=words("local data error"), clue=words(r"Invalid argument|Inappropriate file type"),
    ),
    Symptom(
        "password-table-unreadable", "a lookup table may not be read, and mail waits for it",
        (Candidate("password-proxied", "proxymap(8) opens tables without root's rights, and the table is root's alone",
                   "relay.password_file", _TABLE, "name the table without proxy: in front, then {reload}"),),
        daemon="proxymap", says=words(r"is unavailable\. open .*Permission denied"), proof=Resolution.LEFT,
    ),
    Symptom(
        "map-type-unsupported", "this Postfix does not know the type of a lookup table",
        (Candidate("map-type", "the package for that type is not installed, or this Postfix was built without it",
                   "postfix.map_type", "default_database_type", "use a type that postconf -m lists, or {install_map}"),),
        cause=Cause.LOCAL_CONFIG, says=words("local data error"), clue=words("unsupported dictionary type"),
    ),
    Symptom(
        "lookup-failed", "a lookup table cannot be used",
        (Candidate("table", "Postfix could not look something up on the way to the login", "relay.password_file", _TABLE,
                   "{postmap smtp_sasl_password_maps}", "the warnings of smtp(8) before this line name the table"),),
        Certainty.LIKELY, Cause.LOCAL_CONFIG, says=words("local data error"),
    ),
    # --- smtp(8) dies of it: no delivery has a status
    Symptom(
        "sasl-no-table", "smtp(8) cannot start: a login is wanted, and no password table is named",
        (Candidate("sasl-without-passwords", "smtp_sasl_auth_enable = yes and smtp_sasl_password_maps is empty",
                   "relay.username, relay.password_file", "smtp_sasl_password_maps", "{set_login}"),),
        says=words(r"specify a password table via the .smtp_sasl_password_maps"),
    ),
    Symptom(
        "sasl-type", "smtp(8) cannot start: smtp_sasl_type is for servers",
        (Candidate("sasl-type", "the SMTP client knows cyrus alone", "main_cf.smtp_sasl_type", "smtp_sasl_type",
                   "{remove smtp_sasl_type}"),),
        says=words("unsupported SASL client implementation"),
    ),
    Symptom(
        "sasl-option", "smtp(8) cannot work: a SASL security option is misspelt",
        (Candidate("sasl-option", "a word of smtp_sasl_security_options does not exist", "main_cf.smtp_sasl_security_options",
                   "smtp_sasl_security_options", "{set smtp_sasl_security_options=noanonymous}"),),
        says=words(r"unknown SASL security options value|bad per-session SASL security properties|SASL per-connection initialization"),
    ),
    Symptom(
        "password-duplicate", "a key stands twice in a table, and the first one holds",
        (_DUPLICATE,), says=words(r"duplicate entry: "), daemon="postmap", effect=Effect.NOTE, proof=Resolution.STARTED,
    ),
)  # fmt: skip
