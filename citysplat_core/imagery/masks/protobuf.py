"""Reading protobuf messages field by field, without a compiler or a schema.

Vector tiles and ONNX files are both such messages (https://protobuf.dev/programming-guides/encoding).
"""

from collections.abc import Iterator


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Give field numbers and values in order; fixed-width ones are passed over.

    Raises:
        ValueError: The bytes are no message.
        IndexError: They end inside a number.
    """
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = varint(message, at)
            yield number, value
        elif wire == 2:
            length, at = varint(message, at)
            if at + length > len(message):
                raise ValueError("a field beyond the end")
            yield number, message[at : at + length]
            at += length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")


def parts(message: bytes, number: int) -> Iterator[bytes]:
    """Give the values of one field of messages, texts or bytes."""
    return (v for n, v in fields(message) if n == number and isinstance(v, bytes))


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number and return it with the place behind it.

    Raises:
        ValueError: It has more than 64 bits.
        IndexError: The bytes end inside it.
    """
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
