"""A name server on loopback, by UDP: it answers from a table, and knows names that do not exist and its own failures."""

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset

Records = Mapping[tuple[str, str], Sequence[str]]  # name and type → values, as in a zone file


@contextmanager
def name_server(
    records: Records, *, failing: frozenset[str] = frozenset()
) -> Iterator[dns.resolver.Resolver]:
    """A server that answers SERVFAIL for the failing names; the resolver that asks it, and no other."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], server.getsockname()[1]

    def answer() -> None:
        while True:
            data, client = server.recvfrom(4096)
            if data == b"end":
                return
            server.sendto(_answer(data, records, failing), client)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield resolver
    finally:
        server.sendto(b"end", server.getsockname())
        thread.join()
        server.close()


def _answer(data: bytes, records: Records, failing: frozenset[str]) -> bytes:
    query = dns.message.from_wire(data)
    (question,) = query.question
    name = question.name.to_text(omit_final_dot=True).lower()
    kind = dns.rdatatype.to_text(question.rdtype)
    response = dns.message.make_response(query)
    response.flags |= dns.flags.RA
    if name in failing:
        response.set_rcode(dns.rcode.SERVFAIL)
    elif values := records.get((name, kind)):
        response.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *values))
    elif not any(known == name for known, _ in records):
        response.set_rcode(dns.rcode.NXDOMAIN)
    return response.to_wire()
