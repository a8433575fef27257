"""Asking the graph for images: in batches, by error class, down to single ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from citysplat_core.errors import BlockedError
from citysplat_core.imagery.mapillary.http import MapillaryHttp
from citysplat_core.imagery.mapillary.raw_entities import cut_out
from citysplat_core.imagery.mapillary.verdict import Verdict, error_of, json_object, judge
from citysplat_core.imagery.services.http import Answer, TransportFault
from citysplat_core.imagery.services.lookup import BatchAnswer, BatchSize
from citysplat_core.imagery.services.machine_pace import Pacer
from citysplat_core.imagery.services.patience import Patience
from citysplat_core.imagery.services.retries import Retry

_BUSY_PERCENT = 90
_TRIES_OF_A_PART = 2
_USAGE = ("call_count", "call_volume", "total_cputime", "total_time")


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphClient:
    """Asks the graph host.

    Attributes:
        http: Open connections.
        graph_url: Base address.
        pace: Spacing of requests.
        patience: Retries and pauses.
        batch: How many ids the next request should name.
    """

    http: MapillaryHttp
    graph_url: str
    pace: Pacer
    patience: Patience
    batch: BatchSize = field(default_factory=BatchSize)

    async def images(self, ids: Sequence[str], fields: str) -> BatchAnswer:
        """Describe up to ``BATCH`` images.

        An id that is missing from a batch is asked for once more before it counts as absent; a
        batch that keeps failing is halved until the sick id is alone.

        Raises:
            TokenError: The token is refused.
            BlockedError: "Limit reached" for longer than our patience, or a redirect.
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
        verdict, text, value, body = await self._ask("images", query, tries=tries)
        if verdict is Verdict.GOOD:
            self.batch.worked()
            return _answer_of(ids, value, body)
        if len(ids) == 1:
            if verdict is Verdict.GONE:
                return BatchAnswer(absent=set(ids))
            return BatchAnswer(failed={ids[0]: text})
        if verdict is Verdict.TOO_MUCH:
            self.batch.refused(len(ids))
            tries = None  # the parts are new questions, not second tries
        else:
            # The whole batch has had its retries; its parts only look for the sick id.
            tries = _TRIES_OF_A_PART
        answer = BatchAnswer()
        half = len(ids) // 2
        for part in (ids[:half], ids[half:]):
            answer.merge(await self._divided(part, fields, tries=tries))
        return answer

    async def detections(self, image_id: str) -> BatchAnswer:
        """Return what was detected in an image, as the ``data`` of its entity.

        Raises:
            TokenError: The token is refused.
            BlockedError: "Limit reached" for longer than our patience.
            DiscoveryError: The graph calls our request wrong.
        """
        path, query = f"{image_id}/detections", {"fields": "value,geometry"}
        verdict, text, value, _ = await self._ask(path, query)
        if verdict is Verdict.GOOD:
            return BatchAnswer(entities={image_id: value})
        if verdict is Verdict.GONE:
            return BatchAnswer(absent={image_id})
        return BatchAnswer(failed={image_id: text})

    async def sequence(self, sequence_id: str) -> list[str]:
        """Return the ids of a sequence in capture order; none if it cannot be had."""
        verdict, _, value, _ = await self._ask("image_ids", {"sequence_id": sequence_id})
        if verdict is not Verdict.GOOD:
            return []
        return [str(entry["id"]) for entry in value.get("data", [])]

    async def _ask(
        self, path: str, query: Mapping[str, str], *, tries: int | None = None
    ) -> tuple[Verdict, str, dict[str, Any], bytes]:
        """Ask until the answer is final: good, gone, too much, or failing beyond patience."""
        retry = Retry(self.patience, tries=tries)
        while True:
            await self.pace.wait()
            try:
                answer = await self.http.get_graph(f"{self.graph_url.rstrip('/')}/{path}", query)
            except TransportFault as fault:
                if await retry.after_fault():
                    continue
                return Verdict.RETRY, str(fault), {}, b""
            verdict, text = judge(answer)
            text = self.http.redact(text)
            value = json_object(answer.body) if verdict is Verdict.GOOD else {}
            if value is None:
                verdict, text = Verdict.RETRY, "an answer that is no JSON"
            if verdict in {Verdict.TOKEN, Verdict.FATAL}:
                raise error_of(verdict, path, text)
            if verdict is Verdict.LIMIT:
                self._pause(retry, answer)
                continue
            self._slow_down(answer)
            if verdict is Verdict.RETRY and await retry.after_fault():
                continue
            return verdict, text, value or {}, answer.body

    def _pause(self, retry: Retry, answer: Answer) -> None:
        """Wait as long as we are told, and let everybody wait; give up when that is too long."""
        pause_s, told = retry.pause_s(answer), answer.retry_after_s()
        if pause_s is None or (told is not None and told > self.patience.max_told_pause_s):
            when = "in an hour" if told is None else f"in {told / 60:.0f} minutes"
            raise BlockedError(
                'the graph host answers "limit reached" for longer than our patience',
                expected="answers again after a pause",
                fix=f"Run again {when}; everything that was answered is kept.",
            )
        # Asking sooner than we were told would only prolong it.
        self.pace.pause(max(pause_s, told or 0.0))

    def _slow_down(self, answer: Answer) -> None:
        """Pause when the application has used most of its share, before it is refused."""
        usage = json_object(answer.headers.get("X-App-Usage", "").encode()) or {}
        numbers = [usage.get(key, 0) for key in _USAGE]
        used = max((n for n in numbers if isinstance(n, int | float)), default=0)
        if used > _BUSY_PERCENT:
            told = answer.retry_after_s() or 0.0
            pause_s = min(self.patience.limit_pause_s, 10.0)
            self.pace.pause(max(pause_s, min(told, self.patience.max_told_pause_s)))


def _answer_of(ids: list[str], value: dict[str, Any], body: bytes) -> BatchAnswer:
    """Sort what a good answer says of the ids that were asked for; others are not ours."""
    asked = set(ids)
    data = value.get("data")
    listed = [e for e in data if isinstance(e, dict)] if isinstance(data, list) else []
    names = [e.get("id") for e in listed]
    # A floating-point id would have lost digits on its way, and then it is nobody's.
    texts = [n if isinstance(n, str) else str(n) if isinstance(n, int) else "" for n in names]
    written = cut_out(body, texts)
    answer = BatchAnswer()
    for place, image_id in enumerate(texts):
        if image_id in asked:
            answer.entities[image_id] = listed[place]
            if written:
                answer.bodies[image_id] = written[place]
    answer.absent = asked - answer.entities.keys()
    return answer
