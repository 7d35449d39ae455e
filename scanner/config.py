"""Turns consentry.yaml and the flags that override it into typed settings."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal, cast

from scanner.countries import country
from scanner.errors import ConfigError, ScannerError
from scanner.model import (
    UNASSIGNED,
    DatasetSpec,
    DeclaredUse,
    Limits,
    ManifestSpec,
    RegistrySpec,
    Representation,
    StoreSpec,
)
from scanner.tree import Node, is_url, resolve
from scanner.vocabulary import (
    AUTO,
    BALANCED,
    CPU,
    DEVICES,
    FACE_LEVELS,
    FAIL_ON,
    KEY_QUALITIES,
    LEGAL_BASES,
    REGISTRY_COLUMNS,
    REPRESENTATIONS,
    SOURCES,
    choices,
    legal_basis,
    suggestion,
    word,
)
from scanner.yamlsafe import load_yaml, shown

FILE_NAME = "consentry.yaml"
OUTPUT_FOLDER = ".consentry"
RUNS_FOLDER = "runs"  # in it: saved runs
STATE_FOLDER = "state"  # in it: the ledger
_FLAGS = ("follow_symlinks", "all_versions", "require_sandbox")
DEFAULT_POLICIES = ("baseline",)
DEFAULT_FORMATS = ("table",)
FACE_DETECTOR = "centerface"
CHILD_AGE = 14  # PIPA 22-2, PIPL 31

_SHARE = "a share of the objects such as 1% or 0.01 (100% is all)"

FailOn = Literal["error", "warning", "review"]

_DATABASE = re.compile(r"postgres(?:ql)?://")


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How to reach the targets under one URL prefix."""

    profile: str | None = None
    endpoint_url: str | None = None
    region: str | None = None
    anonymous: bool | None = None


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line and CONSENTRY_* variables say; None leaves the file's word, or the
    default."""

    targets: tuple[str, ...] | None = None
    purpose: str | None = None
    recipient: str | None = None
    to: str | None = None
    policies: tuple[str, ...] | None = None
    fail_on: str | None = None
    output_directory: Path | None = None
    formats: tuple[str, ...] | None = None
    child_age: int | None = None
    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] | None = None
    jobs: int | None = None
    face_detector: str | None = None
    faces: str | None = None
    device: str | None = None
    follow_symlinks: bool | None = None
    all_versions: bool | None = None
    require_sandbox: bool | None = None
    sample: str | None = None
    no_cache: bool | None = None
    resume: bool | None = None
    # for every target
    profile: str | None = None
    endpoint_url: str | None = None
    region: str | None = None
    anonymous: bool | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a run is told, with defaults filled in; paths are absolute, except
    policies'."""

    file: Path | None = None  # the consentry.yaml that was used
    targets: tuple[str, ...] = ()
    stores: Mapping[str, StoreOptions] = field(default_factory=dict)  # by URL prefix
    declared_use: DeclaredUse = field(default_factory=DeclaredUse)
    datasets: tuple[DatasetSpec, ...] = ()
    registries: tuple[RegistrySpec, ...] = ()
    policies: tuple[str, ...] = DEFAULT_POLICIES  # pack names, or folders relative to `policy_base`
    policy_base: Path = field(default_factory=Path)
    fail_on: FailOn = "error"
    output_directory: Path = field(default_factory=lambda: Path(OUTPUT_FOLDER))
    formats: tuple[str, ...] = DEFAULT_FORMATS
    child_age: int = CHILD_AGE
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    jobs: int | None = None  # worker processes; None: as many as the machine has cores
    face_detector: str = FACE_DETECTOR
    faces: str = BALANCED  # how far it goes over a doubtful picture
    device: str = CPU  # what models run on
    follow_symlinks: bool = False
    all_versions: bool = False
    require_sandbox: bool = False
    sample: float | None = None  # share of the objects that is looked at, 0 < share < 1; None: all
    cache: bool = True  # what is unchanged is not looked at again
    purposes: str | None = None  # file of the organisation's own terms: what is broader than each
    resume: bool = False  # only go on with a run that was interrupted
    store_flags: StoreOptions = field(
        default_factory=StoreOptions
    )  # over `stores`, for all targets

    def store_spec(self, target: str, skip: Sequence[str | Path] = ()) -> StoreSpec:
        """`target` with the options of the longest prefix in `stores` that it lies under.

        A prefix ends at a slash: options of s3://exports do not reach s3://exports-old. `skip`
        names local folders of this program's own; that of its saved runs is always one of them.
        """
        under = [prefix for prefix in self.stores if _lies_under(target, prefix)]
        options = self.stores[max(under, key=len)] if under else StoreOptions()
        flags = self.store_flags
        anonymous = options.anonymous if flags.anonymous is None else flags.anonymous
        # and nothing beside them: that may be anybody's
        ours = [self.output_directory / name for name in (RUNS_FOLDER, STATE_FOLDER)]
        own = [os.path.realpath(path) for path in (*ours, *skip)]
        return StoreSpec(
            url=target,
            profile=flags.profile or options.profile,
            endpoint_url=flags.endpoint_url or options.endpoint_url,
            region=flags.region or options.region,
            anonymous=bool(anonymous),
            follow_symlinks=self.follow_symlinks,
            all_versions=self.all_versions,
            skip=tuple(dict.fromkeys(own)),
        )


