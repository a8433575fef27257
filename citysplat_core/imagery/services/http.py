"""HTTP for photo services: no redirects, bounded times, errors without secrets."""

import asyncio
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
from yarl import URL

T = TypeVar("T")


class TransportFault(Exception):  # noqa: N818  # caught and retried, never shown as it is
    """The connection failed before a whole answer came; the text holds no address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole HTTP answer.

    Attributes:
        status: HTTP status; redirects are not followed.
        headers: Case-insensitive header mapping.
        content_type: MIME type in lower case, without parameters.
        body: The bytes, decompressed.
    """

    status: int
    headers: Mapping[str, str]
    content_type: str
    body: bytes

    def retry_after_s(self) -> float | None:
        """Return the Retry-After header in seconds, None if absent or unreadable.

        A date counts from the answer's own date: the two clocks need not agree.
        """
        text = self.headers.get("Retry-After", "").strip()
        if text.isascii() and text.isdigit():
            return float(text)
        until, now = _date(text), _date(self.headers.get("Date", ""))
        if until is None:
            return None
        return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())


def _date(text: str) -> datetime | None:
    """Read an HTTP date; None if it is none."""
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


class Http:
    """A connection pool; use it in ``async with``.

    Args:
        connections: Most connections at once.
        read_timeout_s: Longest silence of a host, seconds; a whole answer may take three times it.
    """

    def __init__(self, connections: int, read_timeout_s: float = 20.0) -> None:
        """Remember the options; connections open on first use."""
        self._timeout = aiohttp.ClientTimeout(
            total=3.0 * read_timeout_s, sock_read=read_timeout_s, sock_connect=read_timeout_s
        )
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the pool."""
        connector = aiohttp.TCPConnector(limit=self._connections)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=self._timeout, trust_env=False, auto_decompress=True
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()

    async def get(self, url: str) -> Answer:
        """Ask a host that needs no token, and must see none."""
        return await self._get(URL(url, encoded=True), {})

    async def _get(self, url: URL, headers: Mapping[str, str]) -> Answer:
        if self._session is None:
            raise RuntimeError("the connection pool is not open")
        try:
            async with self._session.get(url, headers=headers, allow_redirects=False) as answer:
                body = await answer.read()
                return Answer(
                    status=answer.status,
                    headers=answer.headers,
                    content_type=answer.content_type.lower(),
                    body=body,
                )
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            # The message of the library may hold the address and with it the token.
            raise TransportFault(f"connection fault {type(error).__name__}") from None


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also when the caller has an event loop (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, work).result()
