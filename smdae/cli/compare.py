"""`smdae compare`: objectives, models and classical methods on the same patches, side by side."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smdae.cli import console, stdout
from smdae.cli.examples import read_examples
from smdae.cli.option_files import printed
from smdae.cli.options import (
    Anyway,
    Config,
    Device,
    Imports,
    Json,
    Overwrite,
    PrintConfig,
    Seed,
    Threads,
    Work,
    check_range,
    option,
    threads_of,
)
from smdae.comparing.sizes import FULL, HELD_OUT, HOLD_OUT, QUICK, QUICK_HELD_OUT, SIGMA, chosen_numbers
from smdae.errors import UsageError

if TYPE_CHECKING:
    from smdae.comparing.contest import Contest
    from smdae.files.corpus import Corpus
    from smdae.fitting.settings import Settings
    from smdae.noise import Noise

HELP = """Compare objectives, models and classical methods on the same patches; or pictures with a clean one.

smdae compare photos/ --quick                within a minute; comparison/report.html

smdae compare photos/ --seeds 3 --baseline nlm -m natural-gray

smdae compare photos/ --only equivalence -s 50 -o fifty/

smdae compare --reference clean.png a.png b.png --min-psnr 30
"""


def _both(name: str) -> str:
    return f"{FULL[name]:,}, quick {QUICK[name]:,}"


def command(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH", help="Folders, images, or .npy and .npz arrays.", readable=False, show_default=False
        ),
    ] = None,
    objective: Annotated[list[str] | None, option("An objective to fit with; repeat for more.", default="all")] = None,
    model: Annotated[
        list[str] | None,
        option("A model file or name to denoise with too; repeat for more.", "--model", "-m", default="none"),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        option("A classical method to denoise with too: nlm, wavelet, tv or bm3d.", default="none"),
    ] = None,
    target: Annotated[
        str | None, option("Examples from a density, module:name, instead of images.", default="none")
    ] = None,
    only: Annotated[list[str] | None, option("One part of the comparison; repeat for more.", default="all")] = None,
    quick: Annotated[bool, option("Smaller fits, within a minute.", "--quick")] = False,
    seeds: Annotated[int, option("Fits of each objective, for error bars.")] = 1,
    sigma: Annotated[
        float | None,
        option(
            "Level of the noise, white being 255.",
            "--sigma",
            "-s",
            default=f"{SIGMA:g}, for rows a third of their spread",
        ),
    ] = None,
    noise: Annotated[
        str | None, option("A noise profile to check the theorem with.", default="grain and shot noise of our own")
    ] = None,
    output: Annotated[Path, option("The folder of the report.", "--output", "-o")] = Path("comparison"),
    overwrite: Overwrite = False,
    resume: Annotated[bool, option("Keep what an earlier run finished in the folder.", "--resume")] = False,
    patches: Annotated[int | None, option("Number of patches to fit on.", default=_both("patches"))] = None,
    max_steps: Annotated[int | None, option("Steps of each fit.", default=_both("max_steps"))] = None,
    batch: Annotated[int, option("Patches a step.", "--batch", "-b")] = 256,
    patch_size: Annotated[int | None, option("Side of a patch.", default=_both("patch_size"))] = None,
    hidden: Annotated[int | None, option("Hidden units of the energy.", default=_both("hidden"))] = None,
    lr: Annotated[float, option("Peak of the learning rate.")] = 0.02,
    seed: Seed = None,
    device: Device = "auto",
    threads: Threads = None,
    as_: Annotated[
        str | None,
        option(
            "What arrays (N, d) are: rows, an example each, or images.",
            "--as",
            default="rows, if nothing else is given",
        ),
    ] = None,
    white: Annotated[float | None, option("The value of white in float images.", default="1")] = None,
    reference: Annotated[
        Path | None,
        option("A clean picture: print PSNR and SSIM of the images instead of fitting.", default="none"),
    ] = None,
    min_psnr: Annotated[
        float | None,
        option("With --reference: exit code 11 if an image has a lower PSNR, in dB.", default="none"),
    ] = None,
    import_: Imports = None,
    recursive: Anyway = None,
    config: Config = None,
    print_config: PrintConfig = False,
    json_: Json = False,
) -> Work:
    """Parse and check the options of `smdae compare`, and return a function that does the work.

    Raises:
        UsageError: An option has an impossible value, or two exclude each other.
        InputError: The noise profile cannot be read.
    """
    if print_config:
        return partial(stdout.document, printed(context))
    check_range(white, None)
    if min_psnr is not None and reference is None:
        raise UsageError("--min-psnr needs a clean picture to compare with", "name it with --reference")
    if reference is not None:
        from smdae.cli.measured import measure, refuse_other_options

        refuse_other_options(context)
        if not paths:
            raise UsageError("there is nothing to measure", "name the pictures after the options")
        return partial(measure, paths, reference, min_psnr, white, json_)

    asked = {"patches": patches, "max_steps": max_steps, "patch_size": patch_size, "hidden": hidden}
    numbers = chosen_numbers(asked, quick, seeds, lambda name: f"--{name.replace('_', '-')}")
    if bool(paths) == bool(target):
        both = "images and a density are two kinds of examples" if paths else "there is nothing to compare on"
        raise UsageError(both, "name images, or a density with --target module:name")
    from smdae.comparing.planning import planned, refuse_models, with_models
    from smdae.fitting.settings import check

    level = SIGMA if sigma is None else sigma
    plain = {"sigma": level, "batch": batch, "lr": lr, "seed": seed or 0, "hold_out": HOLD_OUT}
    settings = check(plain | {name: value for name, value in numbers.items() if name != "patches"})
    profile = _profile(noise)
    plan, left_out = planned(objective, only, baseline, seeds, quick)
    refuse_models(model or [], "samples of a density" if target else "")

    def work() -> int:
        from smdae.cli.compare_run import drive
        from smdae.comparing import report_folder
        from smdae.device import find, taken
        from smdae.fitting.given import level_for_rows
        from smdae.fitting.precision import denormals_flushed
        from smdae.memory import keep_freed_memory
        from smdae.pipeline.compared import Comparison, begun

        chosen = level_for_rows if sigma is None else None
        read = partial(read_examples, paths or [], settings, white, as_, level_for=chosen)
        data = _of_target(target, settings) if target else _of_files(read, model or [])
        report_folder.refuse(output, overwrite, resume)
        where = find(device)
        if told := taken(device, where):
            console.note(f"computing {told}")
        whole, colours = with_models(plan, _models(model or [], import_ or [], where))
        keep_freed_memory()
        with denormals_flushed(), threads_of(threads or (1 if quick else None)):  # two threads slow small products down
            contest = data(numbers["patches"], where, QUICK_HELD_OUT if quick else HELD_OUT)
            contest = contest if profile is None else replace(contest, noise=profile)
            _warn_of_data(contest)
            record = begun(contest, whole, target, (*left_out, *colours))
            return drive(Comparison(contest, whole, record, output), resume, json_)

    return work


MakeContest = Callable[[int, Any, int], "Contest"]  # of the number of patches, the device, and the number held out


def _of_target(target: str, settings: "Settings") -> MakeContest:
    """Load and check the density that --target names, and return what makes a contest on its samples.

    Raises:
        UsageError: There is no such density.
        InputError: Its score is not that of its samples.
    """
    from torch import Generator

    from smdae.comparing.contest import Contest
    from smdae.comparing.target import load
    from smdae.comparing.verified import verify

    density = load(target)
    console.note(f"'{target}': {verify(target, density, Generator().manual_seed(settings.seed))}")
    return lambda patches, where, held_out: Contest.of_density(density.on(where), settings, patches, where, held_out)


def _of_files(read: "Callable[[], tuple[Settings, Corpus]]", models: Sequence[str]) -> MakeContest:
    """Read images or rows by `read_examples`, and return what makes a contest on them.

    Raises:
        UsageError, InputError: As `read_examples`.
        UsageError: There are models to compare, and rows instead of images.
    """
    from smdae.comparing.contest import Contest
    from smdae.comparing.planning import refuse_models
    from smdae.files.table import rows_called

    settings, corpus = read()
    if settings.patch_size == 1:
        refuse_models(models, rows_called(corpus.images))
    return lambda patches, where, held_out: Contest.of(corpus.images, corpus.white, settings, patches, where, held_out)


def _profile(noise: str | None) -> "Noise | None":
    """Return the noise in the profile that --noise names, white being 1; None if it was not given.

    Raises:
        UsageError: There is no such profile, or a kind of noise is named instead.
        InputError: The file cannot be read.
    """
    from smdae.pipeline.noise_choice import noise_named

    if noise is None:
        return None
    found = noise_named(noise)
    if isinstance(found, str):
        raise UsageError(
            f"--noise '{noise}' is a kind of noise, and compare takes a profile", "denoise --save-noise writes one"
        )
    return found.of_unit()


def _models(files: list[str], imports: list[str], where: Any) -> dict[str, Any]:
    """Load models onto a device, and return them by their names."""
    from smdae.comparing.text import printable
    from smdae.pipeline.model_choice import load_denoiser

    return {printable(name): load_denoiser(name, imports, console.warn).to(where) for name in dict.fromkeys(files)}


def _warn_of_data(contest: "Contest") -> None:
    """Warn of data from which little can be learnt: few, repeated or equal patches, or none held out."""
    if contest.held_out_images is None:
        return
    if not contest.images[1]:
        console.warn("one small image: nothing is held out, so the figures are on what was fitted")
    if contest.places is not None and contest.places < len(contest.patches):
        console.warn(
            f"the images hold only {contest.places:,} different patches, not counting turned ones: some of the "
            f"{len(contest.patches):,} are the same"
        )
    if not (contest.patches - contest.patches[0]).any():
        console.warn("all patches are the same but for their mean, so there is hardly anything to learn")
    if len(contest.patches) < contest.settings.batch:
        console.warn(f"a batch of {contest.settings.batch} is more than all {len(contest.patches)} patches")