def _lies_under(target: str, prefix: str) -> bool:
    if not is_url(target):
        if is_url(prefix):
            return False
        target, prefix = str(resolve(Path.cwd(), target)), str(resolve(Path.cwd(), prefix))
    if target == prefix or target == prefix.rstrip("/"):
        return True
    return target.startswith(prefix if prefix.endswith("/") else prefix + "/")


def find_config(explicit: Path | None, targets: Sequence[str], cwd: Path) -> Path | None:
    """The configuration to use: `--config`, else ./consentry.yaml, else the one in the only, local
    target.

    Raises ConfigError if `explicit` is not there: a run under other rules than the ones asked for
    is worse than none.
    """
    if explicit is not None:
        file = cwd / explicit
        if not file.is_file():
            raise ConfigError(
                f"{explicit}: no such file; --config names a consentry.yaml "
                "('consentry init' writes one)"
            )
        return file
    for folder in (cwd, *_only_local_folder(targets, cwd)):
        file = folder / FILE_NAME
        if file.is_file():
            return file
    return None


def _only_local_folder(targets: Sequence[str], cwd: Path) -> list[Path]:
    if len(targets) != 1 or is_url(targets[0]):
        return []
    folder = cwd / targets[0]
    return [folder] if folder.is_dir() else []


def load_settings(
    file: Path | None, overrides: Overrides | None = None, cwd: Path | None = None
) -> Settings:
    """The settings of `file` (None: the defaults), each overridden by what `overrides` gives.

    Relative paths in the file start at its folder, those in `overrides` and the default output
    folder at `cwd`. Raises ConfigError.
    """
    here = Path.cwd() if cwd is None else cwd
    given = Overrides() if overrides is None else overrides
    settings = Settings(policy_base=here, output_directory=here / OUTPUT_FOLDER)
    if file is not None:
        settings = _from_file(file, given, here)
    return _override(settings, given, here)


# ---------------------------------------------------------------- the file, key by key


