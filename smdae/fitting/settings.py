"""What a fit can be told, with its limits and defaults: one frozen record, checked when made."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from smdae.errors import UsageError

__all__ = ["Settings", "check"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """Settings of a fit. Sigma is on the 0 to 255 scale of 8-bit images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: str = "dsm"  # a name of OBJECTIVES
    model: str = "energy"  # a name of MODELS
    sigma: Positive = 25.0  # level of the noise
    patch_size: int = Field(12, ge=2, le=64)  # side of a patch, P
    hidden: int = Field(512, ge=1, le=65536)  # units of the energy
    color: bool = False  # fit on colours rather than on luma
    target: Literal["gaussian", "gmm"] = "gmm"  # the density that `esm` fits to the patches
    components: int = Field(10, ge=1, le=1000)  # Gaussians in that mixture
    strength: float = Field(1e-5, ge=0, allow_inf_nan=False)  # lambda of `ism-reg`, white being 1
    parzen_patches: int = Field(20_000, ge=1)  # patches that make up q_sigma for `esm-parzen`

    batch: int = Field(512, ge=1, le=1_000_000)  # examples a step
    lr: Positive = 0.03  # peak of the learning rate
    warmup: int = Field(100, ge=0)  # steps until it is reached; a cosine leads down to 0
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False)
    clip: Positive = 1.0  # largest norm of a gradient
    ema: float = Field(0.99, ge=0, lt=1)  # decay of the averaged weights, those that are kept
    max_steps: int | None = Field(None, ge=1)  # with max_time: whichever ends first
    max_time: Positive | None = None  # seconds
    validations: int = Field(20, ge=1, le=10_000)  # how often the held-out images are denoised
    patience: int = Field(10, ge=1)  # validations without a gain before the fit stops
    hold_out: float = Field(0.05, gt=0, lt=1)  # part of the images to hold out
    seed: int = Field(0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _names(self) -> Self:
        from smdae.models import MODELS
        from smdae.objectives import OBJECTIVES

        for kind, name, table in (("objective", self.objective, OBJECTIVES), ("model", self.model, MODELS)):
            if name not in table:
                raise ValueError(f"unknown {kind} '{name}'; there are {', '.join(table)}")
        return self

    @property
    def limits(self) -> tuple[float, float]:
        """Most steps and most seconds; with neither given, the defaults for both."""
        if self.max_steps is None and self.max_time is None:
            return DEFAULT_STEPS, DEFAULT_SECONDS
        return self.max_steps or math.inf, self.max_time or math.inf


DEFAULT_STEPS = 15_000
DEFAULT_SECONDS = 110.0


def check(values: dict[str, Any]) -> Settings:
    """Settings from plain values.

    Raises:
        UsageError: A name is unknown or a value out of range; the message names it.
    """
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        text = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            raise UsageError(
                f"there is no setting '{name}'", f"settings are {', '.join(Settings.model_fields)}"
            ) from None
        if not name:
            raise UsageError(text) from None
        reason = text[:1].lower() + text[1:]
        raise UsageError(f"{name.replace('_', '-')} {first['input']!r}: {reason}") from None
