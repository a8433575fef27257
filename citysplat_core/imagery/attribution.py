"""The text that says whose photos these are and under which licence."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

_SERVICES = {
    "mapillary": (
        "[Mapillary](https://www.mapillary.com)",
        "https://www.mapillary.com/app/?pKey={}",
        "https://www.mapillary.com/app/user/{}",
    ),
    "panoramax": (
        "[Panoramax](https://panoramax.fr)",
        "https://api.panoramax.xyz/#focus=pic&pic={}",
        "",
    ),
}
"""Name, page of a photo by its id, page of a creator by the name."""

_LICENCES = {
    "CC-BY-SA-4.0": ("CC BY-SA 4.0", "https://creativecommons.org/licenses/by-sa/4.0/"),
    "CC-BY-4.0": ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"),
    "CC0-1.0": ("CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
    "etalab-2.0": (
        "Licence Ouverte 2.0",
        "https://www.etalab.gouv.fr/licence-ouverte-open-licence/",
    ),
}
_SHARE_ALIKE = (
    "Models, splats and pictures made from these photos are adapted material: whoever shares them\n"
    "gives this credit, says that changes were made, and shares them under {licence} or a\n"
    "compatible licence."
)
_BY = (
    "Whoever shares models, splats and pictures made from these photos gives this credit and says\n"
    "that changes were made, as the licence asks."
)
_GONE = {
    "mapillary": "Mapillary blurs faces and licence plates; an image that is deleted there must not"
    " be\npublished again.",
    "panoramax": "Panoramax instances blur faces and licence plates; a picture that is deleted"
    " there must\nnot be published again.",
}
_FOLDER = (
    "Photos supplied by the user ({n_photos} photos). Their rights are the user's to know; no"
    " licence is\nstated here."
)
_LINKS = (
    "A link to one photo of each sequence; any other is at `{page}`,\n"
    "where ID is the photo's id, its file name or its `image_id` here:"
)
_COLUMNS = ("source", "licence", "creator", "creator_id", "sequence_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """Photos of one creator in one sequence.

    Attributes:
        source: Where they come from.
        licence: SPDX identifier or the source's own name of it; None if nobody says.
        creator: User name, if there is one.
        creator_id: The source's number of the user.
        sequence_id: The source's name of the sequence or collection.
        first_id: The smallest image id among them; panoramas count as one photo.
        n_photos: How many they are.
    """

    source: str
    licence: str | None
    creator: str | None
    creator_id: str | None
    sequence_id: str | None
    first_id: str
    n_photos: int


def attribution_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the credits of a set of photos as Markdown.

    Args:
        rows: Catalog rows of the photos in use, one for each photo that somebody took.

    Returns:
        One section for each source and licence: the creators with their numbers of photos, sorted
        by name, and a link for each sequence.
    """
    counts: Counter[tuple[Any, ...]] = Counter()
    firsts: dict[tuple[Any, ...], str] = {}
    for row in rows:
        key = tuple(row.get(name) for name in _COLUMNS)
        image_id = str(row.get("panorama_id") or row.get("image_id") or "")
        counts[key] += 1
        firsts[key] = min(firsts.get(key, image_id), image_id)
    return credits_text(
        Credit(**dict(zip(_COLUMNS, key, strict=True)), first_id=firsts[key], n_photos=n)
        for key, n in counts.items()
    )


def attribution_of_catalog(catalog: Path) -> str:
    """Return the credits of all photos of a catalog that are in use or were cut into views.

    Args:
        catalog: The ``catalog.parquet``, of any size.
    """
    names = [*_COLUMNS, "image_id"]
    filters = pc.field("status").isin(["listed", "cut"])
    if "panorama_id" in pq.read_schema(catalog).names:
        filters &= pc.field("panorama_id").is_null()
    table = pq.read_table(catalog, columns=names, filters=filters, read_dictionary=list(_COLUMNS))
    table = table.unify_dictionaries()
    grouped = table.group_by(list(_COLUMNS)).aggregate([("image_id", "min"), ("image_id", "count")])
    grouped = grouped.rename_columns(
        [
            {"image_id_min": "first_id", "image_id_count": "n_photos"}.get(n, n)
            for n in grouped.column_names
        ]
    )
    return credits_text(Credit(**row) for row in grouped.to_pylist())


def credits_text(photos: Iterable[Credit]) -> str:
    """Return credits as Markdown; see ``attribution_text``."""
    sections: dict[tuple[str, str], list[Credit]] = defaultdict(list)
    for credit in photos:
        licence = credit.licence or ("CC-BY-SA-4.0" if credit.source == "mapillary" else "")
        sections["" if credit.source == "folder" else credit.source, licence].append(credit)
    if not sections:
        sections["", ""] = []
    # Services first, by name; the user's own photos last.
    ordered = sorted(sections.items(), key=lambda item: (not item[0][0], item[0]))
    parts = [
        _service_section(source, licence, listed) if source else _folder_section(listed)
        for (source, licence), listed in ordered
    ]
    return "\n".join(f"# Attribution\n\n{part}\n" for part in parts)


def _folder_section(photos: Sequence[Credit]) -> str:
    paragraphs = [_FOLDER.format(n_photos=sum(credit.n_photos for credit in photos))]
    names = Counter[str]()
    for credit in photos:
        if credit.creator:
            names[credit.creator] += credit.n_photos
    return "\n\n".join([*paragraphs, *([_counted(names)] if names else [])])


def _service_section(source: str, licence: str, photos: Sequence[Credit]) -> str:
    service, photo_page, user_page = _SERVICES[source]
    name, url = _LICENCES.get(licence, (licence, ""))
    said = f"licensed [{name}]({url})" if url else f"licensed {name}"
    if not name:
        said = "under the licence that its instance states"
    creators = Counter[str]()
    for credit in photos:
        creators[_creator(credit, user_page)] += credit.n_photos
    total = sum(credit.n_photos for credit in photos)
    duty = _SHARE_ALIKE.format(licence=name) if "SA" in licence else _BY
    return "\n\n".join(
        [
            f"Photos from {service} ({total} photos), {said}, by:",
            _counted(creators),
            _LINKS.format(page=photo_page.format("ID")),
            _sequences(photos, photo_page),
            f"{duty} {_GONE[source]}",
        ]
    )


def _creator(credit: Credit, page: str) -> str:
    if credit.creator and page:
        return f"[@{credit.creator}]({page.format(credit.creator)})"
    if credit.creator:
        return credit.creator
    return f"user {credit.creator_id}" if credit.creator_id else "an unnamed user"


def _sequences(photos: Sequence[Credit], page: str) -> str:
    counts: Counter[str] = Counter()
    firsts: dict[str, str] = {}
    for credit in photos:
        name = credit.sequence_id or "unnamed"
        counts[name] += credit.n_photos
        firsts[name] = min(firsts.get(name, credit.first_id), credit.first_id)
    return _counted(
        {f"sequence [{name}]({page.format(firsts[name])})": n for name, n in counts.items()}
    )


def _counted(counts: Mapping[str, int]) -> str:
    return "\n".join(f"- {name}: {counts[name]} photos" for name in sorted(counts))
