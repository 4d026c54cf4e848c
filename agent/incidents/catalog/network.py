"""Symptoms on the path to the relay: names, connections, greetings."""

from collections.abc import Collection

from postward.agent.incidents.catalog.symptom import Candidate, Changes, Symptom, pattern
from postward.agent.incidents.model import Effect
from postward.config.lint.facts import HostFacts
from postward.parsers import Cause

_RESOLVER = Candidate(
    id="resolver",
    what="the name server fails, refuses or does not answer",
    setting="the host's resolver",
    parameter="/etc/resolv.conf",
    remedy="repair /etc/resolv.conf; Postfix needs no change",
    changes=Changes.WRITES,
    check="does getent ahosts HOST work on this host?",
    lint_proves=("nameserver-missing",),
)
_CHROOT = Candidate(
    id="chroot-resolver",
    what="smtp(8) runs in a chroot whose copy of resolv.conf is missing or outdated",
    setting="the host's files",
    parameter="master.cf, $queue_directory/etc/resolv.conf",
    remedy="cp /etc/resolv.conf {queue}/etc/ && {reload}",
    changes=Changes.WRITES,
    check="postconf -F smtp/unix/chroot; can the host itself resolve the name?",
    lint_decides=("chroot-without-resolver", "chroot-resolver-stale"),
    proving_symptoms=("chroot-copy-differs",),
)
_NO_ADDRESS = Candidate(
    id="address-family",
    what="the name has addresses, but none of a family that inet_protocols allows",
    setting="host.inet_protocols",
    parameter="inet_protocols",
    remedy="{set inet_protocols=all}",
    changes=Changes.WRITES,
    check="getent ahosts HOST",
    lint_proves=("relayhost-address-family",),
    required_parameters=("inet_protocols",),
)
_DOWN = Candidate(
    id="relay-down",
    what="the relay, or this port of it, is out of service",
    setting="nothing in the settings: the relay",
    parameter="-",
    remedy="wait, or contact the relay's operator",
    changes=Changes.READS,
    check="nc -vz HOST PORT from another network",
)
_WRONG_PORT = Candidate(
    id="wrong-port",
    what="no service listens on this port: relay.host or relay.port is wrong",
    setting="relay.host, relay.port",
    parameter="relayhost",
    remedy="write the relay's submission port, usually 587, then {apply}",
    changes=Changes.WRITES,
    check="nc -vz HOST PORT; the relay's documentation",
    lint_proves=("relayhost-provider-port", "settings-provider-port"),
)
_FIREWALL = Candidate(
    id="firewall",
    what="a firewall on this host or on the path blocks the connection",
    setting="the network",
    parameter="-",
    remedy="allow outgoing connections to HOST PORT",
    changes=Changes.WRITES,
    check="nc -vz HOST PORT from here and from another network",
)
_PAST_RELAY = Candidate(
    id="no-relayhost",
    what="mail goes to the recipients' MX hosts directly: no relayhost is in force",
    setting="relay.host",
    parameter="relayhost",
    remedy="{set_login}",
    changes=Changes.WRITES,
    check="postconf -h relayhost; is HOST the relay?",
    lint_decides=("relayhost-missing", "indented-parameter", "relayhost-overruled"),
)


def _denies_several_domains(_facts: HostFacts, domains: Collection[str]) -> bool | None:
    """Rule the cause out for a single domain: a name server that filters denies many."""
    return False if len(domains) == 1 else None


_NAME_LOOKED_UP = pattern(r" name=(?P<NAME>[\w.-]+) type=")

