"""The settings of a fit, with their limits and defaults: one frozen record, checked when made.

The defaults here are those of the paper's energy; a family of models may have others, in its row of MODELS.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from smdae.errors import SmdaeError, UsageError
from smdae.files.model_file import load
from smdae.fitting.setting_rules import level_of, refuse_clashes
from smdae.models import MODELS, family
from smdae.models.potentials import POTENTIALS
from smdae.models.unet import SIZES
from smdae.named import is_named
from smdae.noise import Noise
from smdae.objectives import OBJECTIVES

RENAMED = {"strength": "reg_lambda"}  # settings that had other names in version 0.1, which still are read

Level = Annotated[float, Field(ge=1e-3, le=1e5)]  # beyond, squares leave the range of numbers
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """Settings of a fit. Sigma is on the 0 to 255 scale of 8-bit images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: str = "dsm"  # a name of OBJECTIVES
    model: str = "energy"  # a name of MODELS, or module:name of a network of the user's own
    sigma: Level | tuple[Level, Level] | Literal["auto"] = 25.0  # level of the noise, or the lowest and the highest
    noisy: bool = False  # the images are noisy themselves, at sigma; auto: as estimated of each
    extra_noise: Level | None = None  # level of the noise that `dsm` adds to noisy images; None: a share of sigma
    noise: str | None = None  # a profile, as YAML, of noise that is not white; models of patches only
    clipped: float = Field(0.0, ge=0, le=1)  # share of the examples that are clipped at black and white; networks only
    real: float = Field(0.0, ge=0, lt=1)  # share of the examples with noise of cameras, film, photons; networks only
    weights: tuple[str, ...] = ()  # PATTERN=WEIGHT, of file names: how often their images are drawn; others count 1
    patch_size: int = Field(12, ge=2, le=256)  # side of a patch, P
    growth: tuple[Annotated[int, Field(ge=2, le=1024)], ...] = ()  # sides after it, each for an equal part of the fit
    hidden: int = Field(512, ge=1, le=65536)  # units of the energy
    size: str = "small"  # size of the network, a name of SIZES
    filters: int = Field(96, ge=1, le=4096)  # number of convolutional experts
    window: int = Field(9, ge=2, le=64)  # side of an expert's filter
    potential: str = "student"  # potential of the experts, a name of POTENTIALS
    init: str | None = None  # a model to start from: a file, or the name of a bundled one
    activation: Literal["relu", "silu"] = "relu"  # of the network
    color: bool = False  # fit on colour images rather than on luma
    recoloured: float = Field(0.0, ge=0, le=1)  # share of the examples whose colours are changed
    target: Literal["gaussian", "gmm"] = "gmm"  # the density that `esm` fits to the patches
    components: int = Field(10, ge=1, le=1000)  # Gaussians in that mixture
    reg_lambda: float = Field(1e-5, ge=0, allow_inf_nan=False)  # lambda of `ism-reg`, white being 1
    probes: int = Field(1, ge=0, le=1000)  # random directions for each example, if needed; 0: the exact divergence
    parzen_patches: int = Field(20_000, ge=1)  # patches that make up q_sigma for `esm-parzen`

    batch: int = Field(512, ge=1, le=1_000_000)  # examples in a step; fewer in proportion once patches have grown
    optimiser: Literal["adamw", "muon"] = "adamw"
    precision: Literal["auto", "float32", "bfloat16"] = "float32"  # of products; auto: bfloat16 where it is faster
    lr: Positive = 0.03  # peak of the learning rate
    warmup: int = Field(100, ge=0)  # steps until it is reached; a cosine leads down to 0
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False)
    clip: Positive = 1.0  # largest norm of a gradient
    ema: float = Field(0.99, ge=0, lt=1)  # decay of the averaged weights, those that are kept
    max_steps: int | None = Field(None, ge=1, le=10**12)  # with max_time, whichever is reached first
    max_time: Positive | None = None  # seconds
    validations: int = Field(20, ge=1, le=10_000)  # number of validations during the fit
    patience: int = Field(10, ge=1)  # validations without a gain before the fit stops
    hold_out: float = Field(0.05, gt=0, lt=1)  # share of the images to hold out
    seed: int = Field(0, ge=0, lt=2**63)

    half: bool = False  # write the weights in float16
    about: str = ""  # for the model file: what the images are, and whose

    @field_validator("objective", "model", "size", "potential")
    @classmethod
    def _known(cls, name: str, about: ValidationInfo) -> str:
        tables: dict[str, Mapping[str, Any]] = {
            "objective": OBJECTIVES,
            "model": MODELS,
            "size": SIZES,
            "potential": POTENTIALS,
        }
        table = tables[str(about.field_name)]
        if name not in table and not (about.field_name == "model" and is_named(name)):
            raise ValueError(f"unknown {about.field_name} {name!r:.60}; there are {', '.join(table)}")
        return name

    @field_validator("noise")
    @classmethod
    def _profiled(cls, text: str | None) -> str | None:
        if text is None:
            return None
        try:
            return Noise.from_yaml(text).of_unit().to_yaml()
        except UsageError as error:
            raise ValueError(error.message) from None

    @field_validator("weights")
    @classmethod
    def _weighed(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            pattern, _, weight = entry.rpartition("=")
            try:
                sensible = pattern and 0 < float(weight) < math.inf
            except ValueError:
                sensible = False
            if not sensible:
                raise ValueError(f"weights are PATTERN=WEIGHT, such as text_*=4, not {entry!r:.60}")
        return entries

    @model_validator(mode="after")
    def _together(self) -> Self:
        refuse_clashes(self)
        return self

    @property
    def levels(self) -> tuple[float, float]:
        """Return the lowest and the highest level, white being 1; ValueError if they are yet to be estimated."""
        if self.sigma == "auto":
            raise ValueError("the level of the noise is yet to be estimated")
        low, high = self.sigma if isinstance(self.sigma, tuple) else (self.sigma, self.sigma)
        return low / 255, high / 255

    @property
    def judged_levels(self) -> tuple[float, ...]:
        """Return the levels that validation uses, white being 1: the usual 15, 25, 50 in range, else the middle."""
        low, high = self.levels
        if low == high:
            return (low,)
        return tuple(s / 255 for s in USUAL_LEVELS if low <= s / 255 <= high) or ((low + high) / 2,)

    @property
    def weights_by_name(self) -> dict[str, float]:
        """Return how often images are drawn, by pattern of their file names."""
        split = (entry.rpartition("=") for entry in self.weights)
        return {pattern: float(weight) for pattern, _, weight in split}

    @property
    def least_side(self) -> int:
        """Return the least side, in pixels, of images to fit to."""
        largest = max(self.patch_size, *self.growth, 0)
        if not self.real:
            return largest
        from smdae.fitting.corruption import source_side

        return source_side(largest)

    @property
    def least_batch(self) -> int:
        """Return the number of examples in a step once the patches have their largest size."""
        largest = max(self.patch_size, *self.growth, 0)
        return max(1, round(self.batch * (self.patch_size / largest) ** 2))

    @property
    def limits(self) -> tuple[float, float]:
        """Return the largest number of steps and of seconds; with neither set, the defaults of both."""
        if self.max_steps is None and self.max_time is None:
            return DEFAULT_STEPS, DEFAULT_SECONDS
        return self.max_steps or math.inf, self.max_time or math.inf


USUAL_LEVELS = (15, 25, 50)
DEFAULT_STEPS = 15_000
DEFAULT_SECONDS = 110.0
NOISY = {"objective": "ism", "sigma": "auto"}
# Messages for users about a value, by the name of pydantic's error.
WORDS = {
    "greater_than": "is not more than {gt}",
    "greater_than_equal": "is less than {ge}",
    "less_than": "is not less than {lt}",
    "less_than_equal": "is more than {le}",
    "finite_number": "is not finite",
    "literal_error": "is not {expected}",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "is not a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "is not a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "is neither true nor false"),
    "string_type": "is not a text",
    "tuple_type": "is not a list",
}
REFINED = {
    "lr": 5e-4,
    "batch": 8,
    "warmup": 10,
    "ema": 0.98,
    "validations": 8,
}  # a bundled network fitted further to noisy images


