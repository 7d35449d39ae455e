"""Builds the tables that rules are judged over, set-based, in one DuckDB database.

Tables made here (names are this package's own):

`dataset`   one row per dataset: its context, evidence, what it holds as a whole
`use`       one row per dataset × (transfer | declared use | nothing known), with the parties' facts
`profile`   the kinds of records that there are, and the records themselves: see `records`
`dangling`  manifest rows none of whose candidates is an object or item

An *exposure* is a `record` × a `use` of its dataset; it is never stored. `view` shows the kinds of
exposure that there are (the cells of `tallies`) to the rules.

The manifest is joined on the best candidate that is there; an item inside a listed container (a
frame of a listed video, a member of a listed archive) counts as listed. The manifest's own file
counts as listed too. A detection that names its person keeps that person; otherwise the manifest's
people are taken, one record each. Values outside a closed vocabulary are unknown (null), so they
can never be compliant.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from scanner import chains
from scanner.model import Context
from scanner.policy import columns, records
from scanner.policy.expressions import quoted
from scanner.purposes import Purposes

CONSENT_NAMES = frozenset({"consent_status", "separate_consent", "guardian_verified"})
_PERSONAL = "regexp_matches(kind, '^(biometric|identifier|attribute|document)\\.')"


def build(
    con: duckdb.DuckDBPyConnection,
    *,
    detections: Path,
    items: Path | None,
    coverage: Path,
    context: Context,
    as_of: datetime,
    names: frozenset[str],
) -> bool:
    """Create every table above in `con` from the inputs of `judge`.

    `names`: the columns that any condition reads. Returns whether the detections are plain (see
    `records`).
    """
    for name in ("datasets", "manifest_rows", "transfers", "parties", "evidence"):
        con.register(f"arrow_{name}", getattr(context, name))
    con.execute("CREATE TEMP TABLE setting AS SELECT ?::TIMESTAMPTZ AS as_of", [as_of])
    con.execute(
        "CREATE TEMP VIEW detection AS SELECT * REPLACE (coalesce(dataset_id, 'unassigned') AS "
        f"dataset_id) FROM read_parquet({quoted(str(detections))}, file_row_number = true)"
    )
    con.execute(f"CREATE TEMP VIEW coverage AS SELECT * FROM read_parquet({quoted(str(coverage))})")
    _parties(con)
    _evidence(con)
    _datasets(con)
    _manifest(con, items)
    plain = records.build(con, names)
    _dataset_facts(con)
    _uses(con, context)
    return plain


def _one_of(column: str, values: Iterable[str]) -> str:
    listed = ", ".join(quoted(value) for value in sorted(values))
    cleaned = f"lower(trim({column}))"
    return f"CASE WHEN {cleaned} IN ({listed}) THEN {cleaned} END"


def _given(column: str) -> str:
    """Empty text says nothing."""
    return f"nullif(trim({column}), '')"


def _basis(column: str) -> str:
    """`none`, and a statute without its citation, are no basis on record."""
    return (
        f"CASE WHEN NOT regexp_full_match(lower(trim({column})), '(none|statute:?\\s*)?') "
        f"THEN trim({column}) END"
    )


def _country(column: str) -> str:
    """A region (KR-11) lies in its country; a jurisdiction keeps it: some laws are regions'."""
    return f"upper(split_part({_given(column)}, '-', 1))"


def _statutory(column: str) -> str:
    return f"coalesce(starts_with(lower({column}), 'statute:'), false)"


def _parties(con: duckdb.DuckDBPyConnection) -> None:
    # a party listed twice with two different answers has no known answer
    con.execute(f"""
        CREATE TEMP TABLE party AS
        SELECT party_id,
               CASE WHEN count(DISTINCT type) = 1 AND count(type) = count(*)
                    THEN min(type) END AS type,
               CASE WHEN count(DISTINCT country) = 1 AND count(country) = count(*)
                    THEN min(country) END AS country
        FROM (SELECT party_id, {_one_of("type", columns.PARTY_TYPES)} AS type,
                     {_country("country")} AS country FROM arrow_parties)
        GROUP BY party_id""")