SYMPTOMS: tuple[Symptom, ...] = (
    # Names
    Symptom(
        id="dns-no-mx-address",
        title="the MX hosts of the relay's name have no address",
        cause=Cause.DNS,
        context=pattern("no MX host for .* has a valid address"),
        candidates=(
            Candidate(
                id="brackets",
                what=(
                    "relayhost has no brackets, so Postfix looks up MX hosts of the name, and those have "
                    "no address"
                ),
                setting="relay.host",
                parameter="relayhost",
                remedy="write the relay as [name]:port in relayhost, with brackets, then {reload}",
                changes=Changes.WRITES,
                check="postconf -h relayhost",
                lint_required=("relayhost-without-brackets",),
            ),
            Candidate(
                id="mx-records",
                what="the MX records of the domain name hosts that have no address",
                setting="nothing in the settings: DNS of the domain",
                parameter="-",
                remedy="inform the operator of the domain",
                changes=Changes.READS,
                check="dig MX on the domain that the line names, and dig A on each host in the answer",
            ),
            _NO_ADDRESS,
        ),
    ),
    Symptom(
        id="recipient-domain",
        title="the domain of a recipient does not exist in DNS",
        cause=Cause.DNS,
        text=pattern("recipient-domain .*(?:not found|no data record)(?!, try again)"),
        effect=Effect.REJECTED,
        names=(_NAME_LOOKED_UP,),
        candidates=(
            Candidate(
                id="recipient-domain",
                what="the domain {line NAME|} of the recipient is misspelt or does not exist",
                setting="nothing in the settings: the recipient's address",
                parameter="-",
                remedy="correct the address in the program that sends the mail",
                changes=Changes.WRITES,
                check="dig MX {line NAME|and the domain} on another host: without an answer, the domain is wrong",
            ),
            Candidate(
                id="resolver-filters",
                what="this host's name server denies a domain that exists: a filter, a private zone, or wrong records",
                setting="the host's resolver",
                parameter="/etc/resolv.conf",
                remedy="use a name server that answers for all domains",
                changes=Changes.WRITES,
                check="does dig MX {line NAME|and the domain} on another host give an answer?",
                host_check=_denies_several_domains,
            ),
        ),
    ),
    Symptom(
        id="relayhost-not-found",
        title="relayhost is a name that cannot be looked up",
        cause=Cause.DNS,
        text=pattern(r"name=[\w-]+ type=\w+: Host not found"),
        names=(_NAME_LOOKED_UP,),
        candidates=(
            Candidate(
                id="name-misspelt",
                what=(
                    "DNS does not know the next hop {line NAME|}: it lacks its domain, is misspelt, or is the name of a "
                    "container that is stopped or in another network"
                ),
                setting="relay.host",
                parameter="relayhost",
                remedy="write the relay's full name as [name]:port in relayhost, then {reload}",
                changes=Changes.WRITES,
                check=(
                    "getent hosts {line NAME|with the next hop}: with a result it is only in /etc/hosts, which Postfix "
                    "reads with smtp_host_lookup = dns, native"
                ),
            ),
        ),
    ),
    Symptom(
        id="dns-mx-try-again",
        title="the MX hosts of the relay's name cannot be looked up",
        cause=Cause.DNS,
        text=pattern("type=MX: Host not found, try again"),
        candidates=(
            _RESOLVER,
            Candidate(
                id="brackets",
                what="relayhost has no brackets, so Postfix looks up MX hosts of the name",
                setting="relay.host",
                parameter="relayhost",
                remedy="write the relay as [name]:port in relayhost, with brackets, then {reload}",
                changes=Changes.WRITES,
                check="postconf -h relayhost",
                lint_required=("relayhost-without-brackets",),
            ),
            _CHROOT,
        ),
    ),
    Symptom(
        id="dns-try-again",
        title="the relay's name cannot be looked up at the moment",
        cause=Cause.DNS,
        text=pattern("try again"),
        candidates=(
            _RESOLVER,
            _CHROOT,
        ),
    ),
    Symptom(
        id="dns-no-address",
        title="the relay's name has no address that Postfix may use",
        cause=Cause.DNS,
        text=pattern("no data record of requested type"),
        candidates=(
            _NO_ADDRESS,
            Candidate(
                id="dns-record",
                what="the name exists, but has no address",
                setting="relay.host",
                parameter="relayhost",
                remedy="write another name into relay.host, then {apply}",
                changes=Changes.WRITES,
                check="dig A HOST; dig AAAA HOST",
            ),
        ),
    ),
    Symptom(
        id="dns-unknown-native",
        title="this host does not know the relay's name",
        cause=Cause.DNS,
        text=pattern("unable to look up host"),
        candidates=(
            Candidate(
                id="name-misspelt",
                what="the name is misspelt or no longer exists",
                setting="relay.host",
                parameter="relayhost",
                remedy="write the relay's name into relay.host, then {apply}",
                changes=Changes.WRITES,
                check="getent ahosts HOST",
            ),
            Candidate(
                id="no-dns",
                what="Postfix is configured not to query DNS",
                setting="main_cf.smtp_dns_support_level",
                parameter="smtp_dns_support_level, smtp_host_lookup",
                remedy="{remove smtp_dns_support_level}",
                changes=Changes.WRITES,
                check="postconf -n smtp_dns_support_level smtp_host_lookup",
                required_parameters=("smtp_dns_support_level", "smtp_host_lookup", "disable_dns_lookups"),
            ),
        ),
    ),
    Symptom(
        id="dns-unknown",
        title="the relay's name does not exist in DNS",
        cause=Cause.DNS,
        text=pattern("Host not found"),
        candidates=(
            Candidate(
                id="name-misspelt",
                what="the name is misspelt or no longer exists",
                setting="relay.host",
                parameter="relayhost",
                remedy="write the relay's name into relay.host, then {apply}",
                changes=Changes.WRITES,
                check="dig HOST",
            ),
            Candidate(
                id="hosts-file",
                what="the name is only in /etc/hosts, and Postfix queries DNS",
                setting="main_cf.smtp_host_lookup",
                parameter="smtp_host_lookup",
                remedy="{set smtp_host_lookup=dns, native}",
                changes=Changes.WRITES,
                check="getent hosts HOST",
                lint_decides=("relayhost-only-in-hosts-file",),
            ),
        ),
    ),
    Symptom(
        id="dns",
        title="the relay's name cannot be looked up",
        cause=Cause.DNS,
        candidates=(
            _RESOLVER,
            _CHROOT,
        ),
    ),
    # Connections
    # Before each connection to port 465, Postfix logs that wrappermode is off.
    *(
        Symptom(
            id="tls-wrapper-needed",
            title="this port expects TLS from the first byte, and Postfix is not configured for it",
            cause=cause,
            context=pattern(r"SMTPS wrappermode \(TCP port 465\) requires"),
            candidates=(
                Candidate(
                    id="implicit-tls-port",
                    what="port 465 requires wrappermode",
                    setting="relay.tls, relay.port",
                    parameter="smtp_tls_wrappermode",
                    certain_by=pattern("receiving the initial server greeting"),
                    remedy="{set smtp_tls_wrappermode=yes|smtp_tls_security_level=encrypt}, or port 587",
                    changes=Changes.WRITES,
                    check="is relayhost written with port 465 on purpose?",
                ),
                # Postfix logs the hint before it connects: a refused connection has causes of its own.
                _DOWN,
                _FIREWALL,
            ),
        )
        for cause in (Cause.REFUSED, Cause.TIMEOUT, Cause.LOST)
    ),
    Symptom(
        id="mx-refused",
        title="connections to port 25 are refused",
        cause=Cause.REFUSED,
        text=pattern(r"\]:25: "),
        candidates=(
            _PAST_RELAY,
            _WRONG_PORT,
            _DOWN,
            _FIREWALL,
        ),
    ),
    Symptom(
        id="filter-down",
        title="a service on this host does not accept the mail",
        cause=Cause.REFUSED,
        text=pattern(r"relay=(?:other|none) connect to (?:127\.0\.0\.1|localhost|::1)\["),
        candidates=(
            Candidate(
                id="content-filter",
                what="a content filter or transport on this host is down",
                setting="main_cf.content_filter",
                parameter="content_filter, transport_maps",
                remedy="start it, or remove it from main.cf",
                changes=Changes.RESTARTS,
                check="ss -ltn",
                lint_proves=("relayhost-overruled",),
                required_parameters=(
                    "content_filter",
                    "transport_maps",
                    "relay_transport",
                    "default_transport",
                ),
                goes_elsewhere=True,
            ),
            _WRONG_PORT,
        ),
    ),
    Symptom(
        id="connection-refused",
        title="the relay refuses connections",
        cause=Cause.REFUSED,
        candidates=(
            _DOWN,
            _WRONG_PORT,
            _FIREWALL,
            Candidate(
                id="transport-overrides",
                what="transport_maps routes this domain to another host",
                setting="main_cf.transport_maps",
                parameter="transport_maps",
                remedy="correct the entry",
                changes=Changes.WRITES,
                check='postmap -q DOMAIN "$(postconf -h transport_maps)"',
                lint_proves=("relayhost-overruled",),
                required_parameters=("transport_maps", "sender_dependent_relayhost_maps"),
                goes_elsewhere=True,
            ),
        ),
    ),
    Symptom(
        id="greeting-timeout",
        title="the relay sends no greeting",
        cause=Cause.TIMEOUT,
        text=pattern("receiving the initial server greeting"),
        candidates=(
            Candidate(
                id="implicit-tls-port",
                what="the port expects TLS from the first byte, and Postfix waits for a greeting",
                setting="relay.tls, relay.port",
                parameter="smtp_tls_wrappermode",
                remedy="{set smtp_tls_wrappermode=yes|smtp_tls_security_level=encrypt}, or port 587",
                changes=Changes.WRITES,
                check="postconf -h relayhost; is it a port such as 465?",
                lint_proves=("implicit-tls-port-without-wrappermode",),
            ),
            Candidate(
                id="relay-hangs",
                what="the relay accepts connections and does not answer",
                setting="nothing in the settings: the relay",
                parameter="-",
                remedy="wait, or contact the relay's operator",
                changes=Changes.READS,
                check="nc -v HOST PORT: does it print a line that begins with 220?",
            ),
            Candidate(
                id="not-smtp",
                what="another service listens on this port",
                setting="relay.host, relay.port",
                parameter="relayhost",
                remedy="write the relay's submission port, then {apply}",
                changes=Changes.WRITES,
                check="nc -v HOST PORT: does it print a line that begins with 220?",
            ),
        ),
    ),
    # An attempt over IPv4 timed out before the last one over IPv6 failed.
    *(
        Symptom(
            id="connect-timeout",
            title="connections to the relay time out: packets are dropped on the path",
            cause=cause,
            text=pattern("connect to "),
            context=context,
            names=(pattern(r"\[[\d.]+\]:(?P<PORT>\d+): Connection timed out"),),
            candidates=(
                Candidate(
                    id="port-blocked",
                    what=(
                        "a firewall, a security group or this host's provider blocks the port {line PORT|of the relay}, the "
                        "server's own firewall drops the packets, or the server is switched off"
                    ),
                    setting="relay.port",
                    parameter="relayhost",
                    remedy="allow outgoing connections, or use port 587 or 2525",
                    changes=Changes.WRITES,
                    check="nc -vz HOST PORT from here and from another network",
                ),
            ),
        )
        for cause, context in (
            (Cause.UNREACHABLE, pattern(r"connect to \S+\[\d+\.[\d.]+\]:\d+: Connection timed out")),
            (Cause.TIMEOUT, None),
        )
    ),
    Symptom(
        id="end-of-data-timeout",
        title="the relay does not confirm mail that it received: the mail may arrive twice",
        cause=Cause.TIMEOUT,
        text=pattern("sending end of data"),
        candidates=(
            Candidate(
                id="relay-slow",
                what="the relay, or its filter, takes longer than smtp_data_done_timeout",
                setting="main_cf.smtp_data_done_timeout",
                parameter="smtp_data_done_timeout",
                remedy="{set smtp_data_done_timeout=600s}; contact the relay's operator",
                changes=Changes.WRITES,
                check="postconf -h smtp_data_done_timeout; does the relay confirm later than that?",
            ),
            Candidate(
                id="middlebox",
                what="a firewall on the path inspects the mail and holds back its last packets or the reply",
                setting="the network",
                parameter="-",
                remedy="exempt this host from SMTP inspection",
                changes=Changes.READS,
                check="does a small mail pass while a large one does not? Does it happen from another network?",
            ),
        ),
    ),
    Symptom(
        id="conversation-timeout",
        title="the relay stops answering during the conversation",
        cause=Cause.TIMEOUT,
        candidates=(
            _DOWN,
            Candidate(
                id="mtu",
                what="large packets are lost on the path (MTU)",
                setting="the network",
                parameter="-",
                remedy="lower the interface's MTU",
                changes=Changes.WRITES,
                check="ping -M do -s 1472 HOST",
            ),
            _FIREWALL,
        ),
    ),
    Symptom(
        id="no-route-ipv6",
        title="this host has no route to the relay's IPv6 address",
        cause=Cause.UNREACHABLE,
        text=pattern(
            r"connect to \S+\[[0-9a-f]*:[0-9a-f:.]*\](?::\d+)?: (?:Network is unreachable|"
            "No route|Cannot assign)"
        ),
        candidates=(
            Candidate(
                id="ipv6",
                what="this host has no IPv6, and Postfix tried no other address of the relay",
                setting="host.inet_protocols",
                parameter="inet_protocols",
                remedy="{set inet_protocols=ipv4}",
                changes=Changes.WRITES,
                check="ip -6 route",
                lint_decides=("relayhost-address-family",),
            ),
            Candidate(
                id="ipv6-route",
                what="this host uses IPv6, and its route or its address is missing at the moment",
                setting="the network",
                parameter="-",
                remedy="repair the IPv6 route",
                changes=Changes.WRITES,
                check="ip -6 route: is there a default route, and should there be one?",
            ),
        ),
    ),
    Symptom(
        id="connect-forbidden",
        title="this host forbids the connection",
        cause=Cause.UNREACHABLE,
        text=pattern("Permission denied|Operation not permitted"),
        candidates=(
            Candidate(
                id="selinux",
                what="SELinux does not allow smtp(8) to connect to this port",
                setting="relay.port",
                parameter="semanage port",
                remedy="semanage port -a -t smtp_port_t -p tcp PORT",
                changes=Changes.OPENS,
                check="ausearch -m avc -ts recent -c smtp",
                host_check=lambda facts, _domains: False if facts.selinux is False else None,
            ),
            Candidate(
                id="local-rule",
                what="a routing or firewall rule on this host forbids the connection",
                setting="the network",
                parameter="-",
                remedy="remove the rule",
                changes=Changes.WRITES,
                check="ip route get ADDRESS; nft list ruleset",
            ),
        ),
    ),
    Symptom(
        id="network-unreachable",
        title="this host has no route to the relay",
        cause=Cause.UNREACHABLE,
        text=pattern("Network is unreachable|Network is down"),
        candidates=(
            Candidate(
                id="route",
                what="the default route is missing, or the interface is down",
                setting="the network",
                parameter="-",
                remedy="repair the routes",
                changes=Changes.WRITES,
                check="ip route",
            ),
        ),
    ),
    Symptom(
        id="host-unreachable",
        title="the relay is unreachable",
        cause=Cause.UNREACHABLE,
        candidates=(
            Candidate(
                id="route",
                what=(
                    "a route is missing, a firewall answers for the relay (icmp-host-prohibited), or the relay is switched "
                    "off in this host's own network"
                ),
                setting="the network",
                parameter="-",
                remedy="repair the routes or the firewall",
                changes=Changes.WRITES,
                check="ip route get ADDRESS; tracepath ADDRESS",
            ),
        ),
    ),
    Symptom(
        id="lost-at-greeting",
        title="the connection closes before the relay's greeting",
        cause=Cause.LOST,
        text=pattern("receiving the initial server greeting"),
        candidates=(
            Candidate(
                id="implicit-tls-port",
                what="the port expects TLS from the first byte",
                setting="relay.tls, relay.port",
                parameter="smtp_tls_wrappermode",
                remedy="{set smtp_tls_wrappermode=yes|smtp_tls_security_level=encrypt}, or port 587",
                changes=Changes.WRITES,
                check="postconf -h relayhost; is it a port such as 465?",
                lint_proves=("implicit-tls-port-without-wrappermode",),
            ),
            _DOWN,
            _FIREWALL,
        ),
    ),
    Symptom(
        id="connection-lost",
        title="the relay or a middlebox closes the connection during the conversation",
        cause=Cause.LOST,
        candidates=(
            Candidate(
                id="relay-hangs-up",
                what="the relay closes the connection: overload, maintenance, or a limit",
                setting="nothing in the settings: the relay",
                parameter="-",
                remedy="wait, or contact the relay's operator",
                changes=Changes.READS,
                check="postward relay: at which step does the connection close?",
            ),
            Candidate(
                id="middlebox",
                what="a firewall on the path closes the connection",
                setting="the network",
                parameter="-",
                remedy="exempt this host from SMTP inspection",
                changes=Changes.READS,
                check="does it happen from another network?",
            ),
        ),
    ),
    Symptom(
        id="loop",
        title="the relay is this host",
        cause=Cause.LOOP,
        candidates=(
            Candidate(
                id="loop-beyond",
                what="servers beyond this host send the mail to each other in a circle",
                setting="nothing in the settings: the recipient's server",
                parameter="-",
                certain_by=pattern(r"said: .*(?:hop count|too many hops|mail loop|5\.4\.[06])"),
                remedy="inform the operator of the recipient's domain, or of its forwarding",
                changes=Changes.READS,
                check="the Received lines of the returned mail",
            ),
            # smtp/smtp_proto.c
            Candidate(
                id="same-hostname",
                what="the server greets with this host's own name: myhostname is the same on both, as on cloned machines",
                setting="host.myhostname",
                parameter="myhostname",
                refuted_by=pattern(r" said: \d|relay=none, "),
                remedy="write this host's own name into host.myhostname, then {apply}",
                changes=Changes.WRITES,
                check="is ADDRESS another machine than this one?",
            ),
            Candidate(
                id="address-is-forwarded",
                what="the server's public address is forwarded to this host, which therefore talks to itself",
                setting="main_cf.proxy_interfaces",
                parameter="proxy_interfaces, relayhost",
                refuted_by=pattern(r" said: \d|relay=none, "),
                remedy="list the public address in proxy_interfaces, and correct the next hop; then {reload}",
                changes=Changes.WRITES,
                check="is ADDRESS the public address of this host's network?",
            ),
            # smtp/smtp_addr.c
            Candidate(
                id="domain-not-local",
                what="this host is the MX of {line DOMAIN|the domain}, and none of its domain lists contains it",
                setting="host.mydestination",
                parameter="mydestination, virtual_mailbox_domains, relay_domains",
                certain_by=pattern(r"to=<[^>]*@([\w.-]+)>, .*relay=none, .*mail for \1 loops back to myself"),
                refuted_by=pattern(r" said: \d|relayhost configuration problem"),
                remedy="add the domain to the list of its delivery, or correct its MX records; then {reload}",
                changes=Changes.WRITES,
                check="should this host deliver mail for the domain?",
            ),
            Candidate(
                id="relay-is-this-host",
                what="the name of the next hop resolves to this Postfix",
                setting="relay.host",
                certain_by=pattern(
                    r"relayhost configuration problem|"
                    r"to=<[^>]*@([\w.-]+)>, .*relay=none, .*mail for (?!\1 )\S+ loops back to myself"
                ),
                refuted_by=pattern(
                    r" said: \d|relay=\S+\[|to=<[^>]*@([\w.-]+)>, .*relay=none, .*mail for \1 loops back to myself"
                ),
                check="getent hosts HOST: is it an address of this host?",
                parameter="relayhost",
                remedy="write the relay's name into relay.host, then {apply}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="fallback",
        title="mail goes out through another relay, because this one is unreachable",
        text=pattern("(?!)"),
        effect=Effect.NOTE,
        candidates=(
            Candidate(
                id="relay-down",
                what="the relay, or the path to it, is out of service",
                setting="relay.fallback",
                parameter="smtp_fallback_relay, relayhost",
                remedy="check this relay; the fallback delivers until it is back",
                changes=Changes.READS,
                check="nc -vz HOST PORT",
            ),
        ),
    ),
    # Greetings
    Symptom(
        id="greeting-not-smtp",
        title="the server on this port is not a mail server",
        cause=Cause.GREETING_REFUSED,
        text=pattern("refused to talk to me: HTTP/"),
        candidates=(
            Candidate(
                id="not-smtp",
                what="a web server or proxy listens on that port",
                setting="relay.host, relay.port",
                parameter="relayhost",
                certain_by=pattern(r"refused to talk to me: HTTP/"),
                remedy="write the relay's name and submission port, then {apply}",
                changes=Changes.WRITES,
            ),
        ),
    ),
    Symptom(
        id="blocked",
        title="the relay blocks this host's address",
        cause=Cause.BLOCKED,
        candidates=(
            Candidate(
                id="reputation",
                what="the address is on a block list",
                setting="nothing in the settings: this host's address",
                parameter="-",
                remedy=(
                    "have the address removed from the list that the line names; if the relay is yours, "
                    "log in"
                ),
                changes=Changes.READS,
            ),
        ),
    ),
    Symptom(
        id="greeting-busy",
        title="the relay refuses to talk: too many connections",
        cause=Cause.GREETING_REFUSED,
        text=pattern("too many|connection|limit|busy"),
        candidates=(
            Candidate(
                id="concurrency",
                what="Postfix opens more connections at once than the relay allows",
                setting="main_cf.smtp_destination_concurrency_limit",
                parameter="smtp_destination_concurrency_limit",
                remedy="{set smtp_destination_concurrency_limit=2}",
                changes=Changes.WRITES,
                check="how many connections does ss -tn show to HOST at that time?",
            ),
            Candidate(
                id="relay-busy",
                what="the relay is overloaded, or other hosts behind the same address use up its limit",
                setting="nothing in the settings: the relay",
                parameter="-",
                remedy="wait, or ask the relay's operator for a higher limit",
                changes=Changes.READS,
                check="what does the relay's reply in the line say?",
            ),
        ),
    ),
    Symptom(
        id="greeting-refused",
        title="the relay refuses to talk to this host",
        cause=Cause.GREETING_REFUSED,
        candidates=(
            Candidate(
                id="relay-policy",
                what="the relay does not accept connections from here, or is in maintenance",
                setting="nothing in the settings: the relay",
                parameter="-",
                remedy="read the relay's reply; wait, or contact the relay's operator",
                changes=Changes.READS,
            ),
        ),
    ),
)