def _from_file(file: Path, overrides: Overrides, cwd: Path) -> Settings:
    file = resolve(cwd, str(file))
    try:
        tree = load_yaml(file)
    except ConfigError:
        raise
    except ScannerError as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(
            f"{file}: cannot be read ({error.strerror or type(error).__name__})"
        ) from None
    top = Node(file, "", tree).keys(
        "version", "targets", "stores", "declared_use", "datasets", "registries", "policies",
        "fail_on", "output", "child_age", "include", "exclude", "limits", "jobs", "face_detector",
        "faces", "device",
        "follow_symlinks", "all_versions", "require_sandbox", "purposes", "sample",
    )  # fmt: skip
    if "version" in top and (top["version"].value != 1 or isinstance(top["version"].value, bool)):
        raise top["version"].wrong("this program reads version 1")
    output = top["output"].keys("directory", "formats") if "output" in top else {}
    directory = cwd / OUTPUT_FOLDER  # not beside the file: that may be in a target
    if "directory" in output:
        text = output["directory"].text("a folder")
        if is_url(text):
            raise output["directory"].wrong("expected a local folder, got a URL")
        directory = resolve(file.parent, text)
    use = top["declared_use"].keys("purpose", "recipient", "to") if "declared_use" in top else {}
    plain = Settings()
    flags = {name: top[name].flag() for name in _FLAGS if name in top}
    return Settings(
        file=file,
        targets=_targets(top["targets"]) if "targets" in top else (),
        stores=_stores(top["stores"]) if "stores" in top else {},
        declared_use=DeclaredUse(
            purpose=use["purpose"].text() if "purpose" in use else None,
            recipient=use["recipient"].text("a party id") if "recipient" in use else None,
            to=use["to"].country() if "to" in use else None,
        ),
        datasets=_datasets(top["datasets"]) if "datasets" in top else (),
        registries=_registries(top["registries"]) if "registries" in top else (),
        policies=_policies(top["policies"]) if "policies" in top else DEFAULT_POLICIES,
        policy_base=file.parent,
        fail_on=cast("FailOn", top["fail_on"].one_of(FAIL_ON)) if "fail_on" in top else "error",
        output_directory=directory,
        formats=output["formats"].texts("a list of report formats")
        if "formats" in output
        else DEFAULT_FORMATS,
        child_age=top["child_age"].whole(1, 30) if "child_age" in top else CHILD_AGE,
        include=top["include"].texts("a list of globs") if "include" in top else (),
        exclude=top["exclude"].texts("a list of globs") if "exclude" in top else (),
        limits=_limits(top["limits"]) if "limits" in top else plain.limits,
        jobs=top["jobs"].whole(1, 1024) if "jobs" in top else None,
        face_detector=top["face_detector"].text() if "face_detector" in top else FACE_DETECTOR,
        device=top["device"].one_of(DEVICES) if "device" in top else CPU,
        faces=top["faces"].one_of(FACE_LEVELS) if "faces" in top else BALANCED,
        follow_symlinks=flags.get("follow_symlinks", False),
        all_versions=flags.get("all_versions", False),
        require_sandbox=flags.get("require_sandbox", False),
        sample=_sample(top["sample"]) if "sample" in top else None,
        purposes=_local_file(top["purposes"]) if "purposes" in top else None,
    )


def _local_file(node: Node) -> str:
    path = node.local_or_url("a file")
    if is_url(path):
        raise node.wrong("expected a local file, got a URL")
    return path


def _sample(node: Node) -> float | None:
    value = node.value
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        return _share(node.text(_SHARE) if not number else str(value))
    except ValueError:
        raise node.wrong(f"expected {_SHARE}, got {shown(str(value))}") from None


def _share(text: str) -> float | None:
    """A share of the objects, "1%" or "0.01"; None for all of them. Raises ValueError."""
    percent = text.endswith("%")
    share = float(text.removesuffix("%").rstrip()) / (100 if percent else 1)
    # a bare 1 may be meant as one per cent
    if not 0 < share <= 1 or (share == 1 and not percent):
        raise ValueError
    return None if share == 1 else share


def _targets(node: Node) -> tuple[str, ...]:
    return tuple(
        item.local_or_url("a folder or a URL") for item in node.items("a list of folders or URLs")
    )


def _policies(node: Node) -> tuple[str, ...]:
    if node.value == AUTO:
        return (AUTO,)
    packs = node.texts("a list of packs")
    if not packs:
        raise node.wrong("expected at least one pack; nothing would be checked")
    return tuple(dict.fromkeys(packs))


def _stores(node: Node) -> dict[str, StoreOptions]:
    stores: dict[str, StoreOptions] = {}
    for prefix, entry in node.named("options by URL prefix").items():
        options = entry.keys("profile", "endpoint_url", "region", "anonymous")
        if "endpoint_url" in options and not re.match(
            r"https?://[^/]", options["endpoint_url"].text("a URL")
        ):
            raise options["endpoint_url"].wrong("expected a URL such as http://127.0.0.1:9000")
        key = prefix if is_url(prefix) else str(resolve(node.file.parent, prefix))
        stores[key] = StoreOptions(
            profile=options["profile"].text() if "profile" in options else None,
            endpoint_url=options["endpoint_url"].text() if "endpoint_url" in options else None,
            region=options["region"].text() if "region" in options else None,
            anonymous=options["anonymous"].flag() if "anonymous" in options else None,
        )
    return stores


def _limits(node: Node) -> Limits:
    entries = node.keys(*(entry.name for entry in fields(Limits)))
    return Limits(**{name: entry.whole(1, 2**62) for name, entry in entries.items()})


