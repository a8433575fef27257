"""Photos with `mapillary-downloader`, which takes user names."""

import logging
from pathlib import Path

from mapillary_downloader.client import MapillaryClient
from mapillary_downloader.downloader import MapillaryDownloader
from measured import measured, options

given = options()
logging.getLogger("mapillary_downloader").setLevel(logging.ERROR)
client = MapillaryClient(given["token"])
client.base_url = given["url"]
with measured():
    for user in given["users"]:
        downloader = MapillaryDownloader(
            client,
            Path(given["out"]),
            user,
            str(given["size_px"]),
            max_workers=given["connections"],
            tar_sequences=False,
            convert_webp=False,
            check_ia=False,
        )
        downloader.download_user_data()
