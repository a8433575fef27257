"""Is this a whole JPEG? Cheap tests of its ends, and a strict decode of all of it."""

import simplejpeg

from citysplat_core.errors import ImageError

_SCAN = 0xDA
_HOLE = bytes(32)


def check_ends(body: bytes) -> tuple[int, int]:
    """Return width and height of a JPEG that begins and ends as it should, in pixels.

    A hole (32 zero bytes or more where the picture is, which no encoder writes) is seen too. Costs
    microseconds; other damage in the middle is not seen, see ``check_jpeg``.

    Raises:
        ImageError: No JPEG, cut off, or with a hole; says which.
    """
    if body[:2] != b"\xff\xd8":
        raise _bad_photo(f"{len(body)} bytes that do not begin like a JPEG")
    if body[-2:] != b"\xff\xd9" and body.rstrip(b"\x00")[-2:] != b"\xff\xd9":
        raise _bad_photo(f"a JPEG of {len(body)} bytes that is cut off")
    if _has_hole(body):
        raise _bad_photo(f"a damaged JPEG of {len(body)} bytes (zeros in place of the picture)")
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(body)
    except (ValueError, RuntimeError) as error:
        raise _damaged(body, error) from error
    return int(width), int(height)


def check_jpeg(body: bytes) -> tuple[int, int]:
    """Return width and height of a JPEG that decodes without any fault, in pixels.

    A file that is cut off is always found. Of files with 200 foreign bytes inside, a strict decoder
    finds about nine in ten: the entropy code falls back into step now and then. Costs a decode.

    Raises:
        ImageError: No JPEG, cut off, or damaged inside; says which.
    """
    size = check_ends(body)
    try:
        gray = simplejpeg.decode_jpeg(
            body, colorspace="GRAY", min_height=1, min_width=1, min_factor=8
        )
    except (ValueError, RuntimeError) as error:
        raise _damaged(body, error) from error
    del gray
    return size


def _has_hole(body: bytes) -> bool:
    """Say whether zeros stand in the compressed picture; headers may hold any."""
    at = 2
    while body[at : at + 1] == b"\xff" and body[at + 1] != _SCAN:
        # A segment: its marker, then its length, which counts itself.
        at += 2 + int.from_bytes(body[at + 2 : at + 4], "big") if body[at + 1] != 0xFF else 1
    hole = body.find(_HOLE, at)
    return hole >= 0 and hole < body.find(b"\xff\xd9", at)


def _damaged(body: bytes, error: Exception) -> ImageError:
    return _bad_photo(f"a damaged JPEG of {len(body)} bytes ({error})")


def _bad_photo(seen: str) -> ImageError:
    return ImageError(seen, expected="a whole JPEG photo", fix="Fetch or export the photo again.")
