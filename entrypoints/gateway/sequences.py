"""Sequences: each is its customer's own, though a server knows it by its number alone.

Whoever named the number of somebody else's would go on with it, and be told what stands in it. So
a server is given another one, made of the customer and of what the client says. `generate` is not
offered for models of sequences.
"""

import hashlib
from typing import Any

from entrypoints.gateway.http_json import Member, closed, dumped

NAME = "sequence_id"
_PARAMETERS = "parameters"
_NUMBER_BITS, _TEXT_DIGITS = 63, 32


def own(customer: str, given: Any) -> Any:
    """Return what a server knows a sequence by; what names none stays as it is."""
    if type(given) not in (int, str) or not given:
        return given
    kind = type(given).__name__
    digest = hashlib.sha256("\0".join((customer, kind, str(given))).encode(errors="replace"))
    if type(given) is str:
        return digest.hexdigest()[:_TEXT_DIGITS]
    return int.from_bytes(digest.digest()) >> (256 - _NUMBER_BITS) or 1


def owned(members: list[Member], customer: str) -> list[Member]:
    """Return the members of a request over HTTP, with the customer's own sequence."""
    return [_owned(member, customer) for member in members]


def _owned(member: Member, customer: str) -> Member:
    if member.name == _PARAMETERS and member.raw.startswith("{"):
        within = owned(member.value, customer)
        raw = closed([each.text for each in within])
        return Member(_PARAMETERS, raw, within, f'"{_PARAMETERS}":{raw}')
    is_number = type(member.value) is str and not member.raw.startswith('"')
    if member.name != NAME or is_number:  # with a fraction: the server will refuse it
        return member
    made = own(customer, member.value)
    raw = dumped(made)
    return Member(NAME, raw, made, f'"{NAME}":{raw}')


def own_in_grpc(parameters: Any, customer: str) -> None:
    """Make the sequence of a request over gRPC the customer's own."""
    if NAME not in parameters:
        return
    given = parameters[NAME]
    chosen = given.WhichOneof("parameter_choice")
    if chosen in ("int64_param", "uint64_param", "string_param"):
        setattr(given, chosen, own(customer, getattr(given, chosen)))
