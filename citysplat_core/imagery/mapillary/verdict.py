"""What an answer of the graph host means: five classes of errors, and what each asks of us.

======== =============================================================== ======================
class    seen as                                                         treatment
======== =============================================================== ======================
gone     code 100/33; absent from a batch, twice                         tombstone
retry    5xx, ``is_transient``, codes 1, 2 and -2 (comes with HTTP 400)  again, then by halves
too much "reduce the amount of data", whatever its code                  half the batch, at once
limit    429, code 4                                                     all wait as they are told
token    401, code 190                                                   the run stops
fatal    any other 4xx; a redirect (to a login page)                     the run stops
======== =============================================================== ======================
"""

from enum import Enum
from typing import Any

import orjson

from citysplat_core.errors import BlockedError, DiscoveryError, TokenError
from citysplat_core.imagery.services.http import Answer


class Verdict(Enum):
    """The class of an answer; the values are what the metadata ledger records."""

    GOOD = "good"
    GONE = "gone"
    RETRY = "retry"
    TOO_MUCH = "too much"
    LIMIT = "limit"
    TOKEN = "token"  # noqa: S105  # a class of errors
    FATAL = "fatal"


def judge(answer: Answer) -> tuple[Verdict, str]:
    """Return what an answer means, and the service's own words.

    Args:
        answer: Any answer of the graph host.
    """
    if answer.status == 200:
        return Verdict.GOOD, ""
    if 300 <= answer.status < 400:
        return Verdict.FATAL, f"HTTP {answer.status}, a redirect"
    error = _error_of(answer.body)
    text = str(error.get("message", f"HTTP {answer.status}"))
    return _verdict_of_error(answer.status, error, text), text


def _verdict_of_error(status: int, error: dict[str, Any], text: str) -> Verdict:
    code = error.get("code")
    # In this order: a transient limit is a limit, "reduce" is code 1 like an unknown error.
    rules = (
        (code == 190 or status == 401, Verdict.TOKEN),
        (status == 429 or code == 4, Verdict.LIMIT),
        ("reduce the amount" in text, Verdict.TOO_MUCH),
        (code == 100 and error.get("error_subcode") == 33, Verdict.GONE),
        (status >= 500 or code in {-2, 1, 2} or bool(error.get("is_transient")), Verdict.RETRY),
    )
    return next((verdict for applies, verdict in rules if applies), Verdict.FATAL)


def _error_of(body: bytes) -> dict[str, Any]:
    value = json_object(body)
    error = value.get("error") if value is not None else None
    return error if isinstance(error, dict) else {}


def json_object(body: bytes) -> dict[str, Any] | None:
    """Return a JSON object; None for anything else (XML, HTML, a cut-off body)."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def error_of(verdict: Verdict, path: str, text: str) -> DiscoveryError:
    """Return the error for an answer that stops the run.

    Args:
        verdict: ``TOKEN`` or ``FATAL``.
        path: What was asked for, without the query.
        text: The service's own words.
    """
    if verdict is Verdict.TOKEN:
        return refused_token(text)
    if "redirect" in text:
        return BlockedError(
            f"the graph host answers /{path} with a redirect ({text})",
            expected="image descriptions",
            fix="Run again in an hour; everything that was answered is kept. If it stays, check "
            "source.graph_url in city.toml.",
        )
    return DiscoveryError(
        f"the graph host refused a request to /{path} ({text})",
        expected="image descriptions",
        fix="Check source.graph_url in city.toml; if it is right, the service has changed.",
    )


def refused_token(text: str) -> TokenError:
    """Return the error for a token that the graph refuses; ``text`` is the service's own words."""
    return TokenError(
        f"Mapillary refused the token ({text})",
        expected="a Mapillary client token (MLY|...)",
        fix="Check MAPILLARY_TOKEN; tokens are made at mapillary.com/dashboard/developers.",
    )