def _evidence(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("""
        CREATE TEMP TABLE proof AS
        SELECT about, list(DISTINCT upper(trim(kind))) AS kinds
        FROM arrow_evidence, setting
        WHERE (valid_until IS NULL OR valid_until > as_of)
          AND (attested_at IS NULL OR attested_at <= as_of)
        GROUP BY about""")


def _datasets(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(f"""
        CREATE TEMP TABLE declared_dataset AS
        WITH seen AS (
            SELECT DISTINCT dataset_id FROM detection
            UNION SELECT dataset_id FROM arrow_datasets
            UNION SELECT DISTINCT dataset_id FROM arrow_manifest_rows)
        SELECT row_number() OVER (ORDER BY seen.dataset_id) AS dataset_no,
               seen.dataset_id,
               {_given("d.controller")} AS controller,
               upper({_given("d.jurisdiction")}) AS declared_jurisdiction,
               {_given("d.collected_for")} AS collected_for,
               {_basis("d.legal_basis")} AS dataset_basis,
               coalesce({_one_of("d.source", columns.SOURCES)}, 'unknown') AS source,
               d.representation AS declared_representation,
               d.retention_until,
               coalesce({_one_of("d.subject_key_quality", columns.QUALITIES)}, 'none')
                   AS subject_key_quality,
               coalesce(d.has_manifest, false)
                   OR seen.dataset_id IN (SELECT dataset_id FROM arrow_manifest_rows)
                   AS has_manifest
        FROM seen LEFT JOIN (
            SELECT * FROM arrow_datasets
            QUALIFY row_number() OVER (PARTITION BY dataset_id ORDER BY controller, legal_basis) = 1
        ) d ON d.dataset_id = seen.dataset_id""")


# ---------------------------------------------------------------- manifests


def _manifest(con: duckdb.DuckDBPyConnection, items: Path | None) -> None:
    """`listed_item` (item → its manifest rows' facts) and `dangling`."""
    con.execute("""
        CREATE TEMP MACRO containers(key) AS
            list_transform(range(1, len(string_split(key, '!/'))),
                           lambda n: array_to_string(string_split(key, '!/')[1:n], '!/'))""")
    con.execute("""
        CREATE TEMP TABLE detected_key AS
        SELECT DISTINCT dataset_id, item_key, object_key FROM detection
        WHERE dataset_id IN (SELECT dataset_id FROM declared_dataset WHERE has_manifest)""")
    looked_at = (
        ""
        if items is None
        else f"UNION SELECT dataset_id, item_key FROM read_parquet("
        f"{quoted(str(items))}) WHERE dataset_id IS NOT NULL"
    )
    con.execute(f"""
        CREATE TEMP TABLE there AS
        WITH keys AS (
            SELECT dataset_id, item_key AS key FROM detected_key
            UNION SELECT dataset_id, object_key FROM detected_key {looked_at})
        SELECT dataset_id, key FROM keys
        UNION SELECT dataset_id, unnest(containers(key)) FROM keys WHERE contains(key, '!/')""")
    con.execute("""
        CREATE TEMP TABLE row_key AS
        WITH candidate AS (
            SELECT dataset_id, manifest, row, unnest(candidates) AS key,
                   generate_subscripts(candidates, 1) AS rank
            FROM arrow_manifest_rows)
        SELECT dataset_id, manifest, row, arg_min(key, rank) AS key
        FROM candidate SEMI JOIN there USING (dataset_id, key)
        GROUP BY dataset_id, manifest, row""")
    _dangling(con)
    con.execute("""
        CREATE TEMP TABLE listed AS
        SELECT k.dataset_id, k.key, m.subject_digest AS subject,
               upper(nullif(trim(m.jurisdiction), '')) AS jurisdiction,
               min(m.age) AS age, max(m.birth_date) AS birth_date  -- of two claims, the younger
        FROM row_key k JOIN arrow_manifest_rows m USING (dataset_id, manifest, row)
        GROUP BY ALL""")
    con.execute("""
        CREATE TEMP TABLE listed_item AS
        WITH reach AS (
            SELECT dataset_id, item_key, item_key AS key FROM detected_key
            UNION ALL
            SELECT dataset_id, item_key, unnest(containers(item_key)) FROM detected_key
            WHERE contains(item_key, '!/')
            UNION ALL
            SELECT dataset_id, item_key, object_key FROM detected_key)
        SELECT dataset_id, item_key, arg_max(key, length(key)) AS key
        FROM reach SEMI JOIN listed USING (dataset_id, key)
        GROUP BY dataset_id, item_key""")


def _dangling(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("""
        CREATE TEMP TABLE unmatched AS
        SELECT dataset_id, manifest, row, candidates, subject_digest
        FROM arrow_manifest_rows ANTI JOIN row_key USING (dataset_id, manifest, row)""")
    (left,) = con.execute("SELECT count(*) FROM unmatched").fetchone() or (0,)
    if left:
        # objects that could not be read, were excluded, or belong to another dataset are there all
        # the same. Coverage has whole locations: take the target's part off, learnt from the
        # detections; where no detection tells it, compare every tail of the location.
        con.execute("""
            CREATE TEMP TABLE target AS
            SELECT DISTINCT left(location, length(location) - length(item_key)) AS prefix
            FROM detection WHERE ends_with(location, item_key) AND location <> item_key""")
        con.execute("""
            CREATE TEMP TABLE wanted AS
            WITH named AS (
                SELECT dataset_id, manifest, row, unnest(candidates) AS key FROM unmatched)
            SELECT *, false AS around FROM named
            UNION ALL
            SELECT dataset_id, manifest, row, unnest(containers(key)), true FROM named""")
        # what lies in a container of which not all was looked at may be there
        con.execute("""
            CREATE TEMP TABLE covered AS
            WITH place AS (
                SELECT c.location, max(t.prefix) AS prefix,
                       bool_and(c.state IN ('scanned', 'unchanged')) AS whole
                FROM coverage c LEFT JOIN target t ON starts_with(c.location, t.prefix)
                GROUP BY c.location),
            tail AS (
                SELECT substr(location, length(prefix) + 1) AS key, whole FROM place
                WHERE prefix IS NOT NULL
                UNION ALL
                SELECT unnest(list_transform(range(1, len(string_split(location, '/')) + 1),
                    lambda n: array_to_string(string_split(location, '/')[n:], '/'))), whole
                FROM place WHERE prefix IS NULL
                UNION ALL SELECT location, whole FROM place)
            SELECT key, bool_and(whole) AS whole FROM tail
            SEMI JOIN (SELECT key FROM wanted) USING (key) GROUP BY key""")
        con.execute("""
            CREATE TEMP TABLE elsewhere AS
            SELECT DISTINCT w.dataset_id, w.manifest, w.row
            FROM wanted w JOIN covered c ON c.key = w.key AND NOT (w.around AND c.whole)""")
    else:
        con.execute(
            "CREATE TEMP TABLE elsewhere AS SELECT dataset_id, manifest, row FROM unmatched"
        )
    con.execute("""
        CREATE TEMP TABLE dangling AS
        SELECT d.dataset_no, u.manifest || '!/row=' || u.row AS location, u.subject_digest
        FROM unmatched u ANTI JOIN elsewhere e USING (dataset_id, manifest, row)
        JOIN declared_dataset d USING (dataset_id)""")


# ---------------------------------------------------------------- datasets and their uses


def _dataset_facts(con: duckdb.DuckDBPyConnection) -> None:
    # what only a `possible` detection says about a dataset is unknown, not true
    con.execute(f"""
        CREATE TEMP TABLE dataset AS
        WITH held AS (
            SELECT dataset_no,
                   bool_or(kind = 'biometric.face' AND is_certain) AS face,
                   bool_or(kind = 'biometric.face') AS face_possible,
                   bool_or(kind LIKE 'attribute.%' AND is_certain) AS attribute,
                   bool_or(kind LIKE 'attribute.%') AS attribute_possible,
                   bool_or(kind IN ('identifier.passport', 'identifier.national_id')
                           AND is_certain) AS unique_id,
                   bool_or(kind IN ('identifier.passport', 'identifier.national_id'))
                       AS unique_id_possible,
                   bool_or({_PERSONAL}) AS personal,
                   CASE WHEN count(DISTINCT jurisdiction) = 1
                             AND count(jurisdiction) = count(*) THEN min(jurisdiction) END
                       AS jurisdiction,
                   CASE WHEN count(DISTINCT {_country("jurisdiction")}) = 1
                             AND count(jurisdiction) = count(*)
                        THEN min({_country("jurisdiction")}) END AS jurisdiction_country
            FROM profile GROUP BY dataset_no)
        SELECT d.* EXCLUDE (declared_representation), d.dataset_basis AS legal_basis,
               {_statutory("d.dataset_basis")} AS statutory_basis,
               (SELECT as_of FROM setting) AS event_time,
               CASE WHEN h.dataset_no IS NULL THEN d.declared_jurisdiction
                    ELSE h.jurisdiction END AS jurisdiction,
               CASE WHEN h.dataset_no IS NULL THEN {_country("d.declared_jurisdiction")}
                    ELSE h.jurisdiction_country END AS jurisdiction_country,
               CASE WHEN face AND attribute THEN true
                    WHEN face_possible AND attribute_possible THEN NULL ELSE false END AS linked,
               CASE WHEN unique_id THEN true
                    WHEN unique_id_possible THEN NULL ELSE false END AS has_unique_identifier,
               coalesce(personal, false) AS has_detections,
               p.type AS controller_type, p.country AS controller_country,
               (SELECT as_of FROM setting) AS as_of,
               []::VARCHAR[] AS no_evidence, []::VARCHAR[] AS party_no_evidence,
               coalesce(about_it.kinds, []) AS evidence,
               coalesce(about_them.kinds, []) AS party_evidence
        FROM declared_dataset d
        LEFT JOIN held h USING (dataset_no)
        LEFT JOIN party p ON p.party_id = d.controller
        LEFT JOIN proof about_it ON about_it.about = d.dataset_id
        LEFT JOIN proof about_them ON about_them.about = d.controller""")


def _uses(con: duckdb.DuckDBPyConnection, context: Context) -> None:
    declared = context.declared_use
    con.execute(
        "CREATE TEMP TABLE declared_use AS SELECT nullif(trim(?::VARCHAR), '') AS purpose, "
        "nullif(trim(?::VARCHAR), '') AS recipient, "
        "upper(split_part(nullif(trim(?::VARCHAR), ''), '-', 1)) AS to_country",
        [declared.purpose, declared.recipient, declared.to],
    )
    _chains(con, context)
    con.execute(f"""
        CREATE TEMP TABLE use AS
        WITH way AS (
            SELECT DISTINCT dataset_id, {_given("transfer_id")} AS transfer_id,
                   {_one_of("role_of_recipient", columns.ROLES)} AS transfer_role,
                   {_one_of("mode", columns.MODES)} AS transfer_mode,
                   {_given("purpose")} AS purpose, {_given("importer_id")} AS recipient,
                   {_country("from_country")} AS from_country,
                   {_country("to_country")} AS to_country,
                   {_basis("legal_basis")} AS own_basis,
                   coalesce({_one_of("within_original_purpose", columns.WITHIN)}, 'unattested')
                       AS within_original_purpose,
                   {_given("agreement_ref")} AS agreement_ref,
                   {_given("published_ref")} AS published_ref, published_from,
                   {_given("transfer_tool")} AS transfer_tool, started_at, ended_at
            FROM arrow_transfers
            UNION ALL
            SELECT d.dataset_id, NULL, NULL, NULL, u.purpose, u.recipient, NULL, u.to_country,
                   NULL, 'unattested', NULL, NULL, NULL, NULL, NULL, NULL
            FROM dataset d, declared_use u
            WHERE d.dataset_id NOT IN (SELECT dataset_id FROM arrow_transfers
                                       WHERE dataset_id IS NOT NULL)),
        numbered AS (
            SELECT w.*, d.* EXCLUDE (dataset_id, legal_basis, statutory_basis, event_time),
                   coalesce(w.own_basis, d.dataset_basis) AS legal_basis, p.type AS recipient_type,
                   p.country AS recipient_country,
                   coalesce(w.started_at, d.as_of) AS event_time,
                   coalesce(i.upstream, 'origin') AS upstream, i.upstream_why,
                   list_concat(d.evidence, coalesce(about_way.kinds, [])) AS use_evidence,
                   list_concat(d.party_evidence, coalesce(about_them.kinds, []))
                       AS use_party_evidence
            FROM way w
            JOIN dataset d ON d.dataset_id = w.dataset_id
            LEFT JOIN party p ON p.party_id = w.recipient
            LEFT JOIN inherited i ON i.dataset_id = w.dataset_id AND i.transfer_id = w.transfer_id
            LEFT JOIN proof about_way ON about_way.about = w.transfer_id
            LEFT JOIN proof about_them ON about_them.about = w.recipient)
        SELECT row_number() OVER (ORDER BY dataset_id, transfer_id, purpose, recipient, event_time)
                   AS use_no,
               dense_rank() OVER (ORDER BY dataset_id, transfer_id, purpose, recipient) AS key_no,
               dense_rank() OVER (ORDER BY lower(purpose), recipient, controller, event_time)
                   AS ask_no,
               * EXCLUDE (own_basis, dataset_basis, declared_jurisdiction, evidence,
                          party_evidence, use_evidence, use_party_evidence),
               use_evidence AS evidence, use_party_evidence AS party_evidence,
               {_statutory("legal_basis")} AS statutory_basis
        FROM numbered""")
    _new_purposes(con, context.purposes)


def _new_purposes(con: duckdb.DuckDBPyConnection, purposes: Purposes) -> None:
    """Adds to `use` whether its purpose is another than that of collection, and no narrower one."""
    pairs = con.execute(
        "SELECT DISTINCT collected_for, purpose FROM use "
        "WHERE collected_for IS NOT NULL AND purpose IS NOT NULL"
    ).fetchall()
    con.execute("ALTER TABLE use ADD COLUMN new_purpose BOOLEAN")
    con.register(
        "arrow_pairs",
        pa.table(
            {
                "collected_for": pa.array([collected for collected, _ in pairs], pa.string()),
                "purpose": pa.array([purpose for _, purpose in pairs], pa.string()),
                "is_new": pa.array([not purposes.covers(*pair) for pair in pairs], pa.bool_()),
            }
        ),
    )
    con.execute(
        "UPDATE use SET new_purpose = p.is_new FROM arrow_pairs p "
        "WHERE use.collected_for = p.collected_for AND use.purpose = p.purpose"
    )
    con.unregister("arrow_pairs")


def _chains(con: duckdb.DuckDBPyConnection, context: Context) -> None:
    """`inherited`: what each transfer's upstream permits of it."""
    controllers = dict(
        zip(*(context.datasets.column(n).to_pylist() for n in ("dataset_id", "controller")),
            strict=True)
    )  # fmt: skip
    found = chains.inherited(chains.hops(context.transfers), controllers, context.purposes)
    con.register(
        "arrow_inherited",
        pa.table(
            {
                "dataset_id": pa.array([dataset for dataset, _ in found], pa.string()),
                "transfer_id": pa.array([transfer for _, transfer in found], pa.string()),
                "upstream": pa.array([way.state for way in found.values()], pa.string()),
                "upstream_why": pa.array([way.why for way in found.values()], pa.string()),
            }
        ),
    )
    con.execute("CREATE TEMP TABLE inherited AS SELECT * FROM arrow_inherited")
    con.unregister("arrow_inherited")


# ---------------------------------------------------------------- what rules look at


def view(wide: frozenset[str], child_age: int) -> str:
    """The cells (see `tallies`) in every use, with all columns of an exposure, as a SQL query.

    `wide`: the columns that profiles hold beside those that they always do.
    """
    age = "NULL::BIGINT"
    if "age" in wide:
        age = """CASE WHEN p.birth_date <= u.event_time::DATE
                      THEN date_sub('year', p.birth_date, u.event_time::DATE)
                      WHEN p.birth_date IS NULL AND p.age >= 0 THEN floor(p.age) END"""
    key = "k.digest" if "subject_no" in wide else "NULL::VARCHAR"
    join = "LEFT JOIN person k ON k.subject_no = p.subject_no" if "subject_no" in wide else ""
    return f"""
        SELECT *, subject_age < {int(child_age)} AS is_minor FROM (
            SELECT x.profile_no, x.state_no, p.nobody, p.is_certain, {_of_profile(wide)},
                   {key} AS subject_key, p.jurisdiction,
                   {_country("p.jurisdiction")} AS jurisdiction_country, {age} AS subject_age,
                   u.* EXCLUDE (jurisdiction, jurisdiction_country),
                   CASE WHEN p.nobody THEN 'subject_unknown' ELSE s.status END AS consent_status,
                   CASE WHEN NOT p.nobody THEN s.separate_consent END AS separate_consent,
                   CASE WHEN NOT p.nobody THEN s.guardian_verified END AS guardian_verified
            FROM cell x
            JOIN profile p ON p.profile_no = x.profile_no
            JOIN use u ON u.ask_no = x.ask_no AND u.dataset_no = p.dataset_no
            LEFT JOIN consent_state s ON s.state_no = x.state_no
            {join})"""


def profile_view(wide: frozenset[str]) -> str:
    """The profiles with the columns of their dataset, as a SQL query."""
    key = "k.digest" if "subject_no" in wide else "NULL::VARCHAR"
    join = "LEFT JOIN person k ON k.subject_no = p.subject_no" if "subject_no" in wide else ""
    return f"""
        SELECT p.profile_no, p.is_certain, {_of_profile(wide)}, {key} AS subject_key, d.*
        FROM profile p JOIN dataset d ON d.dataset_no = p.dataset_no {join}"""


def _of_profile(wide: frozenset[str]) -> str:
    confidence = "p.confidence" if "confidence" in wide else "NULL::FLOAT"
    return (
        f"p.kind, p.representation, p.basis, p.in_manifest, {confidence} AS confidence, "
        "CASE WHEN p.is_certain THEN 'certain' ELSE 'possible' END AS certainty"
    )
