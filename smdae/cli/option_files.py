"""Options of `denoise` and `compare` in a YAML file: `-c FILE`, what --print-config prints, and where a value is from.

A file has a line for each option, by its long name: `tile: 256`, `recursive: true`, `sigma: [20, 10, 15]`. The order of
precedence is: the command line, the environment (SMDAE_DENOISE_TILE, SMDAE_COMPARE_SEEDS), the file, the default.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from smdae.errors import UsageError

OWN = ("config", "print_config", "help")  # options that say where others are from
TRUTH = dict.fromkeys(("true", "yes", "on"), True) | dict.fromkeys(("false", "no", "off"), False)
LISTS = ("sigma",)  # options of one text that may be a list of numbers
# Keys of `meta`, which all contexts of a call share: the command's context, and the line of the file of each value.
COMMAND, PLACES = "smdae.command", "smdae.places"
NAMED = re.compile(r"--[a-z][a-z-]*")  # an option in a message
ORIGINS = {"COMMANDLINE": "option", "ENVIRONMENT": "variable", "DEFAULT_MAP": "file", "DEFAULT": "default"}


def configured(context: Any, file: Path | None) -> Path | None:
    """Make the values in a file the defaults of a command's options, before these are parsed; return the file.

    None is returned for None, and nothing is done.

    Raises:
        UsageError: The file cannot be read, names an unknown option, or has a value that an option does not take.
    """
    if file is None:
        return None
    from smdae.files.config import read_entries

    options = _options(context)
    values: dict[str, Any] = {}
    places = context.meta.setdefault(PLACES, {})
    for entry in read_entries(file):
        place = f"--config '{file}': line {entry.line}: "
        option = options.get(entry.name)
        if option is None:
            names = [name.replace("_", "-") for name in options]
            near = get_close_matches(entry.name.replace("_", "-"), names, 1)
            raise UsageError(
                f"{place}there is no option {entry.written!r:.60}",
                f"did you mean '{near[0]}'?" if near else f"'{context.command_path} --help' lists the options",
            )
        if entry.value is not None:
            values[option.name] = _checked(context, option, entry.value, place)
            places[option.name] = place
    context.default_map = values
    return file


def printed(context: Any) -> str:
    """Return a command's options as a YAML file that gives the same ones, with the origin of each as a comment."""
    from smdae.files.config import dump

    lines = []
    for name, option in _options(context).items():
        value = context.params[option.name]
        if option.hidden and value is None:  # the old spelling of an option
            continue
        source = context.get_parameter_source(option.name)
        plain = [str(item) for item in value] if isinstance(value, list | tuple) else value
        plain = str(plain) if isinstance(plain, Path) else plain
        origin = ORIGINS[source.name] if source is not None and source.name in ORIGINS else "default"
        lines.append(f"{name.replace('_', '-')}: {dump(plain)}  # {origin}\n")
    return "".join(lines)


def remembered(make_context: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command's `make_context` that also keeps the context in its `meta`, for `locating`."""

    def made(*arguments: Any, **more: Any) -> Any:
        context = make_context(*arguments, **more)
        context.meta[COMMAND] = context
        return context

    return made


@contextmanager
def locating(meta: Mapping[str, Any]) -> Iterator[None]:
    """Raise UsageErrors of the `with` block again, beginning with where the value of the option comes from.

    That is an environment variable or a line of a file; nothing is added for options of the command line.

    Args:
        meta: The `meta` of click's context; if `remembered` has put no command into it, errors stay as they are.
    """
    try:
        yield
    except UsageError as error:
        if COMMAND not in meta:
            raise
        raise _located(error, meta[COMMAND]) from error


def _located(error: UsageError, command: Any) -> UsageError:
    """Return an error that begins with the variables, or lines of a file, that its options are from."""
    options = _options(command)
    first = error.message.partition(" ")[0]  # settings of a fit are called without hyphens: "batch 0 is less than 1"
    named = dict.fromkeys(name.lstrip("-").replace("-", "_") for name in (first, *NAMED.findall(error.message)))
    places = [_place(command, options[name]) for name in named if name in options]
    return UsageError("".join(places) + error.message, error.hint, error.parts)


def _place(context: Any, option: Any) -> str:
    """Return where the value of an option is from, as the beginning of a message; empty for the command line."""
    source = context.get_parameter_source(option.name)
    origin = ORIGINS.get(source.name) if source is not None else None
    if origin == "variable":
        return f"{option.envvar}: "
    return str(context.meta[PLACES].get(option.name, "")) if origin == "file" else ""


def _options(context: Any) -> dict[str, Any]:
    """Return the options of a command by their long names, with underscores instead of hyphens."""
    found = {}
    for option in context.command.params:
        long = next((name for name in option.opts if name.startswith("--")), None)
        if long is not None and option.name not in OWN:
            found[long[2:].replace("-", "_")] = option
    return found


def _checked(context: Any, option: Any, value: Any, place: str) -> Any:
    """Return a value from a file as the command line would give it.

    Raises:
        UsageError: The option does not take it; the message begins with `place`.
    """
    long = max(option.opts, key=len)
    if isinstance(value, list) and option.name in LISTS:
        value = ",".join(map(str, value))
    if option.is_flag:
        if str(value).lower() not in TRUTH:
            raise UsageError(f"{place}{long[2:]} is true or false")
        return TRUTH[str(value).lower()]
    if isinstance(value, list) != bool(option.multiple) or isinstance(value, dict):
        raise UsageError(f"{place}{long[2:]} takes {'a list' if option.multiple else 'one value'}")
    text = [str(item) for item in value] if isinstance(value, list) else str(value)
    try:
        option.process_value(context, text)
    except UsageError as error:
        raise UsageError(place + error.message, error.hint) from None
    except Exception as error:
        from smdae.cli.failures import as_smdae_error

        raise UsageError(place + as_smdae_error(error).message) from None
    return text
