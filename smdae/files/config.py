"""Settings from a YAML file: names as on the command line, `max-steps` or `max_steps`.

objective: dsm
sigma: 25
lr: 1e-2
"""

import re
from pathlib import Path
from typing import Any

from smdae.errors import UsageError

__all__ = ["read_config"]

LARGEST = 1 << 20  # bytes


def read_config(path: Path) -> dict[str, Any]:
    """The settings in a YAML file, names with underscores.

    Raises:
        UsageError: The file is missing, too large, not YAML, not a mapping, or names a setting twice.
    """
    import yaml

    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise UsageError(f"--config '{path}': the file is larger than {LARGEST} bytes")
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"--config '{path}': {(error.strerror or 'unreadable').lower()}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--config '{path}': not a text file") from None
    try:
        return _load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise UsageError(f"--config '{path}': {where}{getattr(error, 'problem', None) or 'not YAML'}") from None
    except RecursionError:
        raise UsageError(f"--config '{path}': nested too deeply") from None


def _load(text: str) -> dict[str, Any]:
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses aliases and names given twice, and takes 1e-4 for the number it is."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                event = self.peek_event()
                raise yaml.composer.ComposerError(None, None, "aliases are not taken", event.start_mark)
            return super().compose_node(parent, index)

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )
    node = yaml.compose(text, Loader)
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise yaml.MarkedYAMLError(problem="settings are lines of 'name: value'", problem_mark=node.start_mark)
    settings: dict[str, Any] = {}
    loader = Loader("")
    for key, value in node.value:
        name = str(key.value).replace("-", "_")
        if name in settings:
            raise yaml.MarkedYAMLError(problem=f"'{key.value}' is given twice", problem_mark=key.start_mark)
        try:
            settings[name] = loader.construct_object(value, deep=True)
        except ValueError as error:  # 2020-99-99 looks like a date
            raise yaml.MarkedYAMLError(problem=str(error), problem_mark=value.start_mark) from None
    return settings
