"""consentry.yaml: every key, every complaint."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanner.config import TEMPLATE, Overrides, Settings, find_config, load_settings
from scanner.errors import ConfigError
from scanner.model import Limits
from scanner.schemas import CONSENTS, EVIDENCE, PARTIES, TRANSFERS
from scanner.vocabulary import REGISTRY_COLUMNS

DESIGN = """
version: 1
targets: [s3://moj-export/faces/, data, /abs/data]
stores:
  s3://moj-export: {profile: audit, endpoint_url: "http://127.0.0.1:9000", anonymous: false}
  s3://moj-export/faces: {region: ap-northeast-2, anonymous: true}
declared_use: {purpose: ai-training, recipient: acme-vision, to: KR}
datasets:
  - id: foreign-entrants
    include: ["faces/foreign/**"]
    manifest: {path: manifests/foreign.parquet, location: file_name, subject: person_key,
               age: years, birth_date: born, birth_year: born_in}
    subject_from: 'faces/foreign/(?P<subject>[0-9a-f]+)_.*'
    subject_column: person
    controller: moj
    jurisdiction: kr
    jurisdiction_from: nationality
    collected_for: border-control
    legal_basis: consent
    source: direct
    representation: source_image
    retention_until: 2022-12-31
    subject_key_quality: exact
  - id: rest
registries:
  parties: parties.csv
  consents: {path: consents.parquet, columns: {subject_key: person_id}}
  transfers: {url: "postgresql://reader:s3cret@db/privacy", table: public.transfers}
  evidence: s3://bucket/evidence.csv
policies: [baseline, kr-pipa, ./our-rules]
fail_on: warning
output: {directory: out, formats: [table, html]}
child_age: 16
include: ["**"]
exclude: ["**/thumbs/**"]
limits: {max_recursion: 3, max_pixels: 1000}
jobs: 2
face_detector: deepface:yunet
follow_symlinks: true
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Settings]:
    def load(text: str, **flags: object) -> Settings:
        file = tmp_path / "consentry.yaml"
        file.write_text(text, encoding="utf-8")
        return load_settings(file, Overrides(**flags), tmp_path)  # type: ignore[arg-type]

    return load


def test_every_key_of_the_design(load: Callable[..., Settings], tmp_path: Path) -> None:
    found = load(DESIGN)
    assert found.file == tmp_path / "consentry.yaml"
    assert found.targets == ("s3://moj-export/faces/", str(tmp_path / "data"), "/abs/data")
    assert dataclasses.astuple(found.declared_use) == ("ai-training", "acme-vision", "KR")
    first, rest = found.datasets
    assert first.include == ("faces/foreign/**",)
    assert first.manifest is not None
    assert first.manifest.path == str(tmp_path / "manifests" / "foreign.parquet")
    assert (first.manifest.location, first.manifest.subject) == ("file_name", "person_key")
    assert (first.manifest.age, first.manifest.birth_date) == ("years", "born")
    assert (first.manifest.birth_year, first.manifest.jurisdiction) == ("born_in", "nationality")
    assert first.subject_from == "faces/foreign/(?P<subject>[0-9a-f]+)_.*"
    assert (first.subject_column, first.controller) == ("person", "moj")
    assert (first.jurisdiction, first.jurisdiction_from) == ("KR", "nationality")
    assert (first.collected_for, first.legal_basis) == ("border-control", "consent")
    assert (first.source, first.representation) == ("direct", "source_image")
    assert first.retention_until == datetime(2023, 1, 1, tzinfo=UTC)
    assert first.subject_key_quality == "exact"
    assert (rest.id, rest.include, rest.source, rest.subject_key_quality) == (
        "rest",
        ("**",),
        "unknown",
        "none",
    )
    assert rest.legal_basis is None
    parties, consents, transfers, evidence = found.registries
    assert (parties.name, parties.path) == ("parties", str(tmp_path / "parties.csv"))
    assert consents.columns == {"subject_key": "person_id"}
    assert (transfers.path, transfers.table) == (None, "public.transfers")
    assert evidence.path == "s3://bucket/evidence.csv"
    assert found.policies == ("baseline", "kr-pipa", "./our-rules")
    assert found.policy_base == tmp_path
    assert (found.fail_on, found.output_directory) == ("warning", tmp_path / "out")
    assert found.formats == ("table", "html")
    assert (found.child_age, found.jobs, found.follow_symlinks) == (16, 2, True)
    assert (found.include, found.exclude) == (("**",), ("**/thumbs/**",))
    assert found.limits == Limits(max_recursion=3, max_pixels=1000)
    assert found.face_detector == "deepface:yunet"


