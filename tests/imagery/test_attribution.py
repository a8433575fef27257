"""Whose photos these are, in words and links."""

import pyarrow as pa
import pytest

from citysplat_core.imagery.attribution import attribution_of_catalog, attribution_text
from citysplat_core.imagery.attribution_merge import merge_attributions, write_merged
from citysplat_core.imagery.geoparquet import write_points
from citysplat_core.imagery.tables import CATALOG_SCHEMA, table_of

BIG = 2**60 + 1


def row(**values):
    base = {
        "image_id": str(BIG), "source": "mapillary", "licence": "CC-BY-SA-4.0", "creator": "ann",
        "creator_id": "7", "sequence_id": "s1",
    }  # fmt: skip
    return base | values


def test_creators_are_credited_with_licence_links_and_share_alike():
    text = attribution_text([row(), row(), row(creator="bob"), row(creator=None)])
    assert "[@ann](https://www.mapillary.com/app/user/ann): 2 photos" in text
    assert "user 7: 1 photos" in text
    assert "(4 photos)" in text
    assert "[CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/)" in text
    assert "adapted material" in text


def test_each_sequence_has_a_link_to_one_of_its_photos():
    text = attribution_text([row(), row(image_id="5"), row(image_id="9", sequence_id="s2")])
    assert f"sequence [s1](https://www.mapillary.com/app/?pKey={BIG}): 2 photos" in text
    assert "sequence [s2](https://www.mapillary.com/app/?pKey=9): 1 photos" in text


def test_a_view_of_a_panorama_links_to_the_panorama():
    text = attribution_text([row(image_id="44~v3", panorama_id="44")])
    assert "pKey=44)" in text


def test_panoramax_pictures_are_credited_under_each_collections_licence():
    pictures = [
        row(source="panoramax", image_id="aa-1", licence="etalab-2.0", sequence_id="c1"),
        row(source="panoramax", image_id="bb-2", licence="CC-BY-SA-4.0", sequence_id="c2"),
    ]
    text = attribution_text(pictures)
    assert text.count("# Attribution") == 2
    assert "Licence Ouverte 2.0" in text
    assert "https://api.panoramax.xyz/#focus=pic&pic=bb-2" in text
    open_part = text[text.index("Licence Ouverte") :]
    assert "adapted material" not in open_part


def test_a_users_own_photos_are_said_to_be_that():
    text = attribution_text([row(source="folder", licence=None, creator=None)])
    assert "supplied by the user (1 photos)" in text
    assert "CC BY-SA" not in text


def test_no_photos_have_no_creators():
    assert "(0 photos)" in attribution_text([])


def test_the_credits_of_a_catalog_are_those_of_its_rows(tmp_path):
    rows = [
        row(image_id=str(i), creator=f"u{i % 3}", sequence_id=f"s{i % 7}", status="listed")
        for i in range(50)
    ]
    unused = [row(image_id="x", status="gone"), row(image_id="y", status="excluded")]
    path = tmp_path / "catalog.parquet"
    write_points([table_of([*rows, *unused], CATALOG_SCHEMA)], CATALOG_SCHEMA, path)
    assert attribution_of_catalog(path) == attribution_text(rows)


def test_merged_pages_say_every_creator_and_sequence_once(tmp_path):
    for name, rows in (
        ("a", [row(image_id="1"), row(image_id="2", sequence_id="s2")]),
        ("b", [row(image_id="3"), row(image_id="4", creator="bob"), row(source="folder")]),
    ):
        (tmp_path / name).write_text(attribution_text(rows))
    merged = merge_attributions([tmp_path / "a", tmp_path / "b"], title="Town")
    assert "user/ann): 3 photos" in merged
    assert "(4 photos)" in merged
    assert merged.count("sequence [s1]") == 1
    assert "sequence [s1](https://www.mapillary.com/app/?pKey=1): 3 photos" in merged
    assert merged.count("supplied by the user (1 photos)") == 1


def test_a_merged_page_is_written_beside_what_is_made_of_the_photos(tmp_path):
    (tmp_path / "a.md").write_text(attribution_text([row()]))
    write_merged([tmp_path / "a.md", tmp_path / "missing.md"], tmp_path, title="box 0123")
    text = (tmp_path / "ATTRIBUTION.md").read_text()
    assert text.startswith("# Attribution of box 0123\n")
    assert "@ann" in text


@pytest.mark.parametrize("n", [0, 3])
def test_a_catalog_without_panoramas_column_is_credited(tmp_path, n):
    names = [f for f in CATALOG_SCHEMA if f.name != "panorama_id"]
    schema = pa.schema(names)
    rows = [row(image_id=str(i), status="listed") for i in range(n)]
    write_points([table_of(rows, schema)], schema, tmp_path / "c.parquet")
    assert f"({n} photos)" in attribution_of_catalog(tmp_path / "c.parquet")