class SettingError(UsageError):
    """A setting that is refused.

    Attributes:
        setting: Its name; None if several settings clash.
    """

    def __init__(self, message: str, hint: str | None = None, setting: str | None = None) -> None:
        super().__init__(message, hint)
        self.setting = setting


def defaults(values: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """Return the defaults that given settings imply: by name, the value and which setting or model implies it."""
    name = values.get("model", "energy")
    if "model" not in values and isinstance(values.get("init"), str):
        name = _kind_of(values["init"])
    known = isinstance(name, str) and (name in MODELS or is_named(name))
    ours = {key: (value, str(name)) for key, value in family(name).defaults.items()} if known else {}
    if "model" not in values and name != "energy":
        ours["model"] = name, str(values["init"])
    if isinstance(values.get("noise"), str):
        with suppress(UsageError):  # reported later
            ours["sigma"] = level_of(Noise.from_yaml(values["noise"]).of_unit()), "noise"
    if values.get("noisy") is not True:
        return ours
    more = NOISY | (REFINED if name == "unet" and values.get("init") is not None else {})
    return ours | {key: (value, "noisy") for key, value in more.items()}


def for_rows(settings: Settings) -> Settings:
    """Return the settings of a fit to rows of numbers, which are patches of side 1.

    It raises SettingError if the model or a setting is for images.
    """
    if not family(settings.model).takes_rows:
        raise SettingError(f"rows of numbers are for models of patches, not for '{settings.model}'", setting="model")
    if settings.noisy:
        raise SettingError("noisy is for images, not for rows of numbers", setting="noisy")
    return settings.model_copy(update={"patch_size": 1, "color": False, "recoloured": 0.0, "weights": ()})


def _kind_of(init: str) -> str:
    """Return the name in MODELS of the model in a file; the default if it cannot be read, which is reported later."""
    with suppress(SmdaeError):
        kind = load(init).card.get("model")
        return kind if kind in MODELS else "energy"
    return "energy"


def check(values: dict[str, Any]) -> Settings:
    """Return settings from plain values, with defaults filled in.

    Raises:
        SettingError: A name is unknown or a value out of range; the message names it.
        UsageError: The noise is not a noise profile.
    """
    values = {RENAMED.get(name, name): value for name, value in values.items()}
    try:
        return Settings(**{name: value for name, (value, _) in defaults(values).items()} | values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else None
        text = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            hint = f"settings are {', '.join(Settings.model_fields)}"
            raise SettingError(f"there is no setting '{name}'", hint, name) from None
        if name and first["type"] != "value_error":  # our own say what they are about
            reason = f": {text[:1].lower()}{text[1:]}"
            if first["type"] in WORDS:
                limits = {k: f"{v:g}" if isinstance(v, float) else v for k, v in first.get("ctx", {}).items()}
                reason = f" {WORDS[first['type']].format(**limits)}"
            text = f"{name.replace('_', '-')} {first['input']!r:.60}{reason}"
        raise SettingError(text, setting=name) from None
