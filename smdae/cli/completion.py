"""`smdae completion SHELL`: a script with which a shell completes commands, options and their values.

The script contains all names, so that completing starts no Python; print it again after an update of smdae.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Any

import typer

from smdae.cli import stdout
from smdae.cli.options import Work
from smdae.errors import UsageError

HELP = """Print what makes a shell complete smdae.

smdae completion bash > ~/.local/share/bash-completion/completions/smdae

smdae completion zsh > ~/.zfunc/_smdae       with fpath+=~/.zfunc before compinit

smdae completion fish > ~/.config/fish/completions/smdae.fish
"""

MAX_HELP = 60  # characters of an option's help


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Attributes:
        names: The names as they are written: --sigma, -s.
        values: The values that it may have, if they can be listed; empty for files and numbers.
    """

    names: tuple[str, ...]
    values: tuple[str, ...]
    is_flag: bool
    help: str


Commands = Mapping[str, tuple[str, Sequence[Option]]]


def command(
    context: typer.Context,
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> Work:
    """Return a function that prints the completion script of a shell; raise UsageError for an unknown shell."""
    if shell not in SHELLS:
        near = get_close_matches(shell, SHELLS, 1)
        hint = f"did you mean {near[0]}?" if near else None
        raise UsageError(f"there is no completion for '{shell}'; shells are {', '.join(SHELLS)}", hint)
    return partial(stdout.document, SHELLS[shell](_commands(context.find_root().command)))


def _values() -> dict[str, tuple[str, ...]]:
    """Return the possible values of the options that have a fixed list, by their long names."""
    from smdae.cli.options import DEPTHS
    from smdae.comparing.parts import PARTS
    from smdae.denoising.precision import PRECISIONS
    from smdae.estimation.estimate import KINDS
    from smdae.files.bundle import entries
    from smdae.files.formats import ENDINGS
    from smdae.names import SAMPLER_NAMES
    from smdae.objectives import OBJECTIVES

    return {
        "--as": ("rows", "images"),
        "--baseline": ("nlm", "wavelet", "tv", "bm3d"),
        "--bit-depth": tuple(DEPTHS),
        "--device": ("auto", "cpu", "cuda", "mps"),
        "--format": tuple(ENDINGS),
        "--model": tuple(entries()),
        "--noise": tuple(KINDS),
        "--objective": tuple(OBJECTIVES),
        "--only": tuple(PARTS),
        "--precision": tuple(PRECISIONS),
        "--sampler": tuple(SAMPLER_NAMES),
    }


def _commands(root: Any) -> Commands:
    from smdae.models import MODELS

    values = _values()
    found = {}
    for name, subcommand in root.commands.items():
        known = values | ({"--model": tuple(MODELS)} if name == "fit" else {})
        options = [
            _option(parameter, known)
            for parameter in subcommand.params
            if parameter.opts[0].startswith("-") and not parameter.hidden
        ]
        options.append(Option(("--help", "-h"), (), True, "Show the help."))
        found[name] = (_short(subcommand.help or ""), options)
    return found


def _option(parameter: Any, values: Mapping[str, tuple[str, ...]]) -> Option:
    names = tuple(sorted(parameter.opts, key=len, reverse=True))
    return Option(names, values.get(names[0], ()), parameter.is_flag, _short(parameter.help or ""))


def _short(text: str) -> str:
    """Return the beginning of a help text, without characters that have a meaning for a shell."""
    line = " ".join(text.split("\n\n")[0].split())
    return "".join(c for c in line if c.isalnum() or c in " .,-_/=<>").strip()[:MAX_HELP]


def _cases(commands: Commands, opening: str, closing: str) -> str:
    """Return the cases of a shell's case statement for options with a value: a list of values, or a file."""
    cases = []
    for name, (_, known) in commands.items():
        for option in known:
            patterns = "|".join(f"{name}:{n}" for n in option.names)
            if option.values:
                cases.append(f"    {patterns}) values={opening}{' '.join(option.values)}{closing} ;;")
            elif not option.is_flag:
                cases.append(f"    {patterns}) files=1 ;;")
    return "\n".join(cases)


def _bash(commands: Commands) -> str:
    options = []
    for name, (_, known) in commands.items():
        words = " ".join(n for option in known for n in option.names)
        options.append(f"    {name}) options='{words}' ;;")
    lines = _cases(commands, "'", "'")
    return f"""# bash completion of smdae
_smdae() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
  local command='' options='' values='' files='' one
  COMPREPLY=()
  for one in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case $one in {"|".join(commands)}) command=$one; break ;; esac
  done
  if [[ -z $command ]]; then
    COMPREPLY=($(compgen -W '{" ".join(commands)} --help --version --debug' -- "$word"))
    return
  fi
  case $command:$before in
{lines}
  esac
  case $command in
{chr(10).join(options)}
  esac
  if [[ -n $values ]]; then
    COMPREPLY=($(compgen -W "$values" -- "$word"))
  elif [[ -z $files && $word == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$word"))
  fi
}}
complete -o default -F _smdae smdae
"""


def _zsh(commands: Commands) -> str:
    names = "\n".join(f"    '{name}:{text}'" for name, (text, _) in commands.items())
    options = []
    for name, (_, known) in commands.items():
        described = "\n".join(f"      '{n}:{option.help}'" for option in known for n in option.names)
        options.append(f"    {name}) options=(\n{described}\n    ) ;;")
    lines = _cases(commands, "(", ")")
    return f"""#compdef smdae
# zsh completion of smdae
_smdae() {{
  local -a commands options values
  local command='' files='' one
  commands=(
{names}
  )
  for one in "${{(@)words[2,CURRENT-1]}}"; do
    case $one in ({"|".join(commands)}) command=$one; break ;; esac
  done
  if [[ -z $command ]]; then
    _describe command commands
    return
  fi
  case $command:${{words[CURRENT-1]}} in
{lines}
  esac
  case $command in
{chr(10).join(options)}
  esac
  if (( $#values )); then
    compadd -a values
  elif [[ -z $files && ${{words[CURRENT]}} == -* ]]; then
    _describe option options
  else
    _files
  fi
}}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _smdae "$@"; else compdef _smdae smdae; fi
"""


def _fish(commands: Commands) -> str:
    lines = ["# fish completion of smdae"]
    for name, (text, _) in commands.items():
        lines.append(f"complete -c smdae -f -n __fish_use_subcommand -a {name} -d '{text}'")
    for name, (_, known) in commands.items():
        for option in known:
            written = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names)
            value = f" -x -a '{' '.join(option.values)}'" if option.values else "" if option.is_flag else " -r"
            lines.append(
                f"complete -c smdae -n '__fish_seen_subcommand_from {name}' {written}{value} -d '{option.help}'"
            )
    return "\n".join(lines) + "\n"


SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
