"""Tells which records a run has, and in how few kinds of them (profiles) they come.

All records that agree in every column that some rule reads are one *profile*: rules look at
profiles, never at records. Tables made here:

`profile`  the columns of a record that rules may read, `nobody` (the person is not known) and,
           where detections are plain, `each` (records per item), `items` and the texts that
           tell it apart in the file
`person`   the distinct people, by digest (not where the detections are plain)
`record`   one row per item × kind × representation × person: detections collapse to it (several
           faces in one picture are one record; `count` is the largest, certainty the strongest
           seen); `item_no` numbers the items in the order of their locations (not where plain)

Detections are *plain* where every row is a record of its own and rows are in the order of their
locations, as a run writes them that found one thing in each file, and no manifest says more about
them. Nothing need be sorted, collapsed or copied then: the file itself is the table of records, and
the number of a row is the number of its item.
"""

from __future__ import annotations

import duckdb

AGE_NAMES = frozenset({"subject_age", "is_minor"})
MAX_PLAIN_PROFILES = 4_096
PLAIN_TEXTS = ("dataset_id", "kind", "representation", "basis", "certainty", "count")


def wide(names: frozenset[str]) -> tuple[str, ...]:
    """What differs from record to record is part of a profile only if some rule reads it."""
    return (
        *(["confidence"] if "confidence" in names else []),
        *(["age", "birth_date"] if names & AGE_NAMES else []),
        *(["subject_no"] if "subject_key" in names else []),
    )


def build(con: duckdb.DuckDBPyConnection, names: frozenset[str]) -> bool:
    """Create the tables above; `names` are the columns that any condition reads.

    Needs `detection`, `declared_dataset` and the tables of the manifests. Returns whether the
    detections are plain.
    """
    con.execute("""
        CREATE TEMP TABLE own_manifest AS
        SELECT DISTINCT dataset_id, manifest FROM arrow_manifest_rows""")
    (manifests,) = con.execute("SELECT count(*) FROM own_manifest").fetchone() or (0,)
    if not manifests and not {"confidence", "subject_no"} & set(wide(names)) and _plain(con):
        return True
    _collapse(con, bool(manifests))
    columns = ["dataset_no", "kind", "representation", "basis", "is_certain", "in_manifest"]
    columns += ["jurisdiction", *wide(names)]
    con.execute(f"""
        CREATE TEMP TABLE profile AS
        SELECT row_number() OVER () AS profile_no, * FROM (
            SELECT DISTINCT {", ".join(columns)}, subject_no IS NULL AS nobody FROM record)""")
    return False


def _plain(con: duckdb.DuckDBPyConnection) -> bool:
    """Make the profiles of plain detections, if they are that."""
    # one pass without memory: each location after the one before. The first has none before it.
    (disorder,) = con.execute("""
        SELECT count(*) FILTER (NOT coalesce(before < location, false)) FROM (
            SELECT location, lag(location) OVER () AS before FROM detection)""").fetchone() or (2,)
    if disorder > 1:
        return False
    con.execute(f"""
        CREATE TEMP TABLE plain_kind AS
        SELECT {", ".join(PLAIN_TEXTS)}, subject_digest IS NULL AS nobody, count(*) AS items
        FROM detection GROUP BY ALL LIMIT {MAX_PLAIN_PROFILES + 1}""")
    found, keyed = con.execute(
        "SELECT count(*), count(*) FILTER (NOT nobody) FROM plain_kind"
    ).fetchone() or (0, 0)
    if found > MAX_PLAIN_PROFILES or keyed > 63:
        con.execute("DROP TABLE plain_kind")
        return False
    texts = ", ".join(f"r.{name} AS plain_{name}" for name in PLAIN_TEXTS)
    con.execute(f"""
        CREATE TEMP TABLE profile AS
        SELECT row_number() OVER (ORDER BY nobody, dataset_no, r.kind, r.representation, r.basis,
                                  r.certainty, r.count) AS profile_no,
               d.dataset_no, r.kind,
               coalesce(r.representation, d.declared_representation) AS representation, r.basis,
               coalesce(r.certainty = 'certain', false) AS is_certain,
               CASE WHEN d.has_manifest THEN false END AS in_manifest,
               d.declared_jurisdiction AS jurisdiction, NULL::DOUBLE AS age,
               NULL::DATE AS birth_date, r.nobody, coalesce(r.count, 1) AS each, r.items, {texts}
        FROM plain_kind r JOIN declared_dataset d ON d.dataset_id = r.dataset_id""")
    con.execute("DROP TABLE plain_kind")
    return True


