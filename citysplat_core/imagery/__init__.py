"""Images of the area: found, described, fetched, scored and credited."""

from citysplat_core.imagery.attribution import attribution_text
from citysplat_core.imagery.catalog import build_catalog
from citysplat_core.imagery.discovery import discover_images
from citysplat_core.imagery.folder import FolderSource
from citysplat_core.imagery.identity import IdentityRegistry
from citysplat_core.imagery.mapillary import MapillarySource
from citysplat_core.imagery.opening import open_source
from citysplat_core.imagery.panoramax import PanoramaxSource
from citysplat_core.imagery.photo_store import PhotoStore
from citysplat_core.imagery.photos import fetch_box_images
from citysplat_core.imagery.quality import Quality, score_photo
from citysplat_core.imagery.source import Discovery, ImageSource, PhotoRequest, PhotoResult
from citysplat_core.imagery.tile_ledger import TileLedger
from citysplat_core.imagery.token import Token

__all__ = [
    "Discovery",
    "FolderSource",
    "IdentityRegistry",
    "ImageSource",
    "MapillarySource",
    "PanoramaxSource",
    "PhotoRequest",
    "PhotoResult",
    "PhotoStore",
    "Quality",
    "TileLedger",
    "Token",
    "attribution_text",
    "build_catalog",
    "discover_images",
    "fetch_box_images",
    "open_source",
    "score_photo",
]