def test_passwords_are_not_in_what_gets_printed(load: Callable[..., Settings]) -> None:
    assert "s3cret" not in repr(load(DESIGN))


@pytest.mark.parametrize(
    "text",
    [
        'registries: {transfersql://u:hunter2@db/x", table: t}: 1}',
        "registries: {'postgresql://u:hunter2@db/x': t}",
        "fail_on: postgresql://u:hunter2@db/x",
        "registries: {'postgresql/u:hunter2@db/x': t}",
        "stores: {'s3://u:hunter2@b': {colour: red}}",
        "datasets: [{id: a, legal_basis: 's3://u:hunter2@b'}]",
        "datasets: [{id: 's3://u:hunter2@b'}, {id: 's3://u:hunter2@b'}]",
        "{'s3://u:hunter2@b': 1, 's3://u:hunter2@b': 2}",
    ],
)
def test_passwords_are_not_in_messages(load: Callable[..., Settings], text: str) -> None:
    """Also where a quote or a colon is missing, and an address stands in a wrong place."""
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert "hunter2" not in str(caught.value)


def test_defaults_without_a_file(tmp_path: Path) -> None:
    found = load_settings(None, None, tmp_path)
    assert found.policies == ("baseline",)
    assert found.output_directory == tmp_path / ".consentry"
    assert (found.fail_on, found.child_age, found.datasets) == ("error", 14, ())
    assert found.file is None


@pytest.mark.parametrize(
    "text", ["", "# nothing", "version: 1", "version:", "datasets:", "stores:"]
)
def test_an_empty_file_is_the_defaults(load: Callable[..., Settings], text: str) -> None:
    assert load(text).policies == ("baseline",)


def test_policies_picked_from_what_is_on_record(load: Callable[..., Settings]) -> None:
    assert load("policies: auto").policies == ("auto",)
    assert load("policies: [auto, ./ours]").policies == ("auto", "./ours")
    assert load("policies: [baseline]", policies=("auto",)).policies == ("auto",)


def test_the_template_loads_also_with_every_comment_taken_out(
    load: Callable[..., Settings],
) -> None:
    assert load(TEMPLATE).datasets[0].id == "visitors"
    lines = []
    for line in TEMPLATE.splitlines():
        stripped = line.lstrip()
        # "# key: …" or "#   key: …" is an example; "# Words" is prose
        if stripped.startswith("#") and ":" in stripped.split("  #")[0]:
            body = stripped[1:].removeprefix(" ")
            head = body.strip().split(":")[0]
            if (head.replace("_", "").isalpha() and head.islower()) or head.startswith("s3"):
                line = line[: len(line) - len(stripped)] + body
        lines.append(line)
    found = load("\n".join(lines))
    assert found.stores
    assert len(found.registries) == 4
    assert found.datasets[0].manifest is not None
    assert found.datasets[0].jurisdiction_from == "nationality"
    assert found.jobs == 4


# ---------------------------------------------------------------- complaints

