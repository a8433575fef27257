"""Settings of the files of weights that a city downloads."""

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from citysplat_core.settings.base import StepSettings, machine
from citysplat_core.storage.model_weights import KNOWN_MODELS, ModelFile


class ModelSettings(StepSettings):
    """A file of weights that the user describes."""

    url: Annotated[str, StringConstraints(pattern=r"^https?://\S+$")]
    """Where it is published."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """Hash of the file, 64 hex digits in lower case."""
    licence: Annotated[str, StringConstraints(min_length=1)]
    """Its licence: an SPDX identifier, or the publisher's words."""
    size_bytes: int | None = Field(None, ge=1)
    """Its size, bytes; null if the publisher does not say."""
    is_commercial: bool = True
    """Whether the licence allows commercial use."""


class WeightSettings(StepSettings):
    """Which files of weights are brought to this machine."""

    use: tuple[str, ...] = ()
    """Names of known models, or of those described in ``models``."""
    models: dict[str, ModelSettings] = Field({})
    """Further models, as ``[weights.models.NAME]`` with ``url``, ``sha256``, ``licence``,
    ``size_bytes``, ``is_commercial``."""
    allow_noncommercial: bool = False
    """Accept models whose licence forbids commercial use."""
    offline_folder: str = machine("")
    """Folder, relative to city.toml, from which the files are taken instead of downloading."""

    @model_validator(mode="after")
    def _names_are_known(self) -> "WeightSettings":
        """Refuse names that nobody has described."""
        known = {**KNOWN_MODELS, **self.models}
        unknown = [name for name in self.use if name not in known]
        if unknown:
            raise ValueError(f"no model {unknown[0]!r} is described; known: {', '.join(known)}")
        return self

    def files(self) -> list[ModelFile]:
        """Give the models that are used; a user's description goes before a known one."""
        own = {
            name: ModelFile(name=name, **model.model_dump()) for name, model in self.models.items()
        }
        return [{**KNOWN_MODELS, **own}[name] for name in self.use]
