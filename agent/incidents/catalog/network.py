"""Symptoms of the way to the relay: names, connections, greetings."""

from postward.agent.incidents.symptom import Candidate, Certainty, Effect, Symptom, words
from postward.parsers import Cause

_RESOLVER = Candidate(
    "resolver", "the name server fails, refuses or does not answer", "the host's resolver", "/etc/resolv.conf",
    "put /etc/resolv.conf right; nothing in Postfix", "does getent ahosts HOST work on this host?",
    hints=("nameserver-missing",),
)  # fmt: skip
_CHROOT = Candidate(
    "chroot-resolver", "smtp(8) runs in a chroot whose copy of resolv.conf is missing or old", "the host's files",
    "master.cf, $queue_directory/etc/resolv.conf",
    "cp /etc/resolv.conf {queue}/etc/ && {reload}; or chroot n in master.cf",
    "postconf -F smtp/unix/chroot; does the host itself find the name?", ("chroot-without-resolver", "chroot-resolver-stale"),
    ("chroot-copy-differs",),
)  # fmt: skip
_NO_ADDRESS = Candidate(
    "address-family", "the name has addresses, but none of the kind that inet_protocols allows", "host.inet_protocols",
    "inet_protocols", "{set inet_protocols=all}", "getent ahosts HOST", hints=("relayhost-address-family",), needs=("inet_protocols",),
)  # fmt: skip
_DOWN = Candidate("relay-down", "the relay, or this port of it, is out of service", "nothing in the settings: the relay", "-",
                  "wait, or ask the relay", "nc -vz HOST PORT from another network")  # fmt: skip
_WRONG_PORT = Candidate(
    "wrong-port", "nothing listens on this port: relay.host or relay.port is wrong", "relay.host, relay.port", "relayhost",
    "write the relay's submission port, mostly 587, then {apply}", "nc -vz HOST PORT; the relay's documentation",
    hints=("relayhost-provider-port", "settings-provider-port"),
)  # fmt: skip
_FIREWALL = Candidate("firewall", "a firewall here or on the way forbids it", "the network", "-",
                      "allow outgoing connections to HOST PORT", "nc -vz HOST PORT here and from another network")  # fmt: skip
_PAST_RELAY = Candidate(
    "no-relayhost", "mail goes to the recipients' MX hosts directly: no relayhost is in force", "relay.host", "relayhost",
    "{set_login}", "postconf -h relayhost; is this the relay at all?",
    ("relayhost-missing", "indented-parameter", "relayhost-overruled"),
)  # fmt: skip

