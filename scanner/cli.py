"""The command line: options → scan() → report → exit code; parses and prints, decides nothing.

Heavy modules are imported inside the commands that need them, so that `--help` answers at once.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from scanner import __version__
from scanner.commands.assess import assess
from scanner.commands.consent import consent
from scanner.commands.estimate import estimate_misses
from scanner.commands.models import models
from scanner.commands.moment import Moment
from scanner.commands.replay import replay
from scanner.commands.whole_file import write_whole
from scanner.errors import CredentialsExpired, LedgerFault, ScannerError, UsageError
from scanner.unloaded import keep_out

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from scanner.config import Settings
    from scanner.engines.local import Progress
    from scanner.model import SavedRun
    from scanner.reports import RenderOptions, Report

FORMATS = ("table", "json", "csv", "parquet", "sarif", "html")
WRONG = 2
CRASH = 2  # a crash is never 0 (clean) or 1 (violations)
PAUSED = 3  # incomplete: the run could not be written down, or the store no longer knows us
# `timeout` and init systems signal the process and its group: the same request, sent twice.
_SAME_SIGNAL_SECONDS = 1.0

F = TypeVar("F", bound=Callable[..., Any])


def _now() -> datetime:
    return datetime.now(UTC)


class _Reporting(click.Command):
    """A command with -f and -o: `outputs` become one per format, None where a -f has no -o.

    click keeps no order between two options, and `-f table -f json -o x.json` means the second.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        order = [p.name for p in self.make_parser(ctx).parse_args(list(args))[2]]
        rest = super().parse_args(ctx, args)
        formats, outputs = ctx.params["formats"], ctx.params["outputs"]
        if 0 < len(outputs) < len(formats):
            given = iter(outputs)
            paired: list[str | None] = []
            waiting: str | None = None  # a -o that stands before its -f
            for name in order:
                if name == "formats":
                    paired.append(waiting)
                    waiting = None
                elif name == "outputs":
                    if paired and paired[-1] is None:
                        paired[-1] = next(given)
                    elif waiting is None:
                        waiting = next(given)
                    else:
                        raise click.UsageError("give each -o its -f: -f json -o report.json", ctx)
            if waiting is not None:
                raise click.UsageError("give each -o its -f: -f json -o report.json", ctx)
            ctx.params["outputs"] = tuple(paired)
        return rest


# ---------------------------------------------------------------- options that commands share


def _flag(*names: str, **attributes: Any) -> Callable[[F], F]:
    """An option that can also be given as CONSENTRY_<NAME>."""
    long = next(name for name in names if name.startswith("--"))
    variable = "CONSENTRY_" + long.split("/")[0].strip("-").replace("-", "_").upper()
    if attributes.pop("env", True):
        attributes["envvar"] = variable
    return click.option(*names, **attributes)


