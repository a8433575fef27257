import pytest

from citysplat_core.imagery.xmp import PanoramaFacts, read_panorama_facts

CROP = {
    "CroppedAreaLeftPixels": 1000, "CroppedAreaTopPixels": 500,
    "CroppedAreaImageWidthPixels": 2000, "CroppedAreaImageHeightPixels": 1000,
    "FullPanoWidthPixels": 4000, "FullPanoHeightPixels": 2000,
}  # fmt: skip


def packet(attributes="", elements="", prolog=""):
    return (
        f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{prolog}'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" {attributes}>{elements}'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>' + " " * 100
    ).encode()


def as_attributes(values):
    return " ".join(f'GPano:{name}="{value}"' for name, value in values.items())


def as_elements(values):
    return "".join(f"<GPano:{name}>{value}</GPano:{name}>" for name, value in values.items())


@pytest.mark.parametrize("written", ["attributes", "elements"])
def test_a_cropped_panorama_is_read_in_both_spellings(written):
    values = {"ProjectionType": "equirectangular", "PoseHeadingDegrees": "-10.5", **CROP}
    write = as_attributes if written == "attributes" else as_elements
    facts = read_panorama_facts(packet(**{written: write(values)}))
    assert facts == PanoramaFacts(
        projection="equirectangular", heading_deg=349.5, left=0.25, top=0.25, width=0.5, height=0.5
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"FullPanoWidthPixels": 0},
        {"CroppedAreaImageWidthPixels": 5000},
        {"FullPanoHeightPixels": "x"},
    ],
)
def test_a_crop_that_does_not_fit_is_unknown(wrong):
    facts = read_panorama_facts(packet(as_attributes(CROP | wrong)))
    assert (facts.left, facts.top, facts.width, facts.height) == (None, None, None, None)


@pytest.mark.parametrize(
    "xmp",
    [
        b"",
        b"panorama, but no XML",
        packet(),
        packet(as_attributes({"ProjectionType": "equirectangular"})).replace(b"</rdf:RDF>", b""),
        packet(
            as_elements({"ProjectionType": "&x;"}),
            prolog='<!DOCTYPE x [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        ),
    ],
)
def test_damaged_or_hostile_xmp_says_nothing(xmp):
    assert read_panorama_facts(xmp) == PanoramaFacts()
