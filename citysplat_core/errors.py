"""One tree of exceptions, one branch for each place where things go wrong."""


class CitySplatError(Exception):
    """Base of every error that is raised on purpose.

    Args:
        seen: What was found, with counts and the first ids.
        expected: What would have been right.
        fix: The setting or command that repairs it.
        box: Key of the box or fringe the work belonged to, if any.
    """

    def __init__(self, seen: str, *, expected: str, fix: str, box: str | None = None) -> None:
        """Build the one sentence form that every message has."""
        self.seen = seen
        self.expected = expected
        self.fix = fix
        self.box = box
        where = f"Box {box}: " if box else ""
        super().__init__(f"{where}{seen}; expected {expected}. {fix}")

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the way back from a worker process."""
        return _rebuild, (type(self), self.seen, self.expected, self.fix, self.box)


def _rebuild(
    kind: type[CitySplatError], seen: str, expected: str, fix: str, box: str | None
) -> CitySplatError:
    return kind(seen, expected=expected, fix=fix, box=box)


class ConfigError(CitySplatError):
    """The city file or an option is missing or malformed."""


class AreaError(ConfigError):
    """The area is not a usable polygon in WGS84."""


class DiscoveryError(CitySplatError):
    """The source of images did not give what is needed to go on."""


class TokenError(DiscoveryError):
    """The service refused the access token."""


class BlockedError(DiscoveryError):
    """The service blocks this machine for now."""


class BudgetError(BlockedError):
    """The requests that we allow ourselves for the day are used up; nobody blocks us."""


class ImageError(CitySplatError):
    """A photo or its metadata cannot be used."""


class GeoreferenceError(CitySplatError):
    """A position or frame is missing, not finite or out of range."""


class FeatureError(CitySplatError):
    """Features cannot be extracted."""


class MatchingError(CitySplatError):
    """Pairs cannot be proposed, matched or verified."""


class MappingError(CitySplatError):
    """A sparse model cannot be solved or read."""


class SplatError(CitySplatError):
    """A splat cannot be trained, read or written."""


class StorageError(CitySplatError):
    """An artifact or object cannot be read or written."""


class ViewerError(CitySplatError):
    """The city's pages cannot be built or served."""
