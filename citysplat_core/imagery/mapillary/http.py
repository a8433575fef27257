"""HTTP with Mapillary's token: each host gets it in its own way, and the photo host not at all."""

from collections.abc import Mapping

from yarl import URL

from citysplat_core.imagery.services.http import Answer, Http
from citysplat_core.imagery.token import Token


class MapillaryHttp(Http):
    """A connection pool that knows the token; photos are asked for by ``get``, without it.

    Args:
        token: The access token.
        connections: Most connections at once.
        read_timeout_s: Longest silence of a host, seconds; a whole answer may take three times it.
    """

    def __init__(self, token: Token, connections: int, read_timeout_s: float = 20.0) -> None:
        """Remember the options; connections open on first use."""
        super().__init__(connections, read_timeout_s)
        self._token = token

    def redact(self, text: str) -> str:
        """Return a host's own words without the token, should it repeat it."""
        return self._token.redact(text)

    async def get_tile(self, url: str) -> Answer:
        """Ask the tile host, which takes the token in the query only."""
        secret = URL(url, encoded=True).update_query(access_token=self._token.reveal())
        return await self._get(secret, {})

    async def get_graph(self, url: str, query: Mapping[str, str]) -> Answer:
        """Ask the graph host, which takes the token in a header."""
        headers = {"Authorization": f"OAuth {self._token.reveal()}"}
        return await self._get(URL(url).update_query(dict(query)), headers)
