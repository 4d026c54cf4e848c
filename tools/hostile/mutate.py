"""Mutations of input that keep much of its structure: of JSON values, and of bytes."""

import json
import random
from collections.abc import Sequence
from typing import Any

_ODD: Sequence[Any] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2**31,
        2**63,
        -(2**63),
        10**18,
        10**30,
        0.5,
        -0.0,
        1e308,
        "",
        "x",
        "\0",
        "\x1b[2J",
    ),
    *(
        "é" * 50,
        "\ud800",
        "9" * 400,
        [],
        {},
        [[]],
        [None],
        {"": None},
        "a" * 5000,
        [0] * 100,
        "1970-01-01",
        "-",
        "/",
    ),
)
_TOKENS = (
    *(
        b"\0",
        b"\r\n",
        b"\n\n",
        b"\r",
        b"\xff",
        b"\xed\xa0\x80",
        b"%s",
        b"\x1b[2J",
        b"<",
        b">",
        b"(",
        b")",
        b"[",
        b"]",
    ),
    *(
        b'"',
        b"\\",
        b"=",
        b": ",
        b", ",
        b"; ",
        b"250-",
        b"334 ",
        b"999999999999",
        b"-1",
        b"0x",
        b"1e999",
        b"NaN",
    ),
    *(
        b"status=sent (",
        b"from=<",
        b"to=<",
        b"warning: ",
        b"{",
        b"}",
        b"chunked",
        b"Content-Length: 5\r\n",
        b"a" * 300,
    ),
)


def mutated_json(chance: random.Random, text: bytes) -> bytes:
    """Return a JSON text with one to four of its values replaced, removed, repeated or swapped."""
    value = json.loads(text)
    for _ in range(chance.randint(1, 4)):
        value = _mutated(chance, value)
    if chance.random() < 0.02:
        return mutated_bytes(chance, json.dumps(value).encode())
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _mutated(chance: random.Random, value: Any) -> Any:
    places = list(_places(value))
    if not places:
        return _odd(chance)
    parent, key = chance.choice(places)
    match chance.randrange(5):
        case 0 | 1:
            parent[key] = _odd(chance)
        case 2:
            del parent[key]
        case 3:
            other, its = chance.choice(places)
            parent[key] = (
                json.loads(json.dumps(other[its])) if its in range(len(other)) or its in other else None
            )
        case _ if isinstance(parent, list):
            parent.insert(key, json.loads(json.dumps(parent[key])))
        case _:
            parent[chance.choice(("x", "", "\0", "__class__", *parent))] = _odd(chance)
    return value


def _odd(chance: random.Random) -> Any:
    """Return an odd value that no other place shares."""
    return json.loads(json.dumps(chance.choice(_ODD)))


def _places(value: Any) -> Any:
    inner = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    for key, child in inner:
        yield value, key
        yield from _places(child)


def mutated_bytes(chance: random.Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Return bytes with one to six changes: flipped, cut, repeated, joined with others, or with tokens put in."""
    result = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        start = chance.randint(0, len(result))
        end = min(len(result), start + chance.choice((0, 1, 1, 2, 5, 20, 100)))
        match chance.randrange(6):
            case 0:
                result[start:end] = bytes(chance.randrange(256) for _ in range(end - start))
            case 1:
                del result[start:end]
            case 2:
                result[start:start] = result[start:end] * chance.choice((1, 2, 50))
            case 3 | 4:
                result[start:end] = chance.choice(_TOKENS)
            case _ if others:
                other = chance.choice(others)
                cut = chance.randint(0, len(other))
                result[start:end] = other[cut : cut + 200]
    return bytes(result[:65536])
