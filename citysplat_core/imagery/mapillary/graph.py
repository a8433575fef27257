"""Asking the graph for images: in batches, by error class, down to single ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol

import orjson

from citysplat_core.errors import BlockedError, DiscoveryError, TokenError
from citysplat_core.imagery.mapillary.http import Answer, Http, TransportFault
from citysplat_core.imagery.mapillary.limits import Pace, Retry
from citysplat_core.imagery.mapillary.policy import Patience

BATCH = 50
"""Most ids in one request."""
_BUSY_PERCENT = 90
_TRIES_OF_A_PART = 2


class Verdict(Enum):
    """What an answer of the graph means for the client."""

    GOOD = auto()
    LIMIT = auto()
    TRANSIENT = auto()
    TOO_MUCH = auto()
    GONE = auto()
    TOKEN = auto()
    WRONG = auto()


@dataclass(slots=True, kw_only=True)
class BatchAnswer:
    """Images of a batch.

    Attributes:
        entities: Image id to its description.
        absent: Ids that the graph does not know (any more).
        failed: Id to the reason why it could not be asked.
    """

    entities: dict[str, dict[str, Any]] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)

    def merge(self, other: "BatchAnswer") -> None:
        """Take over another answer."""
        self.entities |= other.entities
        self.absent |= other.absent
        self.failed |= other.failed


class ImageLookup(Protocol):
    """Whoever describes images by their ids."""

    async def images(self, ids: Sequence[str], fields: str) -> BatchAnswer:
        """Describe up to ``BATCH`` images; see ``GraphClient.images``."""
        ...


def judge(answer: Answer) -> tuple[Verdict, str]:
    """Return what an answer means, and the service's own words.

    Args:
        answer: Any answer of the graph host.
    """
    if answer.status == 200:
        return Verdict.GOOD, ""
    error = _error_of(answer.body)
    text = str(error.get("message", f"HTTP {answer.status}"))
    return _verdict_of_error(answer.status, error, text), text


def _verdict_of_error(status: int, error: dict[str, Any], text: str) -> Verdict:
    code = error.get("code")
    # In this order: a transient limit is a limit, "reduce" is code 1 like an unknown error.
    rules = (
        (code == 190 or status == 401, Verdict.TOKEN),
        (status == 429 or code == 4, Verdict.LIMIT),
        (code == 1 and "reduce the amount" in text, Verdict.TOO_MUCH),
        (code == 100 and error.get("error_subcode") == 33, Verdict.GONE),
        (status >= 500 or code in {-2, 1, 2} or bool(error.get("is_transient")), Verdict.TRANSIENT),
    )
    return next((verdict for applies, verdict in rules if applies), Verdict.WRONG)


def _error_of(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}  # XML and HTML bodies: the status alone decides
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphClient:
    """Asks the graph host.

    Attributes:
        http: Open connections.
        graph_url: Base address.
        pace: Spacing of requests.
        patience: Retries and pauses.
    """

    http: Http
    graph_url: str
    pace: Pace
    patience: Patience

    async def images(self, ids: Sequence[str], fields: str) -> BatchAnswer:
        """Describe up to ``BATCH`` images.

        An id that is missing from a batch is asked for once more before it counts as absent; a
        batch that keeps failing is halved until the sick id is alone.

        Raises:
            TokenError: The token is refused.
            BlockedError: "Limit reached" for longer than our patience.
            DiscoveryError: The graph calls our request wrong.
        """
        answer = await self._divided(list(ids), fields)
        if answer.absent:
            again = sorted(answer.absent)
            answer.absent = set()
            answer.merge(await self._divided(again, fields))
        return answer

    async def _divided(
        self, ids: list[str], fields: str, *, tries: int | None = None
    ) -> BatchAnswer:
        query = {"image_ids": ",".join(ids), "fields": fields}
        verdict, text, value = await self._ask("images", query, tries=tries)
        if verdict is Verdict.GOOD:
            entities = {str(entity["id"]): entity for entity in value.get("data", [])}
            return BatchAnswer(entities=entities, absent=set(ids) - set(entities))
        if len(ids) == 1:
            if verdict is Verdict.GONE:
                return BatchAnswer(absent=set(ids))
            return BatchAnswer(failed={ids[0]: text})
        answer = BatchAnswer()
        half = len(ids) // 2
        for part in (ids[:half], ids[half:]):
            # The whole batch has had its retries; its parts only look for the sick id.
            answer.merge(await self._divided(part, fields, tries=_TRIES_OF_A_PART))
        return answer

    async def sequence(self, sequence_id: str) -> list[str]:
        """Return the ids of a sequence in capture order; none if it cannot be had."""
        verdict, _, value = await self._ask("image_ids", {"sequence_id": sequence_id})
        if verdict is not Verdict.GOOD:
            return []
        return [str(entry["id"]) for entry in value.get("data", [])]

    async def _ask(
        self, path: str, query: Mapping[str, str], *, tries: int | None = None
    ) -> tuple[Verdict, str, dict[str, Any]]:
        """Ask until the answer is final: good, gone, too much, or transient beyond patience."""
        retry = Retry(self.patience, tries=tries)
        while True:
            await self.pace.wait()
            try:
                answer = await self.http.get_graph(f"{self.graph_url.rstrip('/')}/{path}", query)
            except TransportFault as fault:
                if await retry.after_fault():
                    continue
                return Verdict.TRANSIENT, str(fault), {}
            verdict, text = judge(answer)
            value = _json_object(answer.body) if verdict is Verdict.GOOD else {}
            if value is None:
                verdict, text = Verdict.TRANSIENT, "an answer that is no JSON"
            if verdict is Verdict.TOKEN:
                raise refused_token(text)
            if verdict is Verdict.WRONG:
                raise _wrong_request(path, text)
            if verdict is Verdict.LIMIT:
                self._pause(retry, answer)
                continue
            self._slow_down(answer)
            if verdict is Verdict.TRANSIENT and await retry.after_fault():
                continue
            return verdict, text, value or {}

    def _pause(self, retry: Retry, answer: Answer) -> None:
        pause_s = retry.pause_s(answer)
        if pause_s is None:
            raise BlockedError(
                'the graph host answers "limit reached" for longer than our patience',
                expected="answers again after a pause",
                fix="Run again in an hour; everything that was answered is kept.",
            )
        self.pace.pause(pause_s)

    def _slow_down(self, answer: Answer) -> None:
        """Pause when the application has used most of its minute, before it is refused."""
        usage = _json_object(answer.headers.get("X-App-Usage", "").encode()) or {}
        used = max((usage.get(k, 0) for k in ("call_count", "call_volume")), default=0)
        if isinstance(used, int | float) and used > _BUSY_PERCENT:
            self.pace.pause(min(self.patience.limit_pause_s, 10.0))


def refused_token(text: str) -> TokenError:
    """Return the error for a token that the graph refuses; ``text`` is the service's own words."""
    return TokenError(
        f"Mapillary refused the token ({text})",
        expected="a Mapillary client token (MLY|...)",
        fix="Check MAPILLARY_TOKEN; tokens are made at mapillary.com/dashboard/developers.",
    )


def _wrong_request(path: str, text: str) -> DiscoveryError:
    return DiscoveryError(
        f"the graph host refused a request to /{path} ({text})",
        expected="image descriptions",
        fix="Check source.graph_url in city.toml; if it is right, the service has changed.",
    )


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
