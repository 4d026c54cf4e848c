"""Symptoms of logins: passwords, the password table, SASL mechanisms."""

import re
from collections.abc import Collection

from postward.agent.incidents.catalog.openssl import ENGINE_FAULTS
from postward.agent.incidents.catalog.symptom import (
    LOGIN_TABLE,
    Candidate,
    Changes,
    Offer,
    Resolution,
    Symptom,
    pattern,
)
from postward.agent.incidents.catalog.tables import ODD_NAME, odd_name
from postward.agent.incidents.model import Effect
from postward.config.lint.facts import HostFacts
from postward.config.oauth2 import MECHANISMS
from postward.parsers import Cause

# Mechanisms that the SASL library prefers to PLAIN and LOGIN.
_STRONG = re.compile(r"(?:CRAM|DIGEST)-MD5|NTLM|GSSAPI|GSS-SPNEGO|SCRAM-.*|OTP")
_OAUTH = pattern("oauth")
_PASSWORDS = {"PLAIN", "LOGIN"}
# The header of a failure that sasl-xoauth2 logs (src/log.cc): under its own name or smtp's, with a time or without.
_XOAUTH2 = r"sasl-xoauth2(?:\[\d+\])?[\]:] *(?:auth failed: )?(?:[-\d]+ [:\d]+: )?"


def _without_oauth(facts: HostFacts, _domains: Collection[str]) -> bool | None:
    """Rule out an OAuth2 plug-in if none is installed."""
    return (
        False
        if facts.sasl_plugins is not None and not any("oauth" in name for name in facts.sasl_plugins)
        else None
    )


def _with_oauth(facts: HostFacts, _domains: Collection[str]) -> bool | None:
    """Rule out a filter of mechanisms on a host that logs in with OAuth2: it would end every login."""
    return False if any("oauth" in name for name in facts.sasl_plugins or ()) else None


def _with_tokens(facts: HostFacts, _domains: Collection[str]) -> bool | None:
    """Rule out a wrong password on a host whose filter allows tokens only."""
    words = set(facts.explicit.get("smtp_sasl_mechanism_filter", "").lower().replace(",", " ").split())
    return False if words and words <= set(MECHANISMS) else None


def _bounces_refused_logins(facts: HostFacts, _domains: Collection[str]) -> bool | None:
    """Confirm the cause if main.cf sets smtp_sasl_auth_soft_bounce = no; -o options of master.cf may set it, too."""
    return True if facts.explicit.get("smtp_sasl_auth_soft_bounce") == "no" else None


def _offers_stronger(offer: Offer) -> bool:
    return any(_STRONG.fullmatch(name) for name in offer.mechanisms or ())


def _offers_only_stronger(offer: Offer) -> bool:
    return offer.mechanisms is not None and not offer.mechanisms & _PASSWORDS


# Why no password was sent, or not the intended one. Used by several symptoms.
_KEY_MISMATCH = Candidate(
    id="password-key",
    what="the password table has no entry for this next hop: the key must be written exactly as in relayhost",
    setting="relay.host, relay.port, relay.username",
    parameter=LOGIN_TABLE,
    remedy="write the key exactly as in relayhost, then {postmap smtp_sasl_password_maps}",
    changes=Changes.WRITES,
    check=(
        'postmap -q "$(postconf -hx relayhost)" "$(postconf -hx smtp_sasl_password_maps)" must print the '
        "login"
    ),
    lint_decides=(
        "password-key-mismatch",
        "password-line-indented",
        "password-line-with-equals",
        "password-line-without-login",
        "password-of-sender-unused",
    ),
)
_AUTH_OFF = Candidate(
    id="auth-off",
    what="the SMTP client is not configured to log in",
    setting="relay.username",
    parameter="smtp_sasl_auth_enable",
    remedy="{set smtp_sasl_auth_enable=yes}",
    changes=Changes.WRITES,
    check="postconf -h smtp_sasl_auth_enable",
    lint_decides=("sasl-switched-off",),
)
_TLS_OFF = Candidate(
    id="tls-off",
    what="TLS is not used, and the relay offers a login only under TLS",
    setting="relay.tls",
    parameter="smtp_tls_security_level",
    remedy="{set smtp_tls_security_level=encrypt}",
    changes=Changes.WRITES,
    check="postconf -h smtp_tls_security_level",
    lint_decides=("password-without-tls",),
)
_NULL_SENDER = Candidate(
    id="no-password-for-bounces",
    what="logins are sender-dependent, and mail with an empty sender (bounces, probes) has no key",
    setting="relay.username",
    parameter=LOGIN_TABLE,
    remedy="add an entry for the next hop, then {postmap smtp_sasl_password_maps}",
    changes=Changes.WRITES,
    check="is from=<> on the mail's qmgr line, and is smtp_sender_dependent_authentication = yes?",
    lint_decides=("password-missing-for-bounces",),
)
_NO_LOGIN = (_KEY_MISMATCH, _AUTH_OFF, _TLS_OFF, _NULL_SENDER)

