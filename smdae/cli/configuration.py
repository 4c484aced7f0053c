"""The settings of a fit, and where each was given.

The order of precedence is: flags, the environment, the file, the defaults of the model's family, the defaults. The
variable of a setting is SMDAE_ and its name, such as SMDAE_MAX_TIME, with a value as in the file; an empty variable
counts as unset. There is none for `model`, as SMDAE_MODEL is the model file of `denoise`. Other variables that begin
with SMDAE_ are ignored.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smdae.cli.options import levels, seconds
from smdae.errors import UsageError
from smdae.files.config import Entry, dump, parse, read_entries
from smdae.pipeline.noise_choice import profile

if TYPE_CHECKING:
    from smdae.fitting.settings import SettingError, Settings

# Settings that may be given as text, and the functions that read them.
WRITTEN: Mapping[str, Callable[[str, str], Any]] = {"sigma": levels, "max_time": seconds, "noise": profile}


@dataclass(frozen=True)
class Configuration:
    """The settings of a fit, and where each was given.

    Attributes:
        origins: For each setting by its name: the option, variable or line of a file, or of what it is a default.
    """

    settings: "Settings"
    origins: Mapping[str, str]


@dataclass(frozen=True)
class _Given:
    """A value, the place where it was given, and the beginning of an error about it.

    The beginning is empty for flags, which the error names anyway.
    """

    value: Any
    origin: str
    place: str = ""


def resolve(
    flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None = None, assigned: Sequence[str] = ()
) -> Configuration:
    """Return the settings from flags (None: not given), the environment and a file, in that order of precedence.

    Those of --set, NAME=VALUE, are flags too.

    Raises:
        UsageError: The file cannot be read or names an unknown setting, a flag is given twice, or a value is not
            allowed. The message names the flag, the variable of the environment, or the line of the file.
    """
    from_flags = {name: _flag(name, value) for name, value in flags.items() if value is not None}
    entries = read_entries(file) if file else ()

    # Imported late, as it loads torch: an error above is reported at once.
    from smdae.fitting.settings import RENAMED, SettingError, Settings, check, defaults

    names = Settings.model_fields
    for name, entry in _assigned(assigned, [*names, *RENAMED]):
        if RENAMED.get(name, name) in from_flags:
            first = from_flags[RENAMED.get(name, name)].origin
            raise UsageError(f"{entry.place}it is given already, by {first}", "give it once")
        from_flags[RENAMED.get(name, name)] = entry
    from_file = {RENAMED.get(entry.name, entry.name): _entry(entry, file, [*names, *RENAMED]) for entry in entries}
    variables = {name: f"SMDAE_{name.upper()}" for name in (*RENAMED, *names) if name != "model"}
    from_environment = {
        RENAMED.get(name, name): _Given(parse(environment[place], place), place, f"{place}: ")
        for name, place in variables.items()
        if environment.get(place, "").strip()
    }
    given = from_file | from_environment | from_flags
    values = {name: _read(name, entry.value, f"{entry.place}{_written(name)}") for name, entry in given.items()}
    try:
        settings = check(values)
    except SettingError as error:
        raise _located(error, given) from None
    plain = dict.fromkeys(names, "default")
    special = {name: f"default of {of}" for name, (_, of) in defaults(values).items()}
    return Configuration(settings, plain | special | {name: entry.origin for name, entry in given.items()})


def render(configuration: Configuration) -> str:
    """Return a configuration as a YAML file that gives the same one, with the origin of each setting as a comment."""
    values = configuration.settings.model_dump()
    return "".join(f"{_written(name)}: {dump(values[name])}  # {configuration.origins[name]}\n" for name in values)


def _written(name: str) -> str:
    return name.replace("_", "-")


def _flag(name: str, value: Any) -> _Given:
    option = f"--{_written(name)}"
    return _Given(_read(name, value, option), option)


def _assigned(texts: Iterable[str], names: Sequence[str]) -> Iterator[tuple[str, _Given]]:
    """Yield the name and the value of each setting that --set gives as NAME=VALUE, values being as in a file."""
    for text in texts:
        written, equals, value = text.partition("=")
        name, place = written.strip().replace("-", "_"), f"--set {written.strip():.60}"
        if not equals:
            raise UsageError(f"--set {text!r:.60} is no setting with its value", "write NAME=VALUE, such as ema=0.999")
        if name not in names:
            raise UsageError(f"--set: there is no setting {written.strip()!r:.60}", _nearest(name, names))
        yield name, _Given(parse(value, place), place, f"{place}: ")


def _entry(entry: Entry, file: Path | None, names: Iterable[str]) -> _Given:
    line = f"line {entry.line}"
    place = f"--config '{file}': {line}: "
    if entry.name not in names:
        raise UsageError(f"{place}there is no setting {entry.written!r:.60}", _nearest(entry.name, names))
    return _Given(entry.value, f"{ascii(str(file))[1:-1]} {line}", place)


def _read(name: str, value: Any, label: str) -> Any:
    return WRITTEN[name](value, label) if name in WRITTEN and isinstance(value, str) else value


def _nearest(name: str, names: Iterable[str]) -> str:
    from smdae.fitting.settings import RENAMED

    known = [_written(known) for known in names if known not in RENAMED]
    near = get_close_matches(_written(name)[:60].lower(), known, 1)
    return f"did you mean '{near[0]}'?" if near else f"settings are {', '.join(known)}"


def _located(error: "SettingError", given: Mapping[str, _Given]) -> UsageError:
    """Return an error about a setting with the place where it was given.

    If several settings clash, the hint says where those in the message were given.
    """
    if error.setting is not None and error.setting in given:
        return UsageError(given[error.setting].place + error.message, error.hint)
    named = [name for name, entry in given.items() if entry.place and re.search(rf"\b{name}\b", error.message)]
    hint = ", ".join(f"{_written(name)} is from {given[name].origin}" for name in named)
    return UsageError(error.message, hint or error.hint)
