"""What a download of Panoramax's files needs: addresses by picture id, and redirects."""

from collections.abc import Sequence

from yarl import URL

from citysplat_core.imagery.panoramax.items import asset_url
from citysplat_core.imagery.panoramax.search import SearchClient
from citysplat_core.imagery.services.http import Answer, Http
from citysplat_core.imagery.services.lookup import BatchAnswer
from citysplat_core.imagery.services.metadata_store import MetadataStore

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 3


class FollowingHttp(Http):
    """A connection pool that follows redirects: instances send clients on to their object store.

    There is no token here that another host could see.
    """

    async def get(self, url: str) -> Answer:
        """Ask for an address, and for where it leads to."""
        answer = await super().get(url)
        for _ in range(_MOST_REDIRECTS):
            target = URL(answer.headers.get("Location", ""), encoded=True)
            if answer.status not in _REDIRECTS or not target.raw_path:
                break
            url = str(URL(url, encoded=True).join(target))
            if not url.startswith(("http://", "https://")):
                break
            answer = await super().get(url)
        return answer


class FileAddresses:
    """Addresses of files by picture id, in the form in which a download asks for them.

    What discovery saw is used the first time; an address that did not work is asked for anew.

    Args:
        client: The API.
        items: Items that are known.
        size_px: Width wanted, pixels; 0 for the original.
    """

    def __init__(self, client: SearchClient, items: MetadataStore, size_px: int) -> None:
        """Prepare; nothing is asked yet."""
        self._client, self._items, self._size_px = client, items, size_px
        self._given: set[str] = set()

    async def images(self, ids: Sequence[str], fields: str) -> BatchAnswer:
        """Return ``{field: address}`` of each picture, ``field`` being the last one named.

        Raises:
            BlockedError: "Too many requests" for longer than our patience.
            DiscoveryError: This is no Panoramax API, or it refuses us.
        """
        stored = self._items.read([i for i in ids if i not in self._given])
        known = {i: record.entity for i, record in stored.items() if record.entity is not None}
        unknown = [image_id for image_id in ids if image_id not in known]
        answer = await self._client.images(unknown) if unknown else BatchAnswer()
        self._given.update(ids)
        name = fields.rpartition(",")[2]
        found = known | answer.entities
        addresses = {i: {name: asset_url(item, self._size_px)} for i, item in found.items()}
        return BatchAnswer(entities=addresses, absent=answer.absent, failed=answer.failed)
