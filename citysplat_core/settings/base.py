"""What all settings have in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class StepSettings(BaseModel):
    """Base of the settings of a step: frozen, and no unknown key passes."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


def machine(default: Any, **limits: Any) -> Any:  # noqa: ANN401 - pydantic's own signature
    """Declare a field that does not change results."""
    return Field(default, json_schema_extra={"machine": True}, **limits)