def _together(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_output_options = _together(
    _flag("-f", "--format", "formats", multiple=True, type=click.Choice(FORMATS), env=False,
          help="Report format; may be repeated, each with its own -o. Default: table."),
    _flag("-o", "--output", "outputs", multiple=True, metavar="FILE", env=False,
          help="Write the report there (parquet: a folder); '-' is standard output."),
    _flag("--show-compliant", is_flag=True, help="List what was found compliant, too."),
    _flag("--redact-paths", is_flag=True,
          help="Keyed pseudonyms instead of the names of objects; the saved run keeps the names."),
    _flag("--no-color", is_flag=True, help="No colour, even on a terminal (also NO_COLOR)."),
)  # fmt: skip

_key_file_option = _flag(
    "--key-file", type=click.Path(path_type=Path), metavar="FILE",
    help="Key of the digests; made on first use, outside every store.",
)  # fmt: skip
_output_directory_option = _flag(
    "--output-directory", type=click.Path(path_type=Path), metavar="DIR",
    help="Where runs are saved. Default: .consentry.",
)  # fmt: skip

_scan_options = _together(
    _flag("--config", type=click.Path(path_type=Path), metavar="FILE",
          help="Default: consentry.yaml here, else in the one local folder that is scanned."),
    _flag("--purpose", help="What the data shall be used for, e.g. ai-training."),
    _flag("--recipient", help="Who shall use it: a party_id."),
    _flag("--to", metavar="COUNTRY", help="Where: ISO 3166 code."),
    _flag("--policies", multiple=True, metavar="PACK", env=False,
          help="A pack's name or folder, or auto; may be repeated. Default: baseline."),
    _flag("--as-of", type=Moment(), metavar="DATE", help="Judge as of then. Default: now."),
    _flag("--fail-on", type=click.Choice(["error", "warning", "review"]),
          help="From which finding on the exit code is 1. Default: error."),
    _flag("--include", multiple=True, metavar="GLOB", env=False, help="Only these objects."),
    _flag("--exclude", multiple=True, metavar="GLOB", env=False,
          help="Not these objects; each is reported as excluded."),
    _flag("--face-detector", metavar="NAME",
          help="centerface (default) or deepface:<backend>; see `consentry models list`."),
    _flag("--faces", type=click.Choice(["fast", "balanced", "thorough"]),
          help="How far to go over a doubtful picture. Default: balanced."),
    _flag("--device", type=click.Choice(["cpu", "auto", "cuda", "directml", "coreml", "openvino"]),
          help="What models run on. Default: cpu."),
    _flag("--profile", help="AWS profile for s3:// targets."),
    _flag("--endpoint-url", metavar="URL", help="S3 endpoint, e.g. http://127.0.0.1:9000."),
    _flag("--region", help="S3 region."),
    _flag("--anonymous", is_flag=True, default=None, help="Do not sign requests."),
    _flag("--follow-symlinks", is_flag=True, default=None, help="Follow links in local folders."),
    _flag("--all-versions", is_flag=True, default=None,
          help="S3: also object versions that are not the current ones."),
    _flag("--no-cache", is_flag=True, default=None, help="Look at everything again."),
    _flag("--resume", is_flag=True, default=None, env=False,
          help="Only go on with a run that was interrupted (scan does so by itself)."),
    _flag("--sample", metavar="SHARE",
          help="Look at a drawn share only, e.g. 1%; states what that proves, is never complete."),
    _flag("--require-sandbox", is_flag=True, default=None,
          help="Rather do nothing than open files outside a sandbox."),
    _flag("-j", "--jobs", type=click.IntRange(1, 256), help="Worker processes. Default: cores."),
    _output_directory_option,
    _key_file_option,
    _flag("--sign-key", type=click.Path(path_type=Path), metavar="FILE",
          help="Ed25519 key (PEM) that the run's seal is signed with; see `consentry verify`."),
    _flag("--no-progress", is_flag=True, help="No progress bar."),
    _flag("-q", "--quiet", is_flag=True, help="Nothing on standard error but errors."),
)  # fmt: skip


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", "-V", prog_name="consentry")
def consentry() -> None:
    """May these face images and biometric fields be used for this purpose, by this recipient,
    today?

    Exit codes: 0 clean and complete, 1 violations, 2 wrong use or configuration, 3 not everything
    could be looked at (or nothing to scan), 4 both 1 and 3, 130 interrupted.
    """


# ---------------------------------------------------------------- scan, audit, report


@consentry.command(cls=_Reporting)
@click.argument("targets", nargs=-1, metavar="TARGET...")
@_scan_options
@_output_options
def scan(targets: tuple[str, ...], **options: Any) -> None:
    """Look at folders, files or buckets and judge what is found.

    \b
    consentry scan ./photos --purpose ai-training --recipient acme-vision
    consentry scan s3://bucket/prefix -f json -o findings.json -f html -o report.html
    """
    run, settings = _scan(targets, options)
    _report_and_seal(run, options, settings.formats)
    sys.exit(run.exit_code)


@consentry.command(cls=_Reporting)
@_scan_options
@_output_options
def audit(**options: Any) -> None:
    """Scan what consentry.yaml lists and compare with the last run."""
    from scanner import runs

    settings = _settings((), options)
    if not settings.targets:
        raise UsageError("audit scans the targets of consentry.yaml, and it lists none")
    before = runs.saved(settings.output_directory)
    run, settings = _scan((), options)
    _report_and_seal(run, options, settings.formats)
    if before:
        _say(_difference(runs.load(before[-1]), run), options)
    sys.exit(run.exit_code)


@consentry.command(cls=_Reporting)
@click.argument("run", metavar="RUN")
@_output_directory_option
@_key_file_option
@_output_options
def report(run: str, output_directory: Path | None, **options: Any) -> None:
    """Render a saved run again: its id, its folder, or 'last'."""
    from scanner import runs

    _print_reports(runs.load(_run_folder(run, output_directory)), options, ("table",))


@consentry.command()
@click.argument("run", metavar="RUN")
@_output_directory_option
@_flag("--public-key", type=click.Path(path_type=Path), metavar="FILE",
       help="Ed25519 key (PEM) that the seal must be signed with.")  # fmt: skip
def verify(run: str, output_directory: Path | None, public_key: Path | None) -> None:
    """Whether a saved run is as it was sealed: its id, its folder, or 'last'.

    Exit codes: 0 intact, 1 not intact or not signed by this key, 2 wrong use, 3 cannot be told (not
    sealed, or signed and no --public-key given).
    """
    from scanner import seal

    key = None if public_key is None else seal.load_public_key(public_key)
    folder = _run_folder(run, output_directory)
    found = seal.verify(folder, key)
    for label, lines in (("WRONG", found.wrong), ("UNKNOWN", found.untold), ("", found.remarks)):
        for line in lines:
            click.echo(
                textwrap.fill(
                    line,
                    80,
                    initial_indent=f"{label:<9}",
                    subsequent_indent=" " * 9,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )
    verdict = {seal.INTACT: "intact", seal.WRONG: "NOT intact", seal.UNKNOWN: "cannot be told"}
    click.echo(f"run {found.run_id or _visible(folder.name)}: {verdict[found.code]}")
    sys.exit(found.code)


def _run_folder(run: str, output_directory: Path | None) -> Path:
    from scanner import runs

    return runs.named(run, output_directory or Path(".consentry"))


# ---------------------------------------------------------------- policies


@consentry.group()
def policies() -> None:
    """List, show, explain, validate and test rule packs."""


_packs_argument = click.argument("packs", nargs=-1, metavar="[PACK]...")


@policies.command("list")
@_packs_argument
def policies_list(packs: tuple[str, ...]) -> None:
    """All rules with their law, level and how sure the citation is."""
    from scanner.policy import overview

    for pack in _packs(packs):
        _print(overview(pack))


@policies.command("show")
@click.argument("rule")
@click.option("--pack", "packs", multiple=True, help="Look in these packs.")
def policies_show(rule: str, packs: tuple[str, ...]) -> None:
    """Print a rule as it is written, under its mode, which follows from that."""
    found = _rule(rule, packs)
    _print(f"# mode: {found.mode}\n{found.path.read_text(encoding='utf-8')}")


@policies.command("explain")
@click.argument("rule", required=False)
@click.option("--finding", metavar="ID",
              help="Why this finding is as it is; the beginning of its id will do.")  # fmt: skip
@click.option("--run", default="last", metavar="RUN", show_default=True,
              help="Of --finding: the run's id, its folder, or 'last'.")  # fmt: skip
@click.option("--pack", "packs", multiple=True, help="Look in these packs.")
@_flag("--redact-paths", is_flag=True, help="Of --finding: no names of objects.")
@_output_directory_option
@_key_file_option
def policies_explain(
    rule: str | None,
    finding: str | None,
    run: str,
    packs: tuple[str, ...],
    redact_paths: bool,
    output_directory: Path | None,
    key_file: Path | None,
) -> None:
    """What a rule asks, in plain words, and the SQL it becomes; or why one finding is as it is.

    \b
    consentry policies explain KR-PIPA-33-PIA
    consentry policies explain --finding 3f9a1c
    """
    from scanner.policy import explain

    if (rule is None) == (finding is None):
        raise UsageError("give either a RULE or --finding ID")
    if rule is not None:
        _print(explain(_rule(rule, packs)))
        return
    from scanner.commands.finding import finding_text

    output = output_directory or Path(".consentry")
    _print(finding_text(finding or "", run, output, packs, key_file, redact_paths))


@policies.command("validate")
@_packs_argument
def policies_validate(packs: tuple[str, ...]) -> None:
    """Check packs without running anything."""
    from scanner.policy import validate

    loaded = _packs(packs)
    wrong = [result for result in validate(loaded) if not result.passed]
    for result in wrong:
        _print(f"WRONG {result.rule_id}: {result.detail}")
    rules = sum(len(pack.rules) for pack in loaded)
    click.echo(f"{rules} rules in {len(loaded)} packs, {len(wrong)} problems")
    sys.exit(WRONG if wrong else 0)


@policies.command("test")
@_packs_argument
def policies_test(packs: tuple[str, ...]) -> None:
    """Run the cases that packs carry; fails on a rule without cases."""
    from scanner.policy import test_packs

    results = test_packs(_packs(packs))
    failed = [result for result in results if not result.passed]
    for result in failed:
        _print(f"FAILED {result.rule_id}: {result.case}: {result.detail}")
    click.echo(f"{len(results) - len(failed)} cases passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


def _packs(names: Sequence[str]) -> Any:
    from scanner.policy import builtin_packs_folder, load_packs

    every = sorted(p.parent.name for p in builtin_packs_folder().glob("*/pack.yaml"))
    return load_packs(tuple(names) or tuple(every), Path.cwd())


def _rule(rule_id: str, packs: Sequence[str]) -> Any:
    import difflib

    rules = {rule.id: rule for pack in _packs(packs) for rule in pack.rules}
    if rule_id not in rules:
        close = difflib.get_close_matches(rule_id, rules, 1)
        hint = f"did you mean {close[0]}?" if close else "`consentry policies list` shows all"
        raise UsageError(f"no rule {rule_id}; {hint}")
    return rules[rule_id]


# ---------------------------------------------------------------- models, init, demo


consentry.add_command(models)
consentry.add_command(estimate_misses)
consentry.add_command(assess)
consentry.add_command(consent)
consentry.add_command(replay)


@consentry.command()
@click.option("--force", is_flag=True, help="Overwrite a consentry.yaml that is there.")
def init(force: bool) -> None:
    """Write a commented consentry.yaml here."""
    from scanner.config import TEMPLATE

    path = Path("consentry.yaml")
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        raise UsageError("consentry.yaml is there already; --force overwrites it") from None
    click.echo("wrote consentry.yaml; edit it, then: consentry scan TARGET")


@consentry.command()
@click.argument("target", metavar="TARGET")
@_flag(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Default: consentry.yaml here; its `stores` options count as in a scan.",
)
@_flag("--profile", help="AWS profile for s3:// targets.")
@_flag("--endpoint-url", metavar="URL", help="S3 endpoint, e.g. http://127.0.0.1:9000.")
@_flag("--region", help="S3 region.")
@_flag("--anonymous", is_flag=True, default=None, help="Do not sign requests.")
@_flag("--all-versions", is_flag=True, default=None, help="For scans with --all-versions.")
@_flag("--probe-write", is_flag=True, env=False,
       help="S3: ask with a part of an upload that does not exist; changes nothing.")  # fmt: skip
def doctor(target: str, probe_write: bool, **options: Any) -> None:
    """What you may do with a target, and the least that a scan of it needs.

    Sends listings and reads only. Exit codes: 0 readable and not known to be writable, 1 readable
    and writable, 2 wrong use, 3 not readable.
    """
    from scanner.doctor import examine, exit_code, render

    spec = _settings((target,), {**_no_flags(), **options}).store_spec(target)
    found = examine(spec, probe_write=probe_write)
    click.echo(render(found), nl=False)
    sys.exit(exit_code(found))


@consentry.command()
@_flag("-j", "--jobs", type=click.IntRange(1, 256), help="Worker processes. Default: cores.")
@_flag("--no-color", is_flag=True, help="No colour, even on a terminal (also NO_COLOR).")
@_flag("--no-progress", is_flag=True, help="No progress bar.")
@_flag("--redact-paths", is_flag=True, help="Keyed pseudonyms instead of the names of objects.")
@_output_directory_option
@_key_file_option
def demo(jobs: int | None, output_directory: Path | None, **options: Any) -> None:
    """Scan the four buckets of drawn faces that come with the program; needs no network."""
    from scanner.demo import compare, demo_buckets

    pages: list[Path] = []
    wrong: list[str] = []
    found = 0
    for bucket in demo_buckets():
        click.echo(f"\n━━ {bucket.name} ━━ {bucket.about}")
        flags = {**options, "jobs": jobs, "quiet": True, "output_directory": output_directory}
        run, _ = _scan((str(bucket.folder),), {**_no_flags(), **flags})
        _report_and_seal(run, {**options, "outputs": (), "formats": ("table", "html")}, ())
        pages.append(run.folder / "report.html")
        matched, differences = compare(bucket, run)
        found += matched
        wrong += differences
    click.echo(f"\nPlanted findings found: {found}; differences: {len(wrong)}")
    for line in wrong:
        click.echo(f"  {line}")
    click.echo("Reports for reading, one page per bucket:")
    for page in pages:
        click.echo(f"  {page}")
    sys.exit(CRASH if wrong else 0)


# ---------------------------------------------------------------- the parts that commands share


def _no_flags() -> dict[str, Any]:
    names = [p.name for p in scan.params if p.name not in ("targets", None)]
    many = ("policies", "include", "exclude", "formats", "outputs")
    return {str(name): () if name in many else None for name in names}


def _settings(targets: Sequence[str], options: dict[str, Any]) -> Settings:
    from scanner.config import Overrides, find_config, load_settings, refuse_addresses

    cwd = Path.cwd()
    file = find_config(options["config"], targets, cwd)
    given = {n: options[n] for n in Overrides.__dataclass_fields__ if options.get(n)}
    overrides = Overrides(**{**given, "targets": tuple(targets)})
    settings = load_settings(file, overrides, cwd)
    if options["config"] is None:
        refuse_addresses(settings)
    if file is not None and options["config"] is None and file.parent.resolve() != cwd.resolve():
        _say(f"using {file}, found in the target", options)
    return settings


def _scan(targets: Sequence[str], options: dict[str, Any]) -> tuple[SavedRun, Settings]:
    settings = _settings(targets, options)
    _reports(options, settings.formats)  # a wrong -o is said now, not after hours of looking
    _signing_key(options)
    # pyarrow asks pandas, if it is there, whether a list is one of its own: half a second for a no
    keep_out("pandas")
    from scanner.scan import PAUSED
    from scanner.scan import scan as run_scan
    from scanner.subjects import SubjectKey

    # A listing makes millions of small objects and no cycles; looking for some among all that was
    # imported, every few hundred of them, costs a tenth of it.
    gc.set_threshold(100_000)

    key = SubjectKey.load(options["key_file"])
    with _stop_on_signal() as stop, _progress(options) as show:
        run = run_scan(
            settings,
            started=_now(),
            as_of=options["as_of"],
            clock=_now,
            key=key,
            stop=stop,
            on_progress=show,
        )
    for note in run.info.notes:
        if note.startswith(PAUSED):  # also when quiet: somebody has to act
            click.echo(f"consentry: {_visible(note)}", err=True)
    _say(f"run saved in {run.folder}", options)
    return run, settings


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C (or SIGTERM, or a terminal that closes) ends the run in good order, the
    second one at once.
    """
    asked: float | None = None

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        now = monotonic()
        if asked is None:
            asked = now
            with suppress(OSError):  # not click.echo: the signal may have come amid a write to it
                os.write(2, b"\nstopping; what was looked at is judged and saved\n")
        elif now - asked > _SAME_SIGNAL_SECONDS:
            raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        numbers.append(signal.SIGHUP)
    before = {n: signal.signal(n, handle) for n in numbers}
    try:
        yield lambda: asked is not None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(options: dict[str, Any]) -> Iterator[Callable[[Progress], None]]:
    if options["no_progress"] or options["quiet"] or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    colour = None if options["no_color"] else "auto"
    console = Console(stderr=True, color_system=colour, no_color=options["no_color"])  # type: ignore[arg-type]
    columns = (
        TextColumn("looking"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        started = _now()
        task = bar.add_task("", total=None, rate="")

        def show(progress: Any) -> None:
            seconds = max((_now() - started).total_seconds(), 0.1)
            total = progress.listed if progress.listed_all else None
            rate = f"{progress.done / seconds:,.0f}/s"
            bar.update(task, completed=progress.done, total=total, rate=rate)

        yield show


def _reports(options: dict[str, Any], configured: Sequence[str]) -> list[tuple[Report, str | None]]:
    """Each format with its -o, None where it has none; UsageError if it cannot be written there."""
    from scanner.reports import get_report

    formats = options["formats"] or tuple(configured) or ("table",)
    outputs: tuple[str | None, ...] = options["outputs"]
    if len(outputs) > len(formats):
        raise UsageError(f"{len(outputs)} -o but {len(formats)} -f: give each -o its -f")
    wanted = []
    for number, name in enumerate(formats):
        report_format = get_report(name)
        target = outputs[number] if number < len(outputs) else None
        if target == "-" and report_format.folder:
            raise UsageError(f"-f {name} writes a folder: name it with -o DIR")
        if target not in (None, "-") and not report_format.folder:
            path = Path(target or "")
            if path.is_dir():
                raise UsageError(f"{path}: is a folder; -o names a file for -f {name}")
            if not path.parent.is_dir():
                raise UsageError(f"{path}: there is no folder {path.parent}; make it first")
        wanted.append((report_format, target))
    return wanted


def _signing_key(options: dict[str, Any]) -> Ed25519PrivateKey | None:
    from scanner.seal import load_private_key

    file = options.get("sign_key")
    return None if file is None else load_private_key(file)


def _report_and_seal(run: SavedRun, options: dict[str, Any], configured: Sequence[str]) -> None:
    """The seal covers what people read, so it comes last; also when a report cannot be written."""
    from scanner.seal import seal

    try:
        _print_reports(run, options, configured)
    finally:
        seal(run.folder, _signing_key(options), at=_now())


def _print_reports(run: SavedRun, options: dict[str, Any], configured: Sequence[str]) -> None:
    """Each -f goes to its -o; without one, text goes to stdout and files beside the run."""
    wanted = _reports(options, configured)
    if not options.get("redact_paths"):
        _render(run, wanted, options, run.folder)
        return
    from scanner.redaction import redacted
    from scanner.subjects import SubjectKey

    key = SubjectKey.load(options.get("key_file"))
    with redacted(run, key, files=any(report.folder for report, _ in wanted)) as view:
        _render(view, wanted, options, run.folder)


def _render(
    run: SavedRun,
    wanted: Sequence[tuple[Report, str | None]],
    options: dict[str, Any],
    folder: Path,
) -> None:
    """`folder` is the run's own; once it is sealed, nothing is written there any more."""
    from scanner.seal import is_sealed

    sealed, own = is_sealed(folder), folder.resolve()
    printed = False
    for report_format, target in wanted:
        name = report_format.name
        if target not in (None, "-") and Path(target or "").resolve().is_relative_to(own):
            raise UsageError(f"{target}: lies in the saved run itself; write the report elsewhere")
        if target is None and (printed or name in ("html", "parquet")):
            place = folder / "report" if not sealed else Path(f"report-{run.info.id}")
            target = f"{place}{report_format.suffix}"
            _say(f"{name} report: {target}{' (the run is sealed)' if sealed else ''}", options)
        if report_format.folder:
            assert target is not None
            report_format.render(run, None, Path(target), _render_options(options, None))
        elif target is None or target == "-":
            printed = True
            stream = sys.stdout.buffer
            try:
                report_format.render(run, stream, None, _render_options(options, sys.stdout))
                stream.flush()
            except BrokenPipeError:
                raise
            except OSError as error:
                with suppress(OSError):  # what is left in the buffer goes nowhere, without a word
                    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise _cannot_write("standard output", error) from error
        else:
            _write(Path(target), report_format, run, _render_options(options, None))


def _cannot_write(where: str, error: OSError) -> UsageError:
    reason = error.strerror or type(error).__name__
    return UsageError(
        f"{where}: cannot write the report there ({reason}); `consentry report last` renders it "
        "again"
    )


def _write(path: Path, report_format: Report, run: SavedRun, how: RenderOptions) -> None:
    """A whole report or none."""
    try:
        write_whole(path, lambda file: report_format.render(run, file, None, how))
    except OSError as error:
        raise _cannot_write(str(path), error) from error


def _render_options(options: dict[str, Any], stream: IO[str] | None) -> RenderOptions:
    import shutil

    from scanner.reports import RenderOptions

    terminal = stream is not None and stream.isatty()
    colour = terminal and not options.get("no_color") and "NO_COLOR" not in os.environ
    width = min(max(shutil.get_terminal_size((80, 24)).columns, 60), 100) if terminal else 80
    compliant = bool(options.get("show_compliant"))
    return RenderOptions(width=width, colour=colour, show_compliant=compliant)


def _difference(before: SavedRun, now: SavedRun) -> str:
    old = {(f["finding_id"]) for f in before.findings.to_pylist() if f["verdict"] != "compliant"}
    new = {(f["finding_id"]) for f in now.findings.to_pylist() if f["verdict"] != "compliant"}
    return (
        f"since run {before.info.id}: {len(new - old)} new findings, "
        f"{len(old - new)} gone, {len(new & old)} unchanged"
    )


def _say(message: str, options: dict[str, Any]) -> None:
    if not options.get("quiet"):
        click.echo(_visible(message), err=True)


def _print(text: str) -> None:
    """Lines of a pack, which somebody else may have written."""
    for line in text.rstrip().split("\n"):
        click.echo(_visible(line))


def _visible(text: str) -> str:
    """On one line, and nothing in it acts on a terminal: names in it come from the stores."""
    from scanner.reports import visible

    return visible(text)


def _open_closed_streams() -> None:
    """Where standard streams are closed (`>&-`), files of the run would get their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
            setattr(sys, name, nowhere)


def main() -> None:
    """Run the command line; every error is one line on standard error."""
    _open_closed_streams()
    try:
        consentry.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        told = io.StringIO()
        error.show(told)
        for line in told.getvalue().rstrip("\n").split("\n"):
            click.echo(_visible(line), err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except ScannerError as error:
        click.echo(_visible(f"consentry: {error}"), err=True)
        sys.exit(PAUSED if isinstance(error, (LedgerFault, CredentialsExpired)) else WRONG)
    except BrokenPipeError:
        # The reader of our output went away (`| head`); the exit code still says nothing was
        # judged.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(CRASH)
    except Exception as error:
        if os.environ.get("CONSENTRY_DEBUG"):
            raise
        kind = type(error).__name__
        if isinstance(error, OSError) and error.strerror:  # the system's own words, never a name
            kind += f": {error.strerror}"
        hint = "nothing was proved; CONSENTRY_DEBUG=1 shows where"
        click.echo(f"consentry: internal error ({kind}); {hint}", err=True)
        sys.exit(CRASH)
