"""Reading small XML of unknown origin without letting it do harm."""

from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from citysplat_core.errors import ImageError

_CHUNK = 2**20


class _NoDoctype(Exception):  # noqa: N818  # a signal inside of this module
    """The text declares a document type."""


class _Builder(TreeBuilder):
    """Stops at a document type: only there can entities be defined."""

    def doctype(self, *_: object) -> None:
        """Refuse.

        Raises:
            _NoDoctype: Always.
        """
        raise _NoDoctype


def parse_xml(body: bytes, *, what: str) -> Element:
    """Return the root element.

    Documents with a document type are refused, so that no entity is ever expanded and no file or
    address is ever read on their behalf.

    Args:
        body: The document; its own declaration or byte order mark says the encoding.
        what: Name of it, for messages.

    Raises:
        ImageError: It is no XML, or it declares a document type.
    """
    parser = XMLParser(target=_Builder())  # noqa: S314 - the builder refuses document types
    try:
        for start in range(0, len(body), _CHUNK):
            parser.feed(body[start : start + _CHUNK])
        root: Element = parser.close()
    except (ParseError, _NoDoctype, ValueError, LookupError) as error:
        told = "a document type" if isinstance(error, _NoDoctype) else str(error)
        raise ImageError(
            f"{what} cannot be read ({told})",
            expected="well-formed XML without a document type",
            fix="Export it again with another program.",
        ) from error
    return root


def local_name(tag: str) -> str:
    """Return the name of an element or attribute without its namespace."""
    return tag.rpartition("}")[2]
