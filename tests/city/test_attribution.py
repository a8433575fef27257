"""The merged credits."""

from citysplat_core.city.attribution import credit_line
from citysplat_core.imagery.attribution_merge import merge_attributions

FOLDER = "# Attribution\n\nPhotos supplied by the user ({n} photos).\n\n- kim: {n} photos\n"


def pages(tmp_path, *texts):
    files = [tmp_path / f"{i}.md" for i in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    return files


def test_counts_of_the_same_source_are_summed(tmp_path):
    files = pages(tmp_path, FOLDER.format(n=3), FOLDER.format(n=39))
    assert merge_attributions(files, title="Town") == (
        "# Attribution of Town\n\nPhotos supplied by the user (42 photos).\n\n- kim: 42 photos\n"
    )


def test_two_sources_keep_their_own_sections(tmp_path):
    mapillary = "# Attribution\n\nPhotos from Mapillary, by:\n\n- ann: 1 photos\n\nShare alike.\n"
    merged = merge_attributions(pages(tmp_path, mapillary + "\n" + FOLDER.format(n=2)), title="T")
    assert merged.count("# Attribution") == 1
    assert merged.index("- ann: 1 photos") < merged.index("Share alike.") < merged.index("- kim")


def test_the_credit_line_names_mapillary_only_where_it_is_the_source():
    assert "CC BY-SA 4.0" in credit_line("Photos from [Mapillary](https://www.mapillary.com)")
    assert credit_line(FOLDER) == "Photos supplied by the user"
    assert credit_line("Mapillary" + FOLDER).endswith("CC BY-SA 4.0; Photos supplied by the user")
    assert credit_line("# Attribution of Nowhere") == "Photos: see the credits"


def test_a_city_without_photos_has_a_heading_only():
    assert merge_attributions([], title="Nowhere") == "# Attribution of Nowhere\n"
