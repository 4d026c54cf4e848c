"""A name server on loopback, by UDP: it answers from a table, and knows names that do not exist and its own failures.

With another name server behind it, it passes questions on whose names are not in the table.
"""

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset

Records = Mapping[tuple[str, str], Sequence[str]]  # name and type → values, as in a zone file


@contextmanager
def name_server(
    records: Records,
    *,
    failing: frozenset[str] = frozenset(),
    at: tuple[str, int] = ("127.0.0.1", 0),
    behind: str | None = None,
    validates: bool = False,
) -> Iterator[dns.resolver.Resolver]:
    """A server that answers SERVFAIL for the failing names; the resolver that asks it, and no other.

    Args:
        records: the table.
        failing: the failing names.
        at: its address and port.
        behind: address of the name server that answers for other names; None: they do not exist.
        validates: answers say that they were validated by DNSSEC.
    """
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(at)
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [at[0]], server.getsockname()[1]

    def answer() -> None:
        while True:
            data, client = server.recvfrom(4096)
            if data == b"end":
                return
            server.sendto(_answer(data, records, failing, behind, validates), client)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield resolver
    finally:
        server.sendto(b"end", server.getsockname())
        thread.join()
        server.close()


def _answer(
    data: bytes, records: Records, failing: frozenset[str], behind: str | None, validates: bool
) -> bytes:
    query = dns.message.from_wire(data)
    (question,) = query.question
    name = question.name.to_text(omit_final_dot=True).lower()
    kind = dns.rdatatype.to_text(question.rdtype)
    response = dns.message.make_response(query)
    response.flags |= dns.flags.RA | (dns.flags.AD if validates else 0)
    if name in failing:
        response.set_rcode(dns.rcode.SERVFAIL)
    elif values := records.get((name, kind)):
        response.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *values))
    elif not any(known == name for known, _ in records):
        if behind is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        else:
            try:
                return dns.query.udp(query, behind, timeout=5).to_wire()
            except (dns.exception.DNSException, OSError):
                response.set_rcode(dns.rcode.SERVFAIL)
    return response.to_wire()