_WRONG = Candidate(
    id="password-wrong",
    what="the user name or password is wrong, changed, locked or revoked at the relay",
    setting="relay.username, relay.password_file",
    parameter=LOGIN_TABLE,
    remedy="write the login from the relay into relay.username and {password_file}, then {apply_login}",
    changes=Changes.WRITES,
    check="does the login work on the relay's web site?",
    host_check=_with_tokens,
)
_TEXT = Candidate(
    id="password-text",
    what="the entry is not user:password: it has a comment, quotes, no colon, or a placeholder",
    setting="relay.password_file",
    parameter=LOGIN_TABLE,
    remedy=(
        "write one `key user:password` per line, without quotes or comments, then "
        "{postmap smtp_sasl_password_maps}"
    ),
    changes=Changes.WRITES,
    check="is the entry in the table's source exactly `key user:password`?",
    lint_decides=(
        "password-quoted",
        "password-with-comment",
        "password-without-colon",
        "password-empty",
        "password-placeholder",
    ),
)
_STALE = Candidate(
    id="index-stale",
    what="the table was edited without postmap: the old password is in force",
    setting="relay.password_file",
    parameter=LOGIN_TABLE,
    remedy="{postmap smtp_sasl_password_maps}",
    changes=Changes.WRITES,
    check="ls -l --time-style=full-iso on the table and its .db (.lmdb): is the index older?",
    lint_decides=("index-stale",),
)
_DUPLICATE = Candidate(
    id="password-twice",
    what="the key appears twice in the table, and the first entry is used",
    setting="relay.password_file",
    parameter=LOGIN_TABLE,
    remedy="delete the old entry, then {postmap smtp_sasl_password_maps}",
    changes=Changes.WRITES,
    check="grep -nF the next hop in the table's source: does it appear twice?",
    lint_decides=("password-key-duplicate",),
)
_STRONGER = Candidate(
    id="mechanism-preferred",
    what=(
        "the relay also offers CRAM-MD5, NTLM or similar, which Postfix prefers and which fails for this "
        "account"
    ),
    setting="main_cf.smtp_sasl_mechanism_filter",
    parameter="smtp_sasl_mechanism_filter",
    remedy="{set smtp_sasl_mechanism_filter=plain, login}",
    changes=Changes.WRITES,
    check="postward relay shows the mechanisms that the relay offers",
    refuted_by=_OAUTH,
    host_check=_with_oauth,
    offer_refutes=lambda offer: offer.mechanisms is not None and not _offers_stronger(offer),
)
_ACCOUNT = "nothing in the settings: the account at the relay"