def plain_rows(con: duckdb.DuckDBPyConnection, *, keyed: bool) -> str:
    """SQL for plain detections (alias f) joined with their profiles (alias p).

    Joins on those texts only in which the profiles differ. `keyed`: only records of known people.
    """
    among = "(SELECT * FROM profile WHERE NOT nobody)" if keyed else "profile"
    differ = con.execute(
        "SELECT "
        + ", ".join(
            f"count(DISTINCT plain_{name}) + count(DISTINCT plain_{name} IS NULL) > 2"
            if name != "count"
            else f"count(DISTINCT coalesce(plain_{name}, -1)) > 1"
            for name in PLAIN_TEXTS
        )
        + f" FROM {among}"
    ).fetchall()[0]
    on = [
        f"f.{name} IS NOT DISTINCT FROM p.plain_{name}"
        for name, differs in zip(PLAIN_TEXTS, differ, strict=True)
        if differs
    ]
    if not keyed:
        on.append("p.nobody = (f.subject_digest IS NULL)")
    where = " WHERE f.subject_digest IS NOT NULL" if keyed else ""
    return f"detection f JOIN {among} p ON {' AND '.join(on) or 'TRUE'}{where}"


def _collapse(con: duckdb.DuckDBPyConnection, manifests: bool) -> None:
    con.execute("""
        CREATE TEMP TABLE person AS
        SELECT row_number() OVER (ORDER BY digest) AS subject_no, digest FROM (
            SELECT DISTINCT subject_digest AS digest FROM detection WHERE subject_digest IS NOT NULL
            UNION SELECT subject FROM listed WHERE subject IS NOT NULL)""")
    if manifests:
        facts = """coalesce(f.subject_digest, l.subject) AS digest,
            coalesce(l.jurisdiction, d.declared_jurisdiction) AS jurisdiction, l.age, l.birth_date,
            CASE WHEN d.has_manifest THEN li.key IS NOT NULL OR om.manifest IS NOT NULL END
                AS in_manifest"""
        joins = """
            LEFT JOIN listed_item li ON li.dataset_id = f.dataset_id AND li.item_key = f.item_key
            LEFT JOIN listed l ON l.dataset_id = li.dataset_id AND l.key = li.key
                AND (f.subject_digest IS NULL OR l.subject IS NULL
                     OR l.subject = f.subject_digest)
            LEFT JOIN own_manifest om ON om.dataset_id = f.dataset_id
                AND (om.manifest = split_part(f.location, '!/', 1)
                     OR om.manifest = f.object_key)"""
    else:  # the joins would cost half of the time for nothing
        facts = """f.subject_digest AS digest, d.declared_jurisdiction AS jurisdiction,
            NULL::DOUBLE AS age, NULL::DATE AS birth_date,
            CASE WHEN d.has_manifest THEN false END AS in_manifest"""
        joins = ""
    con.execute(f"""
        CREATE TEMP TABLE joined AS
        SELECT d.dataset_no, f.location, f.item_id, f.kind,
               coalesce(f.representation, d.declared_representation) AS representation,
               coalesce(f.count, 1) AS count, f.confidence, f.basis,
               coalesce(f.certainty = 'certain', false) AS is_certain, {facts}
        FROM detection f JOIN declared_dataset d ON d.dataset_id = f.dataset_id {joins}""")
    rows, different = con.execute(
        "SELECT count(*), count(DISTINCT hash(location, item_id, dataset_no)) FROM joined"
    ).fetchone() or (0, 0)
    if (
        rows == different
    ):  # one detection in every item: nothing collapses, and sorting numbers them
        con.execute("""
            CREATE TEMP TABLE sorted_record AS
            SELECT j.* EXCLUDE (digest), s.subject_no
            FROM joined j LEFT JOIN person s ON s.digest = j.digest
            ORDER BY j.location, j.item_id, j.dataset_no""")
        con.execute("CREATE TEMP VIEW record AS SELECT rowid + 1 AS item_no, * FROM sorted_record")
    else:
        con.execute("""
            CREATE TEMP TABLE sorted_record AS
            WITH collapsed AS (
                SELECT dataset_no, location, item_id, digest, kind, representation, jurisdiction,
                       max(count) AS count, bool_or(is_certain) AS is_certain,
                       max(confidence) AS confidence,
                       arg_max(basis, confidence * 1000 + CASE WHEN is_certain THEN 1e6 ELSE 0 END)
                           AS basis,
                       min(age) AS age, max(birth_date) AS birth_date,
                       bool_or(in_manifest) AS in_manifest
                FROM joined GROUP BY ALL)
            SELECT dense_rank() OVER (ORDER BY location, item_id, dataset_no) AS item_no,
                   s.subject_no, c.* EXCLUDE (digest)
            FROM collapsed c LEFT JOIN person s ON s.digest = c.digest""")
        con.execute("CREATE TEMP VIEW record AS SELECT * FROM sorted_record")
    con.execute("DROP TABLE joined")