WRONG = [
    ("tragets: []", "unknown key 'tragets'; did you mean 'targets'?"),
    ("version: 2", "version: this program reads version 1"),
    ("version: true", "version: this program reads version 1"),
    ("- a", "expected keys and values, got a list"),
    ("just text", "expected keys and values, got text"),
    ("targets: here", "targets: expected a list of folders or URLs, got text"),
    ("targets: [1]", "targets[0]: expected a folder or a URL, got a number"),
    ("policies: baseline", "policies: expected a list of packs, got text"),
    ("policies: []", "policies: expected at least one pack"),
    (
        "fail_on: eror",
        "fail_on: expected one of error, warning, review, got 'eror'; did you mean 'error'?",
    ),
    (
        "stores: {s3://b: {profil: x}}",
        "stores.s3://b: unknown key 'profil'; did you mean 'profile'?",
    ),
    (
        "stores: {s3://b: {anonymous: 1}}",
        "stores.s3://b.anonymous: expected true or false, got a number",
    ),
    ("stores: {s3://b: {endpoint_url: localhost}}", "expected a URL such as http://127.0.0.1:9000"),
    ("stores: [a]", "stores: expected options by URL prefix, got a list"),
    ("declared_use: {purpos: x}", "did you mean 'purpose'?"),
    (
        "declared_use: {recipient: 7}",
        "declared_use.recipient: expected a party id, got a number (put it in quotes)",
    ),
    (
        "declared_use: {to: Atlantis}",
        "declared_use.to: expected an ISO 3166 country code such as KR, got 'Atlantis'",
    ),
    ("datasets: {a: b}", "datasets: expected a list of datasets, got keys and values"),
    ("datasets: [{include: [a]}]", "datasets[0]: expected an id"),
    ("datasets: [null]", "datasets[0]: expected an id"),
    ("datasets: [{id: ''}]", "datasets[0].id: expected an id, got nothing"),
    (
        'datasets: [{id: "a\\nb"}]',
        "datasets[0].id: expected an id, got text with control characters",
    ),
    (
        "datasets: [{id: a, include: 3}]",
        "datasets[0].include: expected a list of globs, got a number",
    ),
    ("datasets: [{id: a, include: []}]", "datasets[0].include: expected at least one glob"),
    ("datasets: [{id: a}, {id: b}, {id: a}]", "datasets: the id 'a' is there twice ([0] and [2])"),
    ("datasets: [{id: unassigned}]", "take another"),
    (
        "datasets: [{id: a, incldue: [b]}]",
        "datasets[0]: unknown key 'incldue'; did you mean 'include'?",
    ),
    (
        "datasets: [{id: a, jurisdiction_from: n}]",
        "datasets[0].jurisdiction_from: names a column of the manifest",
    ),
    ("datasets: [{id: a, jurisdiction: KRX}]", "datasets[0].jurisdiction: expected an ISO 3166"),
    ("datasets: [{id: a, legal_basis: consnt}]", "got 'consnt'; did you mean 'consent'?"),
    ("datasets: [{id: a, legal_basis: 'statute:'}]", "statute:<cite>"),
    ("datasets: [{id: a, source: web}]", "datasets[0].source: expected one of direct, indirect"),
    (
        "datasets: [{id: a, representation: photo}]",
        "expected one of source_image, template, derived_attribute",
    ),
    ("datasets: [{id: a, subject_key_quality: good}]", "expected one of exact, hashed, none"),
    (
        "datasets: [{id: a, subject_from: '('}]",
        "datasets[0].subject_from: not a regular expression",
    ),
    ("datasets: [{id: a, subject_from: '[[a](?P<subject>.)'}]", "not a regular expression"),
    ("datasets: [{id: a, subject_from: '(?P<person>.)'}]", "(?P<subject>…), got one without"),
    ("datasets: [{id: a, subject_from: 3}]", "expected a regular expression"),
    (
        "datasets: [{id: a, retention_until: soon}]",
        "datasets[0].retention_until: expected a date such as 2022-12-31",
    ),
    ("datasets: [{id: a, retention_until: 2022}]", "expected a date such as"),
    ("datasets: [{id: a, retention_until: true}]", "expected a date such as"),
    (
        "datasets: [{id: a, manifest: m.csv}]",
        "datasets[0].manifest: expected keys and values, got text",
    ),
    ("datasets: [{id: a, manifest: {path: m.csv}}]", "datasets[0].manifest: expected 'location'"),
    ("datasets: [{id: a, manifest: {location: f}}]", "datasets[0].manifest: expected 'path'"),
    ("registries: {consent: a.csv}", "unknown key 'consent'; did you mean 'consents'?"),
    (
        "registries: {consents: {columns: {}}}",
        "registries.consents: expected either 'path' or 'url'",
    ),
    (
        "registries: {consents: {path: a, url: b}}",
        "registries.consents: expected either 'path' or 'url'",
    ),
    ("registries: {consents: {path: a, table: t}}", "registries.consents.table: goes with 'url'"),
    (
        "registries: {consents: {url: 'mysql://u:s3cret@h/d', table: t}}",
        "registries.consents.url: expected postgresql://",
    ),
    (
        "registries: {consents: {url: 'postgresql://u:s3cret@h/d'}}",
        "registries.consents: expected 'table'",
    ),
    (
        "registries: {consents: 'postgresql://u:s3cret@h/d'}",
        "registries.consents: a database needs its table",
    ),
    ("registries: {consents: {path: a, columns: {subject: b}}}", "unknown key 'subject'"),
    (
        "registries: {consents: {path: a, columns: {subject_key: 1}}}",
        "expected a column, got a number",
    ),
    ("output: {directory: s3://b/x}", "output.directory: expected a local folder, got a URL"),
    ("output: {formats: html}", "output.formats: expected a list of report formats, got text"),
    ("output: .consentry", "output: expected keys and values, got text"),
    ("child_age: fourteen", "child_age: expected a whole number from 1 to 30, got text"),
    ("child_age: 140", "child_age: expected a whole number from 1 to 30, got 140"),
    ("child_age: 14.5", "child_age: expected a whole number from 1 to 30, got a number"),
    ("jobs: 0", "jobs: expected a whole number from 1 to 1024, got 0"),
    ("jobs: true", "jobs: expected a whole number from 1 to 1024, got true"),
    (
        "limits: {max_recursoin: 1}",
        "limits: unknown key 'max_recursoin'; did you mean 'max_recursion'?",
    ),
    ("limits: {max_recursion: -1}", "limits.max_recursion: expected a whole number"),
    ("follow_symlinks: 'yes'", "follow_symlinks: expected true or false, got text"),
    ("include: '*'", "include: expected a list of globs, got text"),
    ("exclude: [{a: b}]", "exclude[0]: expected text, got keys and values"),
    ("face_detector: 3", "face_detector: expected text, got a number"),
    ("a: b: c", "consentry.yaml:1"),
    ("jobs: 1\njobs: 2", "consentry.yaml:2"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[text[:40] for text, _ in WRONG])
def test_what_is_wrong_is_said_with_its_place(
    load: Callable[..., Settings], text: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert message in str(caught.value)
    assert "consentry.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.sampled_from(["**", "s3://b", "KR", "consent", "a.csv", "baseline"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "version",
                    "targets",
                    "stores",
                    "declared_use",
                    "datasets",
                    "registries",
                    "policies",
                    "fail_on",
                    "output",
                    "limits",
                    "id",
                    "include",
                    "manifest",
                    "path",
                    "location",
                    "consents",
                    "columns",
                    "url",
                    "table",
                    "jurisdiction",
                    "retention_until",
                    "legal_basis",
                    "s3://b",
                    "subject_from",
                    "max_recursion",
                ]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(
    max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    tree=st.dictionaries(
        st.sampled_from(
            [
                "version",
                "targets",
                "stores",
                "declared_use",
                "datasets",
                "registries",
                "policies",
                "fail_on",
                "output",
                "child_age",
                "include",
                "exclude",
                "limits",
                "jobs",
            ]
        ),
        json_like,
        max_size=5,
    )
)
def test_any_tree_is_settings_or_a_config_error(
    load: Callable[..., Settings], tree: object
) -> None:
    try:
        load(yaml.safe_dump(tree, allow_unicode=True))
    except ConfigError as error:
        assert "\n" not in str(error)


# ---------------------------------------------------------------- values with a choice of spellings


@pytest.mark.parametrize(
    ("written", "basis"),
    [
        ("Consent", "consent"),
        ("dpv:ExplicitlyExpressedConsent", "consent"),
        ("eu-gdpr:A9-2-a", "consent"),
        ("legal-obligation", "legal_obligation"),
        ("none", None),
        ("statute:PIPA 15(1)2", "statute:PIPA 15(1)2"),
        ("'Statute:  Immigration  Act 12-2'", "statute:Immigration Act 12-2"),
        ("public_safety", "public_safety"),
    ],
)
def test_legal_bases(load: Callable[..., Settings], written: str, basis: str | None) -> None:
    text = written if written.startswith("'") else f"'{written}'"
    assert load(f"datasets: [{{id: a, legal_basis: {text}}}]").datasets[0].legal_basis == basis


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2022-12-31", datetime(2023, 1, 1, tzinfo=UTC)),
        ("'2022-12-31'", datetime(2023, 1, 1, tzinfo=UTC)),
        ("2022/12/31", datetime(2023, 1, 1, tzinfo=UTC)),
        ("2022-12-31T00:00:00Z", datetime(2022, 12, 31, tzinfo=UTC)),
        ("2022-12-31 09:00:00+09:00", datetime(2022, 12, 31, tzinfo=UTC)),
        ("'2022-12-31T12:00'", datetime(2022, 12, 31, 12, tzinfo=UTC)),
        ("9999-12-31", datetime.max.replace(tzinfo=UTC)),
        ("0001-01-01T00:00:00+09:00", datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_retention(load: Callable[..., Settings], written: str, moment: datetime) -> None:
    assert (
        load(f"datasets: [{{id: a, retention_until: {written}}}]").datasets[0].retention_until
        == moment
    )


def test_norway_is_a_country(load: Callable[..., Settings]) -> None:
    assert load("datasets: [{id: a, jurisdiction: NO}]").datasets[0].jurisdiction == "NO"


def test_the_registry_columns_are_those_of_the_schemas() -> None:
    schemas = {
        "parties": PARTIES,
        "consents": CONSENTS,
        "transfers": TRANSFERS,
        "evidence": EVIDENCE,
    }
    for name, (required, optional) in REGISTRY_COLUMNS.items():
        ours = {
            "subject_digest" if column == "subject_key" else column
            for column in (*required, *optional)
        }
        assert ours == set(schemas[name].names)


# ---------------------------------------------------------------- stores


def test_the_longest_prefix_wins_and_ends_at_a_slash(load: Callable[..., Settings]) -> None:
    found = load(DESIGN)
    assert found.store_spec("s3://moj-export/other").profile == "audit"
    assert found.store_spec("s3://moj-export").endpoint_url == "http://127.0.0.1:9000"
    faces = found.store_spec("s3://moj-export/faces/")
    assert (faces.region, faces.anonymous, faces.profile) == ("ap-northeast-2", True, None)
    assert found.store_spec("s3://moj-export/facesaving").profile == "audit"
    assert found.store_spec("s3://moj-export-2/faces").profile is None
    assert found.store_spec("gs://moj-export").endpoint_url is None


def test_a_spec_carries_links_flags_and_our_own_folders(
    load: Callable[..., Settings], tmp_path: Path
) -> None:
    found = load(DESIGN, profile="mine", anonymous=False)
    spec = found.store_spec("s3://moj-export/faces/", skip=(str(tmp_path / "x"),))
    assert (spec.profile, spec.anonymous, spec.region) == ("mine", False, "ap-northeast-2")
    assert spec.follow_symlinks
    assert spec.skip == tuple(str(tmp_path / name) for name in ("out/runs", "out/state", "x"))


# ---------------------------------------------------------------- precedence


def test_flags_come_before_the_file(load: Callable[..., Settings], tmp_path: Path) -> None:
    found = load(
        DESIGN,
        targets=("d",),
        purpose="research",
        recipient="lab",
        to="jp",
        policies=("./mine",),
        fail_on="review",
        output_directory=Path("o"),
        formats=("json",),
        child_age=13,
        include=("a",),
        exclude=("b",),
        jobs=7,
        face_detector="centerface",
        follow_symlinks=False,
    )
    assert found.targets == ("d",)
    assert dataclasses.astuple(found.declared_use) == ("research", "lab", "JP")
    assert (found.policies, found.policy_base) == (("./mine",), tmp_path)
    assert (found.fail_on, found.output_directory, found.formats) == (
        "review",
        tmp_path / "o",
        ("json",),
    )
    assert (found.child_age, found.jobs, found.follow_symlinks) == (13, 7, False)
    assert (found.include, found.exclude, found.face_detector) == (("a",), ("b",), "centerface")


def test_flags_that_are_not_given_leave_the_file_alone(load: Callable[..., Settings]) -> None:
    assert load(DESIGN) == load(DESIGN, targets=(), policies=(), include=(), exclude=(), formats=())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"to": "Atlantis"}, "--to: expected"),
        ({"fail_on": "never"}, "--fail-on: expected one of"),
        ({"jobs": 0}, "--jobs: expected"),
        ({"child_age": 99}, "--child-age: expected"),
        ({"purpose": " "}, "--purpose: expected text"),
    ],
)
def test_wrong_flags(load: Callable[..., Settings], flags: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load("", **flags)


def test_which_file_is_used(tmp_path: Path) -> None:
    cwd, target, other = tmp_path / "cwd", tmp_path / "target", tmp_path / "other"
    for folder in (cwd, target, other):
        folder.mkdir()
    assert find_config(None, [str(target)], cwd) is None
    (target / "consentry.yaml").write_text("version: 1")
    assert find_config(None, [str(target)], cwd) == target / "consentry.yaml"
    assert find_config(None, ["../target"], cwd) == cwd / "../target/consentry.yaml"
    assert find_config(None, [str(target), str(other)], cwd) is None
    assert find_config(None, ["s3://bucket"], cwd) is None
    assert find_config(None, [], cwd) is None
    (cwd / "consentry.yaml").write_text("version: 1")
    assert find_config(None, [str(target)], cwd) == cwd / "consentry.yaml"
    (other / "mine.yaml").write_text("version: 1")
    assert find_config(Path("../other/mine.yaml"), [str(target)], cwd) == cwd / "../other/mine.yaml"
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        find_config(Path("nowhere.yaml"), [str(target)], cwd)


def test_nothing_is_written_into_a_target(tmp_path: Path) -> None:
    cwd, target = tmp_path / "cwd", tmp_path / "target"
    (target / "sub").mkdir(parents=True)
    cwd.mkdir()
    file = target / "consentry.yaml"
    file.write_text("datasets: [{id: a, manifest: {path: m.csv, location: f}}]")
    given = Overrides(targets=("../target",))
    found = load_settings(file, given, cwd)
    assert found.output_directory == cwd / ".consentry"
    assert found.datasets[0].manifest is not None
    assert found.datasets[0].manifest.path == str(target / "m.csv")
    # a file named by --config may lie in the target, too
    found = load_settings(file, Overrides(targets=("s3://b",)), cwd)
    assert found.output_directory == cwd / ".consentry"
    file.write_text("output: {directory: here}")
    assert load_settings(file, given, cwd).output_directory == target / "here"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_settings(tmp_path / "none.yaml", None, tmp_path)
