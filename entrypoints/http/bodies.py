"""Bodies: what a request carries, read strictly: JSON in UTF-8, no key twice, no fractions.

Amounts and other numbers with a fraction travel as strings, so a number that is not whole is
refused wherever it stands. Which fields there may be is the commands' own matter.
"""

import json
import re
from collections import Counter
from typing import Any, NoReturn

from starlette.requests import Request
from tollbook.errors import Invalid

from entrypoints.http.problems import BadRequest, UnsupportedMediaType

JSON = "application/json"
CLOUD_EVENT = "application/cloudevents+json"
CLOUD_EVENTS = "application/cloudevents-batch+json"

DEPTH_MAX = 64

_CHARSET = re.compile(r'\s*charset\s*=\s*"?utf-8"?\s*', re.IGNORECASE)


async def read_json(request: Request, types: tuple[str, ...] = (JSON,)) -> tuple[str, Any]:
    """Return the media type of a request and its body, read as JSON."""
    media_type = _media_type(request.headers.get("content-type"), types)
    return media_type, parse_json(await request.body())


async def read_object(request: Request) -> dict[str, Any]:
    """Return a request's body, which has to be a JSON object."""
    _, body = await read_json(request)
    if type(body) is not dict:
        raise Invalid.because("body", body, "a JSON object")
    return body


def _media_type(header: str | None, types: tuple[str, ...]) -> str:
    if header == JSON and header in types:
        return header
    name, _, parameters = (header or "").partition(";")
    name = name.strip().lower()
    if name not in types:
        raise UnsupportedMediaType.because("Content-Type", header, " or ".join(types))
    for parameter in parameters.split(";"):
        if "charset" in parameter.lower() and not _CHARSET.fullmatch(parameter):
            raise UnsupportedMediaType.because("Content-Type", header, "in UTF-8")
    return name


def parse_json(data: bytes) -> Any:
    """Read JSON in UTF-8 strictly; raises BadRequest for what is none."""
    try:
        return _DECODER.decode(data.decode())
    except RecursionError:
        raise BadRequest.because("body", None, f"at most {DEPTH_MAX} levels deep") from None
    except UnicodeDecodeError as error:
        raise BadRequest.because("body", f"byte {error.start}", "JSON in UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadRequest.because("body", where, f"JSON ({error.msg})") from None
    except ValueError:  # a number of thousands of digits
        raise BadRequest.because("body", None, "JSON with numbers of a sane length") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        repeated, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise BadRequest.because("key", repeated, "given once in its object")
    return members


def _refuse_number(text: str) -> NoReturn:
    raise BadRequest.because(
        "number", text, "a whole number, or a decimal string where it has a fraction"
    )


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_refuse_number, parse_constant=_refuse_number
)