SYMPTOMS: tuple[Symptom, ...] = (
    # --- names
    Symptom(
        "dns-no-mx-address", "the MX hosts of the relay's name have no address",
        (Candidate("brackets", "without brackets Postfix asks for MX hosts of the name, and those do not exist", "relay.host",
                   "relayhost", "{set relayhost=[HOST]:PORT}, with brackets"),),
        cause=Cause.DNS, clue=words("no MX host for .* has a valid address"),
    ),
    Symptom(
        "dns-mx-try-again", "the MX hosts of the relay's name cannot be looked up",
        (_RESOLVER, Candidate("brackets", "without brackets Postfix asks for MX hosts of the name", "relay.host", "relayhost",
                              "{set relayhost=[HOST]:PORT}, with brackets", "postconf -h relayhost",
                              only_if=("relayhost-without-brackets",)), _CHROOT),
        cause=Cause.DNS, says=words("type=MX: Host not found, try again"),
    ),
    Symptom("dns-try-again", "the relay's name cannot be looked up at the moment", (_RESOLVER, _CHROOT), cause=Cause.DNS,
            says=words("try again")),
    Symptom(
        "dns-no-address", "the relay's name has no address that Postfix may use",
        (_NO_ADDRESS, Candidate("dns-record", "the name exists and has no address at all", "relay.host", "relayhost",
                                "write another name into relay.host, then {apply}", "dig A HOST; dig AAAA HOST")),
        cause=Cause.DNS, says=words("no data record of requested type"),
    ),
    Symptom(
        "dns-unknown-native", "the relay's name is not known to this host",
        (
            Candidate("name-misspelt", "the name is misspelt or gone", "relay.host", "relayhost", "write the relay's name into "
                      "relay.host, then {apply}", "getent ahosts HOST"),
            Candidate("no-dns", "Postfix does not ask DNS here", "main_cf.smtp_dns_support_level", "smtp_dns_support_level, smtp_host_lookup",
                      "{remove smtp_dns_support_level}", "postconf -n smtp_dns_support_level smtp_host_lookup",
                      needs=("smtp_dns_support_level", "smtp_host_lookup", "disable_dns_lookups")),
        ),
        cause=Cause.DNS, says=words("unable to look up host"),
    ),
    Symptom(
        "dns-unknown", "the relay's name does not exist in DNS",
        (
            Candidate("name-misspelt", "the name is misspelt or gone", "relay.host", "relayhost", "write the relay's name into "
                      "relay.host, then {apply}", "dig HOST"),
            Candidate("hosts-file", "the name stands in /etc/hosts alone, and Postfix asks DNS", "main_cf.smtp_host_lookup",
                      "smtp_host_lookup", "{set smtp_host_lookup=dns, native}", "getent hosts HOST", ("relayhost-only-in-hosts-file",)),
        ),
        cause=Cause.DNS, says=words("Host not found"),
    ),
    Symptom("dns", "the relay's name cannot be looked up", (_RESOLVER, _CHROOT), cause=Cause.DNS),
    # --- connections
    # Postfix says itself, in front of each connection to port 465, that wrappermode is off.
    *(
        Symptom(
            "tls-wrapper-needed", "this port wants TLS from the first byte, and Postfix is not set up for it",
            (Candidate("implicit-tls-port", "port 465 needs wrappermode", "relay.tls, relay.port", "smtp_tls_wrappermode",
                       "{set smtp_tls_wrappermode=yes|smtp_tls_security_level=encrypt}, or port 587"),),
            cause=cause, clue=words(r"SMTPS wrappermode \(TCP port 465\) requires"),
        )
        for cause in (Cause.REFUSED, Cause.TIMEOUT, Cause.LOST)
    ),
    Symptom("mx-refused", "connections to port 25 are refused",
            (_PAST_RELAY, _WRONG_PORT, _DOWN, _FIREWALL), cause=Cause.REFUSED, says=words(r"\]:25: ")),
    Symptom(
        "filter-down", "a service of this host does not take the mail",
        (Candidate("content-filter", "a content filter or transport on this host is down", "main_cf.content_filter",
                   "content_filter, transport_maps", "start it, or take it out of main.cf", "ss -ltn",
                   hints=("relayhost-overruled",), needs=("content_filter", "transport_maps", "relay_transport", "default_transport"),
                   elsewhere=True),
         _WRONG_PORT),
        cause=Cause.REFUSED, says=words(r"relay=(?:other|none) connect to (?:127\.0\.0\.1|localhost|::1)\["),
    ),
    Symptom(
        "connection-refused", "the relay refuses connections",
        (_DOWN, _WRONG_PORT, _FIREWALL,
         Candidate("transport-overrides", "transport_maps sends this domain somewhere else", "main_cf.transport_maps", "transport_maps",
                   "correct the entry", "postmap -q DOMAIN \"$(postconf -h transport_maps)\"", hints=("relayhost-overruled",),
                   needs=("transport_maps", "sender_dependent_relayhost_maps"), elsewhere=True)),
        cause=Cause.REFUSED,
    ),
    Symptom(
        "greeting-timeout", "the relay sends no greeting",
        (
            Candidate("implicit-tls-port", "the port wants TLS from the first byte, and Postfix waits for a greeting",
                      "relay.tls, relay.port", "smtp_tls_wrappermode",
                      "{set smtp_tls_wrappermode=yes|smtp_tls_security_level=encrypt}, or port 587",
                      "postconf -h relayhost; is it a port such as 465?", hints=("implicit-tls-port-without-wrappermode",)),
            Candidate("relay-hangs", "the relay takes connections and does not answer", "nothing in the settings: the relay", "-",
                      "wait, or ask the relay", "nc -v HOST PORT: does a line come that begins with 220?"),
            Candidate("not-smtp", "another service listens there", "relay.host, relay.port", "relayhost",
                      "write the relay's submission port, then {apply}", "nc -v HOST PORT: does a line come that begins with 220?"),
        ),
        cause=Cause.TIMEOUT, says=words("receiving the initial server greeting"),
    ),
    Symptom(
        "connect-timeout", "connections to the relay time out: packets are dropped on the way",
        (Candidate("port-blocked", "a firewall, security group or the provider of this host blocks the port", "relay.port",
                   "relayhost", "allow outgoing connections, or use port 587 or 2525", "nc -vz HOST PORT here and from elsewhere"),),
        Certainty.LIKELY, Cause.TIMEOUT, says=words(r"connect to "),
    ),
    Symptom(
        "end-of-data-timeout", "the relay does not confirm mail that it was given: it may arrive twice",
        (Candidate("relay-slow", "the relay, or its filter, takes longer than smtp_data_done_timeout", "main_cf.smtp_data_done_timeout",
                   "smtp_data_done_timeout", "{set smtp_data_done_timeout=600s}; ask the relay"),),
        Certainty.LIKELY, Cause.TIMEOUT, says=words("sending end of data"),
    ),
    Symptom(
        "conversation-timeout", "the relay stops answering in mid-conversation",
        (_DOWN, Candidate("mtu", "large packets are lost on the way (MTU)", "the network", "-", "lower the interface's MTU",
                          "ping -M do -s 1472 HOST"), _FIREWALL),
        cause=Cause.TIMEOUT,
    ),
    Symptom(
        "no-route-ipv6", "there is no way to the relay's IPv6 address",
        (Candidate("ipv6", "this host has no IPv6, and the relay was reached by no other address", "host.inet_protocols", "inet_protocols",
                   "{set inet_protocols=ipv4}", "ip -6 route", ("relayhost-address-family",)),),
        Certainty.LIKELY, Cause.UNREACHABLE, says=words(r"connect to \S+\[[0-9a-f]*:[0-9a-f:.]*\](?::\d+)?: (?:Network is unreachable|No route|Cannot assign)"),
    ),
    Symptom(
        "connect-forbidden", "this host forbids the connection",
        (
            Candidate("selinux", "SELinux does not let smtp(8) connect to this port", "relay.port", "semanage port",
                      "semanage port -a -t smtp_port_t -p tcp PORT", "ausearch -m avc -ts recent -c smtp",
                      host=lambda facts, _domains: False if facts.selinux is False else None),
            Candidate("local-rule", "a routing or firewall rule of this host prohibits it", "the network", "-", "remove the rule",
                      "ip route get ADDRESS; nft list ruleset"),
        ),
        cause=Cause.UNREACHABLE, says=words(r"Permission denied|Operation not permitted"),
    ),
    Symptom(
        "network-unreachable", "this host has no route to the relay",
        (Candidate("route", "no default route, or the interface is down", "the network", "-", "put the routes right", "ip route"),),
        cause=Cause.UNREACHABLE, says=words("Network is unreachable|Network is down"),
    ),
    Symptom(
        "host-unreachable", "the relay cannot be reached",
        (Candidate("route", "a route is missing, or a firewall answers for it (icmp-host-prohibited)", "the network", "-",
                   "put the routes or the firewall right", "ip route get ADDRESS; tracepath ADDRESS"),),
        Certainty.LIKELY, Cause.UNREACHABLE,
    ),
    Symptom(
        "lost-at-greeting", "the connection ends before the relay's greeting",
        (
            Candidate("implicit-tls-port", "the port wants TLS from the first byte", "relay.tls, relay.port", "smtp_tls_wrappermode",
                      "{set smtp_tls_wrappermode=yes|smtp_tls_security_level=encrypt}, or port 587",
                      "postconf -h relayhost; is it a port such as 465?", hints=("implicit-tls-port-without-wrappermode",)),
            _DOWN, _FIREWALL,
        ),
        cause=Cause.LOST, says=words("receiving the initial server greeting"),
    ),
    Symptom(
        "connection-lost", "the relay, or something on the way, hangs up in mid-conversation",
        (Candidate("relay-hangs-up", "the relay hangs up: overload, maintenance, or a limit of its own", "nothing in the settings: the relay",
                   "-", "wait, or ask the relay", "postward relay: at which step does it hang up?"),
         Candidate("middlebox", "a firewall on the way ends the connection", "the network", "-", "exempt this host from SMTP inspection",
                   "does it happen from another network?")),
        cause=Cause.LOST,
    ),
    Symptom(
        "loop", "the relay is this host itself",
        (Candidate("relay-is-this-host", "the next hop's name leads back to this Postfix", "relay.host", "relayhost",
                   "write the relay's name into relay.host, then {apply}"),),
        cause=Cause.LOOP,
    ),
    Symptom(
        "fallback", "mail leaves by another relay, because this one cannot be reached",
        (Candidate("relay-down", "the relay, or the way to it, is out of service", "relay.fallback", "smtp_fallback_relay, relayhost",
                   "see to this relay; the fallback goes on meanwhile", "nc -vz HOST PORT"),),
        Certainty.LIKELY, says=words(r"(?!)"), effect=Effect.NOTE,
    ),
    # --- greetings
    Symptom(
        "greeting-not-smtp", "something that is not a mail server answers there",
        (Candidate("not-smtp", "a web server or proxy listens on that port", "relay.host, relay.port", "relayhost",
                   "write the relay's name and submission port, then {apply}"),),
        cause=Cause.GREETING_REFUSED, says=words("refused to talk to me: HTTP/"),
    ),
    Symptom(
        "blocked", "the relay blocks this host's address",
        (Candidate("reputation", "the address is on a block list", "nothing in the settings: this host's address", "-",
                   "have the address taken off the list that the line names; log in at the relay if it is yours"),),
        cause=Cause.BLOCKED,
    ),
    Symptom(
        "greeting-busy", "the relay refuses to talk: too many connections",
        (Candidate("concurrency", "more connections at once than the relay allows", "main_cf.smtp_destination_concurrency_limit",
                   "smtp_destination_concurrency_limit", "{set smtp_destination_concurrency_limit=2}"),),
        Certainty.LIKELY, Cause.GREETING_REFUSED, says=words("too many|connection|limit|busy"),
    ),
    Symptom(
        "greeting-refused", "the relay refuses to talk to this host",
        (Candidate("relay-policy", "the relay does not want connections from here, or is in maintenance", "nothing in the settings: the relay",
                   "-", "read the relay's words; wait, or ask the relay"),),
        Certainty.LIKELY, Cause.GREETING_REFUSED,
    ),
)  # fmt: skip
