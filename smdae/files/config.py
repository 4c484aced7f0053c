"""Settings from YAML: names as on the command line, `max-steps` or `max_steps`.

objective: dsm
sigma: 25
lr: 1e-2

Of YAML it takes what a list of settings needs. A plain scalar is null, a decimal number or text: whether `no` is a word
or means false is for the setting to say, 12:30:45 is no number, and 010 is ten. Aliases and tags are refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from smdae.errors import UsageError
from smdae.files.regular import opened

MAX_BYTES = 1 << 16  # bytes
MAX_DEPTH = 8  # of lists within lists
NULL = re.compile(r"|~|null|Null|NULL")
INTEGER = re.compile(r"[-+]?[0-9]+")
NUMBER = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
WORD = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Entry:
    """A setting in a file: its name with underscores, the name as it was written, its value and its line."""

    name: str
    written: str
    value: Any
    line: int


def read_entries(path: Path) -> tuple[Entry, ...]:
    """Return an `Entry` for each setting in a YAML file, in the order of the file; () for an empty file.

    Raises:
        UsageError: The file is missing, too large, not YAML, not a mapping, or names a setting twice.
    """
    try:
        with opened(path) as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UsageError(f"--config '{path}': the file is larger than {MAX_BYTES} bytes")
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"--config '{path}': {(error.strerror or 'unreadable').lower()}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--config '{path}': not a text file") from None
    except ValueError as error:
        raise UsageError(f"--config '{path}': {error}") from None
    try:
        return _entries(_compose(text))
    except yaml.YAMLError as error:
        line = _line(error, text)
        where = f"line {line}: " if line else ""
        raise UsageError(f"--config '{path}': {where}{_problem(error)}") from None
    except RecursionError:
        raise UsageError(f"--config '{path}': nested too deeply") from None


def parse(text: str, place: str) -> Any:
    """Return the value that a YAML text stands for, as it would in a file.

    Raises:
        UsageError: The text is not YAML, or its value neither a scalar nor a list. The message begins with `place`,
            which says where the text is from.
    """
    try:
        return _value(_compose(text))
    except yaml.YAMLError as error:
        raise UsageError(f"{place}: {_problem(error)}") from None
    except RecursionError:
        raise UsageError(f"{place}: nested too deeply") from None


def dump(value: Any) -> str:
    """Return a value as YAML on one line and in ASCII, which `parse` reads as the same value, True as the word true."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(dump, value))}]"
    if not isinstance(value, str):
        return repr(value)
    # What other readers take for more than text, such as `no`, is quoted for their sake.
    if WORD.fullmatch(value) and yaml.safe_load(value) == value:
        return value
    return yaml.dump(value, Dumper=yaml.SafeDumper, default_style='"', width=1 << 30).rstrip("\n")


class _Loader(yaml.SafeLoader):
    """Composes nodes, none of them an alias, tagged, or so deep within others that it would take long."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        try:
            return self._composed(parent, index)
        finally:
            self.depth -= 1

    def _composed(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _refused("aliases are not taken", event)
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise _refused(f"the tag {tag!r:.60} is not taken", event)
        if self.depth > MAX_DEPTH:
            raise _refused("nested too deeply", event)
        return super().compose_node(parent, index)


def _compose(text: str) -> yaml.Node | None:
    """Return the one document of a text.

    Raises:
        yaml.YAMLError: There are more, or it is not YAML.
    """
    try:
        return yaml.compose(text, _Loader)
    except (ValueError, OverflowError):  # PyYAML's own slips, on "\\UFFFFFFFF" for one
        raise yaml.YAMLError from None


def _entries(node: yaml.Node | None) -> tuple[Entry, ...]:
    """Return the settings of a whole file, each name once."""
    if node is None or (isinstance(node, yaml.ScalarNode) and _value(node) is None):
        return ()
    if not isinstance(node, yaml.MappingNode):
        raise _refused("settings are lines of 'name: value'", node)
    entries: dict[str, Entry] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _refused("settings are lines of 'name: value'", key)
        name = key.value.replace("-", "_")
        if name in entries:
            raise _refused(f"{key.value!r:.60} is given twice, first in line {entries[name].line}", key)
        entries[name] = Entry(name, key.value, _value(value), key.start_mark.line + 1)
    return tuple(entries.values())


def _value(node: yaml.Node | None) -> Any:
    """Return the value of a node: None, a number, text, or a list of these."""
    if node is None:
        return None
    if isinstance(node, yaml.SequenceNode):
        return [_value(one) for one in node.value]
    if not isinstance(node, yaml.ScalarNode):
        raise _refused("no setting is a mapping", node)
    if node.style is not None:  # in quotes, or a block of text
        return node.value
    if NULL.fullmatch(node.value):
        return None
    if INTEGER.fullmatch(node.value):
        try:
            return int(node.value)
        except ValueError:
            raise _refused(f"a number of {len(node.value)} digits", node) from None
    return float(node.value) if NUMBER.fullmatch(node.value) else node.value


def _refused(problem: str, there: Any) -> yaml.MarkedYAMLError:
    """Return the refusal of a node or an event."""
    return yaml.MarkedYAMLError(problem=problem, problem_mark=there.start_mark)


def _problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f"the character {chr(error.character)!a} is not taken"
    return f"{getattr(error, 'problem', None) or 'not YAML':.120}"


def _line(error: yaml.YAMLError, text: str) -> int | None:
    """Return the line of a text, from 1, that an error is in, where it says so."""
    if isinstance(error, yaml.reader.ReaderError):
        return len(f"{text[: error.position]}.".splitlines())
    mark = getattr(error, "problem_mark", None)
    return mark.line + 1 if mark else None
