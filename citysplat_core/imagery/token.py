"""An access token that does not leak: not in logs, not in exceptions, not on disk."""

from urllib.parse import quote

_LEAST_SECRET = 16
"""A shorter last part could be a word of the text."""


class Token:
    """A secret whose text and representation are masked.

    It cannot be pickled, so that it never reaches a file or another process by accident.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Keep the secret; spaces and line ends around it are dropped."""
        self._value = value.strip()

    def reveal(self) -> str:
        """Return the secret itself; only for the request that needs it."""
        return self._value

    def redact(self, text: str) -> str:
        """Return the text with every form of the secret masked."""
        if not self._value:
            return text
        encoded = quote(self._value, safe="")
        for form in (self._value, encoded, encoded.replace("%7C", "%7c"), quote(encoded, safe="")):
            text = text.replace(form, "<token>")
        # Cut off or written in another way: its last part is the secret one.
        secret = self._value.rpartition("|")[2]
        return text.replace(secret, "<token>") if len(secret) >= _LEAST_SECRET else text

    def __bool__(self) -> bool:
        """Say whether there is a secret at all."""
        return bool(self._value)

    def __repr__(self) -> str:
        """Return a mask."""
        return "Token(<hidden>)"

    def __reduce__(self) -> tuple[object, ...]:
        """Refuse to be pickled.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a token is not written to files or sent to other processes")