def _datasets(node: Node) -> tuple[DatasetSpec, ...]:
    datasets = tuple(_dataset(item) for item in node.items("a list of datasets"))
    seen: dict[str, int] = {}
    for position, dataset in enumerate(datasets):
        first = seen.setdefault(dataset.id, position)
        if first != position:
            raise node.wrong(
                f"the id {shown(dataset.id)} is there twice ([{first}] and [{position}])"
            )
    return datasets


def _dataset(node: Node) -> DatasetSpec:
    entries = node.keys(
        "id", "include", "manifest", "subject_from", "subject_column", "controller", "jurisdiction",
        "jurisdiction_from", "collected_for", "legal_basis", "source", "representation",
        "retention_until", "subject_key_quality",
    )  # fmt: skip
    if "id" not in entries:
        raise node.wrong("expected an id")
    name = entries["id"].text("an id")
    if name == UNASSIGNED:
        raise entries["id"].wrong(
            f"{UNASSIGNED!r} is the name of what belongs to no dataset; take another"
        )
    if "include" in entries and not entries["include"].items("a list of globs"):
        raise entries["include"].wrong(
            "expected at least one glob; leave the key out to include everything"
        )
    jurisdiction_from = entries.get("jurisdiction_from")
    if jurisdiction_from is not None and "manifest" not in entries:
        raise jurisdiction_from.wrong(
            "names a column of the manifest, but the dataset has no manifest"
        )
    column = jurisdiction_from.text("a column") if jurisdiction_from is not None else None
    representation = (
        entries["representation"].one_of(REPRESENTATIONS) if "representation" in entries else None
    )

    def text(key: str) -> str | None:
        return entries[key].text() if key in entries else None

    return DatasetSpec(
        id=name,
        include=entries["include"].texts("a list of globs") if "include" in entries else ("**",),
        manifest=_manifest(entries["manifest"], column) if "manifest" in entries else None,
        subject_from=_subject_pattern(entries["subject_from"])
        if "subject_from" in entries
        else None,
        subject_column=text("subject_column"),
        controller=text("controller"),
        jurisdiction=entries["jurisdiction"].country() if "jurisdiction" in entries else None,
        jurisdiction_from=column,
        collected_for=text("collected_for"),
        legal_basis=_basis(entries["legal_basis"]) if "legal_basis" in entries else None,
        source=entries["source"].one_of(SOURCES) if "source" in entries else "unknown",
        representation=cast("Representation | None", representation),
        retention_until=entries["retention_until"].end() if "retention_until" in entries else None,
        subject_key_quality=(
            entries["subject_key_quality"].one_of(KEY_QUALITIES)
            if "subject_key_quality" in entries
            else "none"
        ),
    )


def _manifest(node: Node, jurisdiction: str | None) -> ManifestSpec:
    columns = ("location", "subject", "age", "birth_date", "birth_year")
    entries = node.keys("path", *columns)
    for key in ("path", "location"):
        if key not in entries:
            meaning = "where it is" if key == "path" else "its column of object keys"
            raise node.wrong(f"expected {key!r}, {meaning}")
    named = {key: entries[key].text("a column") for key in columns if key in entries}
    return ManifestSpec(
        path=entries["path"].local_or_url("a file"),
        location=named["location"],
        subject=named.get("subject"),
        age=named.get("age"),
        birth_date=named.get("birth_date"),
        birth_year=named.get("birth_year"),
        jurisdiction=jurisdiction,
    )


