"""Postfix text in, typed values out.

``parse`` takes one log line. ``(None, None)`` is a line that is not Postfix's, ``(record, None)`` one of
Postfix's that no rule knows, ``(record, event)`` one that was understood. Nothing here touches the system,
reads a clock or logs, and no line makes it raise.
"""

from postward.parsers.cause import (
    Cause,
    cause_of,
    cause_of_delivery,
    cause_of_diagnostic,
    classify,
    next_hop,
    relay_host_of,
    step_of,
)
from postward.parsers.events import Event
from postward.parsers.fields import as_fields, split_peer
from postward.parsers.line import OUTCOMES, outcome_of, parse, parse_event
from postward.parsers.postconf import Master, Service, parse_master, parse_parameters, split_list
from postward.parsers.record import Record, parse_record
from postward.parsers.stamp import parse_stamp

__all__ = [
    "OUTCOMES",
    "Cause",
    "Event",
    "Master",
    "Record",
    "Service",
    "as_fields",
    "cause_of",
    "cause_of_delivery",
    "cause_of_diagnostic",
    "classify",
    "next_hop",
    "outcome_of",
    "parse",
    "parse_event",
    "parse_master",
    "parse_parameters",
    "parse_record",
    "parse_stamp",
    "relay_host_of",
    "split_list",
    "split_peer",
    "step_of",
]