SYMPTOMS: tuple[Symptom, ...] = (
    # 530: no login took place. Postfix bounces the mail.
    *(
        Symptom(
            id="login-missing-tls-disabled",
            title="no login took place because a faulty file switched TLS off",
            cause=cause,
            context=pattern("disabling TLS support"),
            effect=Effect.LOST,
            candidates=(
                Candidate(
                    id="ca-file",
                    what=(
                        "smtp_tls_CAfile or smtp_tls_CApath cannot be loaded: Postfix switched TLS off, and the "
                        "relay requires it"
                    ),
                    setting="relay.ca_file",
                    parameter="smtp_tls_CAfile, smtp_tls_CApath",
                    certain_by=pattern("Certificate Authority data|CAfile=|CApath="),
                    remedy="{set smtp_tls_CAfile={ca_file}}",
                    changes=Changes.WRITES,
                    check="is smtp_tls_CAfile a readable file, and smtp_tls_CApath a directory?",
                ),
                Candidate(
                    id="tls-files",
                    what="Postfix's own certificate or key cannot be loaded, which switched TLS off",
                    setting="main_cf.smtp_tls_cert_file",
                    parameter="smtp_tls_chain_files, smtp_tls_cert_file, smtp_tls_key_file",
                    certain_by=pattern("chain file|certificate from file|private key|key.certificate pair"),
                    refuted_by=pattern("Certificate Authority data|CAfile=|CApath="),
                    remedy="repair the file in the line, or remove these parameters from main.cf; then {reload}",
                    changes=Changes.WRITES,
                    check="postconf -n smtp_tls_chain_files smtp_tls_cert_file smtp_tls_key_file",
                ),
                *ENGINE_FAULTS,
            ),
        )
        for cause in (Cause.AUTH_REQUIRED, Cause.TLS_REQUIRED)
    ),
    *(
        Symptom(
            id="login-missing-tls-unused",
            title="no login took place: the relay offers STARTTLS, and Postfix does not use it",
            cause=cause,
            context=pattern("Host offered STARTTLS"),
            effect=Effect.LOST,
            candidates=(
                Candidate(
                    id="tls-off",
                    what="TLS is switched off, and the relay offers a login only under TLS",
                    setting="relay.tls",
                    parameter="smtp_tls_security_level",
                    remedy="{set smtp_tls_security_level=encrypt}",
                    changes=Changes.WRITES,
                    check="postconf -h smtp_tls_security_level smtp_sasl_auth_enable",
                    lint_proves=("password-without-tls",),
                ),
            ),
        )
        for cause in (Cause.AUTH_REQUIRED, Cause.TLS_REQUIRED, Cause.RELAY_DENIED)
    ),
    Symptom(
        id="login-missing",
        title="the relay requires a login, and none took place",
        cause=Cause.AUTH_REQUIRED,
        effect=Effect.LOST,
        candidates=_NO_LOGIN,
    ),
    # 535
    Symptom(
        id="login-refused-bounces",
        title="the relay refuses this login, and Postfix bounces the mail instead of deferring it",
        cause=Cause.AUTH_REJECTED,
        text=pattern("^status=bounced .*SASL "),
        effect=Effect.LOST,
        candidates=(
            Candidate(
                id="sasl-hard-bounce",
                what="smtp_sasl_auth_soft_bounce = no turns every refused login into a bounce",
                setting="main_cf.smtp_sasl_auth_soft_bounce",
                parameter="smtp_sasl_auth_soft_bounce",
                remedy="{remove smtp_sasl_auth_soft_bounce}, and write the correct login into the settings",
                changes=Changes.WRITES,
                check="postconf -n smtp_sasl_auth_soft_bounce",
                host_check=_bounces_refused_logins,
            ),
            # global/dsn_filter.c
            Candidate(
                id="status-filter",
                what="a delivery status filter turns the temporary status of the refused login into a permanent one",
                setting="main_cf.smtp_delivery_status_filter",
                parameter="smtp_delivery_status_filter, default_delivery_status_filter",
                remedy="remove the entry from the filter, then {reload}",
                changes=Changes.WRITES,
                check="postconf -n smtp_delivery_status_filter default_delivery_status_filter",
                required_parameters=("smtp_delivery_status_filter", "default_delivery_status_filter"),
            ),
        ),
    ),
    Symptom(
        id="login-user-empty",
        title="the login has no user name",
        cause=Cause.AUTH_MECHANISM,
        context=pattern("All-whitespace username"),
        candidates=(
            Candidate(
                id="password-user-empty",
                what="the entry in the password table is `:` or `:password`, without a user name",
                setting="relay.username",
                parameter=LOGIN_TABLE,
                certain_by=pattern(r"All-whitespace username"),
                remedy=(
                    "write user:password, or no entry for a relay without a login; then "
                    "{postmap smtp_sasl_password_maps}"
                ),
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="login-app-password",
        title="the account has two-step verification and needs an app password",
        cause=Cause.AUTH_REJECTED,
        text=pattern("InvalidSecondFactor|Application-specific password required"),
        candidates=(
            Candidate(
                id="app-password",
                what="Google refuses the account's normal password",
                setting="relay.password_file",
                parameter=_ACCOUNT,
                remedy=(
                    "create an app password at myaccount.google.com/apppasswords, write it into "
                    "relay.password_file without spaces, then {apply_login}"
                ),
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="login-refused-gmail",
        title="Google refuses the user name and password",
        cause=Cause.AUTH_REJECTED,
        text=pattern("p=BadCredentials"),
        candidates=(
            Candidate(
                id="app-password",
                what=(
                    "the password is wrong, or it is the account's normal password: Google accepts app "
                    "passwords only"
                ),
                setting="relay.password_file",
                parameter=_ACCOUNT,
                remedy=(
                    "create an app password at myaccount.google.com/apppasswords, write it into "
                    "relay.password_file without spaces, then {apply_login}"
                ),
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="login-smtp-auth-disabled",
        title="SMTP AUTH is disabled for this tenant or mailbox",
        cause=Cause.AUTH_MECHANISM,
        text=pattern("SmtpClientAuthentication is disabled|smtp_auth_disabled"),
        candidates=(
            Candidate(
                id="tenant",
                what="Microsoft 365 does not allow this mailbox to log in over SMTP",
                setting=_ACCOUNT,
                parameter="Set-CASMailbox",
                remedy=(
                    "have an administrator of the tenant allow SMTP AUTH for this mailbox "
                    "(Set-CASMailbox, SmtpClientAuthenticationDisabled $false)"
                ),
                changes=Changes.READS,
            ),
        ),
    ),
    Symptom(
        id="login-basic-retired",
        title="the relay does not accept passwords any more",
        cause=Cause.AUTH_MECHANISM,
        text=pattern(r"5\.7\.30|[Bb]asic authentication is (?:not supported|disabled)"),
        candidates=(
            Candidate(
                id="tenant",
                what="Microsoft has ended password logins for client submission",
                setting="relay.host",
                parameter=_ACCOUNT,
                remedy="write [relay.oauth2] in place of the password (docs/oauth2-microsoft.md), or use another relay",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="login-conditional-access",
        title="Microsoft refuses this login by a rule of the tenant",
        cause=Cause.AUTH_REJECTED,
        text=pattern("did not meet the criteria|conditional access|security defaults"),
        candidates=(
            Candidate(
                id="conditional-access",
                what="Conditional Access or security defaults of the tenant forbid the login",
                setting=_ACCOUNT,
                parameter="-",
                remedy="have an administrator of the tenant read the sign-in log, and allow this login",
                changes=Changes.READS,
                check="the sign-in log of the tenant names the rule",
            ),
            _WRONG,
        ),
    ),
    Symptom(
        id="login-token-refused",
        title="the relay refuses the token",
        cause=Cause.AUTH_REJECTED,
        context=pattern("postward: the relay refuses the token"),
        candidates=(
            Candidate(
                id="token-mailbox",
                what="the token is not for this mailbox, or the application may not send for it",
                setting="relay.username",
                parameter=_ACCOUNT,
                remedy=(
                    "sign in as relay.username (postward login), or allow the application to use the mailbox "
                    "(Add-MailboxPermission, domain-wide delegation)"
                ),
                changes=Changes.READS,
                check="does relay.username name the mailbox that signed in? Does the token's scope allow SMTP?",
            ),
            Candidate(
                id="token-ended",
                what="the token has ended, and no new one was received",
                proving_symptoms=("token-not-renewed",),
                setting="relay.oauth2",
                parameter="postward-token.service",
                remedy="do what the incident of the token service says; mail goes out after the next renewal",
                changes=Changes.WRITES,
                check="journalctl -u postward-token -n 3",
            ),
            Candidate(
                id="token-revoked",
                what="the account is blocked, its password was changed, or a rule of the tenant forbids the login",
                setting=_ACCOUNT,
                parameter="-",
                remedy="have an administrator read the sign-in log, then run postward login",
                changes=Changes.READS,
                check="the sign-in log of the tenant or domain",
            ),
        ),
    ),
    Symptom(
        id="login-token-malformed",
        title="the relay cannot read the token that was sent",
        cause=Cause.AUTH_REJECTED,
        text=pattern("Invalid XOAUTH2 auth data"),
        candidates=(
            Candidate(
                id="token-not-sent",
                what="the password in the table is not a token: another plug-in, or a password, is in use",
                setting="relay.oauth2",
                parameter=LOGIN_TABLE,
                remedy="write [relay.oauth2], remove other plug-ins for XOAUTH2, then {apply_login}",
                changes=Changes.WRITES,
                check="ls /usr/lib*/sasl2 /usr/lib/*/sasl2: is there another plug-in with oauth in its name?",
            ),
        ),
    ),
    Symptom(
        id="login-refused-stale",
        title="the relay refuses this login, and the index of the password table is older than its source",
        cause=Cause.AUTH_REJECTED,
        context=pattern("is older than source file"),
        candidates=(
            Candidate(
                id="index-stale",
                what="the table was edited without postmap: Postfix still uses the old password",
                setting="relay.password_file",
                parameter=LOGIN_TABLE,
                remedy="{postmap smtp_sasl_password_maps}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="login-refused",
        title="the relay refuses this login",
        cause=Cause.AUTH_REJECTED,
        candidates=(
            _WRONG,
            _TEXT,
            _STALE,
            _DUPLICATE,
            _STRONGER,
        ),
    ),
    Symptom(
        id="login-temporary",
        title="the relay cannot check logins at the moment",
        cause=Cause.AUTH_TEMPORARY,
        candidates=(
            Candidate(
                id="login-limit",
                what="the relay limits logins, or this account has used up what it may send",
                setting=_ACCOUNT,
                parameter="-",
                remedy="wait, log in less often, or ask the relay's operator for a higher limit",
                changes=Changes.READS,
                check="what does the relay's reply in the line say?",
            ),
            Candidate(
                id="relay-backend",
                what="the relay's login service is out of order",
                check="the relay's status page",
                setting="nothing in the settings: the relay",
                parameter="-",
                remedy="wait; if it lasts longer than half an hour, contact the relay's operator",
                changes=Changes.READS,
            ),
        ),
    ),
    # Mechanisms
    Symptom(
        id="mechanism-filtered",
        title="the relay offers no login mechanism that the configuration allows",
        cause=Cause.AUTH_MECHANISM,
        text=pattern("offered no compatible authentication mechanisms"),
        candidates=(
            Candidate(
                id="mechanism-filter",
                what="the filter excludes every mechanism that the relay offers",
                setting="main_cf.smtp_sasl_mechanism_filter",
                parameter="smtp_sasl_mechanism_filter",
                certain_by=pattern("offered no supported AUTH mechanisms"),
                refuted_by=pattern("offered null AUTH mechanism list"),
                remedy="{remove smtp_sasl_mechanism_filter}",
                changes=Changes.WRITES,
                check="postconf -h smtp_sasl_mechanism_filter",
                required_parameters=("smtp_sasl_mechanism_filter",),
            ),
            Candidate(
                id="mechanism-list-empty",
                what="the relay offers AUTH without any mechanism, as it may before STARTTLS",
                setting="relay.port, relay.tls",
                parameter="relayhost, smtp_tls_security_level",
                certain_by=pattern("offered null AUTH mechanism list"),
                refuted_by=pattern("offered no supported AUTH mechanisms"),
                remedy="use TLS and the relay's submission port, or contact its operator",
                changes=Changes.WRITES,
                check="postward relay shows the mechanisms that the relay offers",
            ),
        ),
    ),
    Symptom(
        id="mechanism-unknown-to-relay",
        title="the relay does not support the mechanism that was chosen",
        cause=Cause.AUTH_MECHANISM,
        text=pattern("said: 50[34]"),
        candidates=(
            Candidate(
                id="mechanism-preferred",
                what="the SASL library prefers GSSAPI, NTLM or similar, which the relay does not support",
                setting="main_cf.smtp_sasl_mechanism_filter",
                parameter="smtp_sasl_mechanism_filter",
                refuted_by=_OAUTH,
                host_check=_with_oauth,
                check="postward relay shows the mechanisms that the relay offers",
                remedy="{set smtp_sasl_mechanism_filter=plain, login}",
                changes=Changes.WRITES,
            ),
            Candidate(
                id="login-not-enabled",
                what="the relay takes no login on this port, or only under TLS",
                setting="relay.port, relay.tls",
                parameter="relayhost, smtp_tls_security_level",
                remedy="use the relay's submission port and TLS",
                changes=Changes.WRITES,
                check="postward relay: is AUTH offered, and on which port?",
            ),
        ),
    ),
    Symptom(
        id="mechanism-none",
        title="this host and the relay have no login mechanism in common",
        cause=Cause.AUTH_MECHANISM,
        text=pattern("no mechanism available"),
        names=(pattern(r"failed for plugname (?P<PLUGIN>[\w.-]+)"),),
        candidates=(
            Candidate(
                id="plugin-load",
                what="the SASL plug-in {line PLUGIN|} does not load: its file or its configuration is faulty",
                setting="the host's packages",
                parameter="{line PLUGIN|libsasl2}",
                # Others may fail to load on a host that logs in without them, such as GSSAPI.
                certain_by=pattern(r"entry_point\(\): failed for plugname (?:\S*(?:oauth|plain|login))"),
                remedy="correct the configuration file of {line PLUGIN|the plug-in}, then {restart}",
                changes=Changes.WRITES,
                check="the plug-in's own lines in the log; pluginviewer -c",
                host_check=_without_oauth,
            ),
            Candidate(
                id="sasl-plugin",
                what="the SASL plug-ins are not installed",
                setting="the host's packages",
                parameter="libsasl2",
                remedy="{install_sasl}",
                changes=Changes.WRITES,
                check="ls /usr/lib*/sasl2 /usr/lib/*/sasl2 must show libplain and liblogin",
                lint_decides=("sasl-plugin-missing",),
            ),
            Candidate(
                id="sasl-noplaintext",
                what="smtp_sasl_security_options forbids PLAIN and LOGIN, and the relay offers nothing else",
                setting="main_cf.smtp_sasl_security_options",
                parameter="smtp_sasl_security_options, smtp_sasl_tls_security_options",
                remedy=(
                    "{set smtp_sasl_security_options=noanonymous|smtp_sasl_tls_security_options=noanonymous}"
                ),
                changes=Changes.LOWERS,
                check="postconf -x smtp_sasl_security_options smtp_sasl_tls_security_options",
                lint_decides=("sasl-forbids-plain",),
            ),
            Candidate(
                id="sasl-oauth-only",
                what="the relay offers only XOAUTH2, OAUTHBEARER, NTLM or GSSAPI, or an empty list",
                setting="relay.host",
                parameter="-",
                remedy="write [relay.oauth2] in place of the password (docs/oauth2.md), or use another relay",
                changes=Changes.WRITES,
                check="postward relay shows the mechanisms that the relay offers",
                offer_proves=_offers_only_stronger,
                offer_refutes=lambda offer: bool((offer.mechanisms or set()) & _PASSWORDS),
            ),
            Candidate(
                id="mechanism-filter",
                what="smtp_sasl_mechanism_filter excludes every mechanism that both sides support",
                setting="main_cf.smtp_sasl_mechanism_filter",
                parameter="smtp_sasl_mechanism_filter",
                remedy="{remove smtp_sasl_mechanism_filter}",
                changes=Changes.WRITES,
                check="postconf -h smtp_sasl_mechanism_filter",
                lint_proves=("sasl-mechanism-unknown",),
                required_parameters=("smtp_sasl_mechanism_filter",),
            ),
        ),
    ),
    Symptom(
        id="mechanism-dialogue",
        title="the login dialogue failed",
        cause=Cause.AUTH_MECHANISM,
        names=(pattern(r"CAfile: (?P<CAFILE>[\w./-]+)"),),
        candidates=(
            Candidate(
                id="ticket-missing",
                what="GSSAPI was chosen, and smtp(8) has no valid Kerberos ticket, inside its chroot where it has one",
                setting="relay.auth",
                parameter="import_environment, smtp_sasl_mechanism_filter",
                certain_by=pattern("GSSAPI Error|Kerberos|[Cc]redentials cache"),
                refuted_by=pattern("bad protocol|client step after"),
                remedy=(
                    "name a valid keytab in import_environment (docs/relays.md), then restart Postfix; if the relay takes "
                    "passwords, {set smtp_sasl_mechanism_filter=plain, login}"
                ),
                changes=Changes.WRITES,
                check="the warning before the delivery has the words of Kerberos; kinit -k -t with the keytab repeats them",
            ),
            Candidate(
                id="relay-dialogue",
                what=(
                    "the relay's replies do not follow the mechanism: the relay is broken, or a middlebox "
                    "interferes"
                ),
                setting="relay.host",
                parameter="-",
                remedy="contact the relay's operator",
                changes=Changes.READS,
                check="postward relay shows the dialogue",
            ),
            Candidate(
                id="token-not-sent",
                what="the password in the table is not a token, and XOAUTH2 or OAUTHBEARER was taken",
                setting="relay.oauth2",
                parameter=LOGIN_TABLE,
                certain_by=pattern("the password is not a token of OAuth2"),
                refuted_by=pattern("bad protocol|client step after"),
                remedy="write [relay.oauth2], or leave these mechanisms out of smtp_sasl_mechanism_filter, then {apply_login}",
                changes=Changes.WRITES,
                check="postconf -h smtp_sasl_mechanism_filter",
                host_check=_without_oauth,
            ),
            Candidate(
                id="oauth-authorities",
                what="an OAuth2 plug-in cannot load the CA file for its token request, as inside the chroot",
                setting="the host's files",
                parameter="{line CAFILE|the CA bundle inside $queue_directory}",
                certain_by=pattern("error setting certificate verify locations"),
                lint_proves=("xoauth2-authorities",),
                remedy="copy the CA bundle to {line CAFILE|the place that the plug-in names}, then {reload}",
                changes=Changes.RESTARTS,
                check="the plug-in's own lines in the log",
                host_check=_without_oauth,
            ),
            Candidate(
                id="oauth-token-file",
                what="sasl-xoauth2 cannot use its token file: outside of smtp's chroot, not owned by postfix, or not JSON",
                setting="the host's files",
                parameter=LOGIN_TABLE,
                certain_by=pattern(rf"{_XOAUTH2}TokenStore::(?:Read|Write): (?!file=|skipping)"),
                lint_proves=("xoauth2-token-file",),
                remedy="put the file below $queue_directory, owned by postfix, and write its path into the password table",
                changes=Changes.WRITES,
                check="sasl-xoauth2-tool test-token-refresh on the file that the password table names",
                host_check=_without_oauth,
            ),
            Candidate(
                id="oauth-network",
                what="sasl-xoauth2 cannot reach the authorization server, as where smtp's chroot has no resolv.conf",
                setting="the host's files",
                parameter="token_endpoint in sasl-xoauth2.conf",
                certain_by=pattern(rf"{_XOAUTH2}TokenStore::Refresh: http error: (?!.*certificate)"),
                remedy="copy /etc/resolv.conf into $queue_directory/etc, or open HTTPS to the server",
                changes=Changes.WRITES,
                check="curl -sv on token_endpoint, from this host",
                host_check=_without_oauth,
            ),
            Candidate(
                id="oauth-token",
                what="the authorization server gives sasl-xoauth2 no token: the refresh token or the client is not accepted",
                setting="the sasl-xoauth2 configuration",
                parameter="sasl-xoauth2.conf, and the token file that the password table names",
                certain_by=pattern(
                    rf"{_XOAUTH2}TokenStore::(?:Refresh: (?:request failed|response|exceeded|invalid|exception|code=))"
                ),
                remedy="create a new token file (sasl-xoauth2-tool get-token), or write [relay.oauth2]",
                changes=Changes.WRITES,
                check="sasl-xoauth2-tool test-token-refresh on the token file shows the server's error",
                host_check=_without_oauth,
            ),
        ),
    ),
    # The password table cannot be read: the delivery says "local data error"
    Symptom(
        id="password-table-missing",
        title="the index of the password table does not exist",
        cause=Cause.LOCAL_CONFIG,
        text=pattern("local data error"),
        context=pattern(r"sasl\S* is unavailable\. .*No such file|open database \S*sasl\S*: No such file"),
        candidates=(
            Candidate(
                id="index-missing",
                what="the index was never built, or main.cf names another file",
                setting="relay.password_file",
                parameter=LOGIN_TABLE,
                certain_by=pattern(r"(?:is unavailable\. .*|open database \S+: )No such file"),
                refuted_by=pattern(ODD_NAME),
                remedy="{postmap smtp_sasl_password_maps}",
                changes=Changes.WRITES,
            ),
            odd_name("relay.password_file", LOGIN_TABLE),
        ),
    ),
    Symptom(
        id="password-table-damaged",
        title="the index of the password table is damaged or of another type",
        cause=Cause.LOCAL_CONFIG,
        text=pattern("local data error"),
        context=pattern("Invalid argument|Inappropriate file type"),
        candidates=(
            Candidate(
                id="index-damaged",
                what="the index is damaged, or not of the type that main.cf names",
                setting="relay.password_file",
                parameter=LOGIN_TABLE,
                remedy="{recreate smtp_sasl_password_maps}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="map-type-unsupported",
        title="this Postfix does not support the type of a lookup table",
        cause=Cause.LOCAL_CONFIG,
        text=pattern("local data error"),
        context=pattern("unsupported dictionary type"),
        candidates=(
            Candidate(
                id="map-type",
                what="the type is misspelt, its package is not installed, or this Postfix was built without it",
                setting="postfix.map_type",
                parameter="default_database_type",
                certain_by=pattern(r"unsupported dictionary type"),
                remedy="use a type that postconf -m lists, or {install_map}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="lookup-failed",
        title="a lookup table cannot be used",
        cause=Cause.LOCAL_CONFIG,
        text=pattern("local data error"),
        candidates=(
            Candidate(
                id="table",
                what="a lookup that the login needs failed",
                setting="relay.password_file",
                parameter=LOGIN_TABLE,
                remedy="{postmap smtp_sasl_password_maps}",
                changes=Changes.WRITES,
                check="the warnings of smtp(8) before this line name the table",
            ),
        ),
    ),
    # smtp(8) exits: no delivery has a status
    Symptom(
        id="sasl-no-table",
        title="smtp(8) cannot start: logins are enabled, and no password table is configured",
        text=pattern("specify a password table via the .smtp_sasl_password_maps"),
        candidates=(
            Candidate(
                id="sasl-without-passwords",
                what="smtp_sasl_auth_enable = yes and smtp_sasl_password_maps is empty",
                setting="relay.username, relay.password_file",
                parameter="smtp_sasl_password_maps",
                certain_by=pattern(r"specify a password table via the"),
                remedy="{set_login}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="sasl-type",
        title="smtp(8) cannot start: it does not support the value of smtp_sasl_type",
        text=pattern("unsupported SASL client implementation"),
        candidates=(
            Candidate(
                id="sasl-type",
                what="the SMTP client supports only cyrus",
                setting="main_cf.smtp_sasl_type",
                parameter="smtp_sasl_type",
                certain_by=pattern(r"unsupported SASL client implementation: (?!cyrus\b)"),
                refuted_by=pattern("unsupported SASL client implementation: cyrus"),
                remedy="{remove smtp_sasl_type}",
                changes=Changes.WRITES,
                check="postconf -h smtp_sasl_type",
            ),
            Candidate(
                id="sasl-not-built",
                what="this Postfix was built without Cyrus SASL, so its SMTP client cannot log in",
                setting="the host's packages",
                parameter="smtp_sasl_type",
                certain_by=pattern("unsupported SASL client implementation: cyrus"),
                remedy="install a Postfix with Cyrus SASL",
                changes=Changes.WRITES,
                check="postconf -A lists the types",
            ),
        ),
    ),
    Symptom(
        id="sasl-option",
        title="smtp(8) cannot work: a SASL security option is misspelt",
        text=pattern(
            "unknown SASL security options value|bad per-session SASL security properties|"
            "SASL per-connection initialization"
        ),
        candidates=(
            Candidate(
                id="sasl-option",
                what="smtp_sasl_security_options, or its variant for TLS, contains an option that does not exist",
                setting="main_cf.smtp_sasl_security_options",
                parameter="smtp_sasl_security_options, smtp_sasl_tls_security_options",
                certain_by=pattern(r"unknown SASL security options value"),
                remedy="{set smtp_sasl_security_options=noanonymous}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="password-duplicate",
        title="a key appears twice in a table, and the first entry is used",
        daemon="postmap",
        text=pattern("duplicate entry: "),
        effect=Effect.NOTE,
        resolution=Resolution.STARTED,
        candidates=(_DUPLICATE,),
    ),
)