def _subject_pattern(node: Node) -> str:
    if not isinstance(node.value, str):
        raise node.expected("a regular expression with a group (?P<subject>…)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # "possible nested set": it may mean something else soon
            pattern = re.compile(node.value)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        # re's own messages quote nothing but the pattern, which the reader wrote
        raise node.wrong(f"not a regular expression ({error})") from None
    if "subject" not in pattern.groupindex:
        raise node.wrong(
            "expected a regular expression with a group (?P<subject>…), got one without"
        )
    return node.value


def _basis(node: Node) -> str | None:
    text = node.text("a legal basis")
    basis = legal_basis(text)
    if basis is None:
        hint = suggestion(text, LEGAL_BASES.values())
        raise node.wrong(
            f"expected one of {choices(LEGAL_BASES)}, statute:<cite>, got {shown(text)}{hint}"
        )
    return None if basis == "none" else basis


def _registries(node: Node) -> tuple[RegistrySpec, ...]:
    return tuple(_registry(name, entry) for name, entry in node.keys(*REGISTRY_COLUMNS).items())


def _registry(name: str, node: Node) -> RegistrySpec:
    if isinstance(node.value, str):
        if _DATABASE.match(node.value.strip()):
            raise node.wrong("a database needs its table: {url: postgresql://…, table: …}")
        return RegistrySpec(name, path=node.local_or_url("a file"))
    entries = node.keys("path", "url", "table", "columns")
    columns: dict[str, str] = {}
    if "columns" in entries:
        required, optional = REGISTRY_COLUMNS[name]
        columns = {
            ours: theirs.text("a column")
            for ours, theirs in entries["columns"].keys(*required, *optional).items()
        }
    if ("path" in entries) == ("url" in entries):
        raise node.wrong("expected either 'path' or 'url'")
    if "path" in entries:
        if "table" in entries:
            raise entries["table"].wrong("goes with 'url'; a file has no tables")
        return RegistrySpec(name, path=entries["path"].local_or_url("a file"), columns=columns)
    # the address may hold a password: it is never quoted
    url = entries["url"].text("a URL postgresql://…")
    if not _DATABASE.match(url):
        raise entries["url"].wrong("expected postgresql://…; give files as 'path'")
    if "table" not in entries:
        raise node.wrong("expected 'table', the table to read")
    return RegistrySpec(name, url=url, table=entries["table"].text("a table"), columns=columns)


# ---------------------------------------------------------------- what came with the data


def lies_in_target(settings: Settings) -> bool:
    """Whether what is scanned brings its own configuration along."""
    if settings.file is None:
        return False
    file = settings.file.resolve()
    return any(
        file.is_relative_to(Path(target).resolve())
        for target in settings.targets
        if not is_url(target)
    )


def refuse_addresses(settings: Settings) -> None:
    """A configuration that nobody named may not say where to connect to: whoever delivered the data
    could make this machine ask its cloud's metadata service, or send signed requests elsewhere.

    Raises ConfigError naming the first address's place, if the file lies in a target.
    """
    if not lies_in_target(settings):
        return
    named = [
        *(
            f"stores.{prefix}"
            for prefix, options in settings.stores.items()
            if options.endpoint_url
        ),
        *(
            f"datasets.{dataset.id}.manifest"
            for dataset in settings.datasets
            if dataset.manifest is not None and is_url(dataset.manifest.path)
        ),
        *(
            f"registries.{registry.name}"
            for registry in settings.registries
            if registry.url is not None or is_url(registry.path or "")
        ),
    ]
    if named:
        raise ConfigError(
            f"{settings.file}: {named[0]}: names an address, and the file lies in what is scanned; "
            "name it with --config if it is yours"
        )


# ---------------------------------------------------------------- flags


def _override(settings: Settings, given: Overrides, cwd: Path) -> Settings:
    use = settings.declared_use
    to = use.to
    if given.to is not None:
        to = country(given.to)
        if to is None:
            raise ConfigError(
                f"--to: expected an ISO 3166 country code such as KR, got {given.to[:80]!r}"
            )
    changes: dict[str, object] = {
        "declared_use": DeclaredUse(
            purpose=use.purpose if given.purpose is None else _flag("--purpose", given.purpose),
            recipient=use.recipient
            if given.recipient is None
            else _flag("--recipient", given.recipient),
            to=to,
        )
    }
    if given.targets:
        changes["targets"] = given.targets
    if given.policies:
        changes["policies"] = tuple(dict.fromkeys(given.policies))
        changes["policy_base"] = cwd
    if given.fail_on is not None:
        fail_on = word(given.fail_on, FAIL_ON)
        if fail_on is None:
            raise ConfigError(
                f"--fail-on: expected one of {choices(FAIL_ON)}, got {given.fail_on[:80]!r}"
            )
        changes["fail_on"] = fail_on
    if given.output_directory is not None:
        changes["output_directory"] = resolve(cwd, str(given.output_directory))
    if given.formats:
        changes["formats"] = given.formats
    for name, low, high in (("child_age", 1, 30), ("jobs", 1, 1024)):
        number = getattr(given, name)
        if number is not None:
            if not low <= number <= high:
                flag = "--" + name.replace("_", "-")
                raise ConfigError(
                    f"{flag}: expected a whole number from {low} to {high}, got {number}"
                )
            changes[name] = number
    if given.sample is not None:
        try:
            changes["sample"] = _share(given.sample.strip())
        except ValueError:
            raise ConfigError(f"--sample: expected {_SHARE}, got {given.sample[:80]!r}") from None
    for name in ("include", "exclude", "face_detector", "faces", "device", *_FLAGS, "resume"):
        value = getattr(given, name)
        if value is not None and value != ():
            changes[name] = value
    if given.no_cache:
        if given.resume:
            raise ConfigError("--resume goes on with what --no-cache forgets; give one of them")
        changes["cache"] = False
    changes["store_flags"] = StoreOptions(
        given.profile, given.endpoint_url, given.region, given.anonymous
    )
    # the names and types above are Settings' own
    return replace(settings, **changes)  # type: ignore[arg-type]


def _flag(name: str, text: str) -> str:
    if not text.strip():
        raise ConfigError(f"{name}: expected text, got nothing")
    return text.strip()


# ---------------------------------------------------------------- consentry init

TEMPLATE = """\
# consentry.yaml: what the data is, and what it may be used for.
# Relative paths start at this file. Every key is optional; a misspelt one is an error.
version: 1

# What `consentry audit` looks at; TARGET arguments on the command line replace this list.
targets:
  - ./data                        # a folder, or s3://bucket/prefix, gs://…, az://…

# How to reach stores, by URL prefix (the longest one wins).
# stores:
#   s3://bucket:
#     profile: audit              # of ~/.aws/config
#     endpoint_url: "http://127.0.0.1:9000"
#     region: ap-northeast-2
#     anonymous: false

# The use that is asked about, where no transfer is on record. Flags: --purpose --recipient --to
declared_use:
  purpose: ai-training
  recipient: acme-vision          # a party_id
  to: KR                          # country, ISO 3166

# What belongs together and under which conditions it was collected. The first dataset whose
# `include` matches wins; what none matches is in the dataset "unassigned".
datasets:
  - id: visitors
    include: ["faces/visitors/**"]          # globs as in .gitignore, relative to the target
    controller: moj                         # a party_id
    jurisdiction: KR                        # of the people in the data
    # jurisdiction_from: nationality        # or a column of the manifest: one country per row
    collected_for: border-control
    # consent, contract, legal_obligation, public_task, vital_interests, legitimate_interests,
    # public_safety, statute:<cite>; left out: none on record
    legal_basis: consent
    source: direct                          # indirect, public_web, cctv, generated, unknown
    representation: source_image            # template, derived_attribute
    retention_until: 2030-12-31             # through that day (UTC)
    subject_key_quality: exact              # hashed; none: the keys are not one per person
    # Who is in a picture: out of its path …
    subject_from: 'faces/visitors/(?P<subject>[0-9a-f]+)_.*'
    # … or a column of the tables themselves …
    # subject_column: person_key
    # … or a manifest: CSV, JSON Lines or Parquet, one row per object. Checked both ways.
    # manifest:
    #   path: manifests/visitors.parquet
    #   location: file_name                 # column: key in the target or by the manifest, or URL
    #   subject: person_key
    #   age: age                            # or birth_date, birth_year; found by name if left out

# Who has agreed to what, and who gets what: CSV, JSON Lines, Parquet, or a PostgreSQL table.
# registries:
#   parties: parties.csv
#   consents: {path: consents.parquet, columns: {subject_key: person_id}}
#   transfers: {url: "postgresql://reader@db.example/privacy", table: public.transfers}
#              # the password belongs in ~/.pgpass or PGPASSWORD
#   evidence: evidence.csv

policies: [baseline]              # packs by name, or folders: ./our-rules; or auto
fail_on: error                    # error, warning or review: what makes the exit code 1
child_age: 14                     # younger people need a guardian's consent
output:
  directory: .consentry
  formats: [table]

# Globs, relative to the target. Excluded objects are listed as excluded, never dropped.
# include: ["**"]
# exclude: ["**/thumbnails/**"]
# limits: {max_recursion: 10, max_pixels: 178956970}
# jobs: 4
# face_detector: centerface
# faces: balanced                   # fast, balanced or thorough
# device: cpu                       # or auto, cuda, directml, coreml, openvino
# follow_symlinks: false
# all_versions: false               # S3: also the versions that are not the current ones
# sample: 1%                        # look at a drawn share only; nothing is compliant then
# require_sandbox: false            # rather not run than look at files outside a sandbox
"""
