"""Cutting single descriptions out of the bytes of an answer, so that they are not written anew."""

from collections.abc import Sequence

_BORDER = b"},{"


def cut_out(body: bytes, image_ids: Sequence[str]) -> list[bytes]:
    """Return the bytes of each description in an answer ``{"data":[{...},{...}]}``.

    Args:
        body: The answer.
        image_ids: The ids that a parser found in it, in order.

    Returns:
        One JSON object on one line for each, or nothing if the answer is written in any other way:
        with spaces between descriptions, with line ends, with such a border inside a text.
    """
    start, end = body.find(b"[{"), body.rfind(b"}]")
    if not image_ids or not 0 <= start < end or b"\n" in body:
        return []
    parts = body[start + 2 : end].split(_BORDER)
    if len(parts) != len(image_ids):
        return []
    for part, image_id in zip(parts, image_ids, strict=True):
        if image_id.encode() not in part:
            return []
    return [b"{%b}" % part for part in parts]
