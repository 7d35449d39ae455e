"""Computes the consent status of every person × use × kind, as of the moment of the use.

A record matches a use if its purpose covers that of the use (equal or broader; `scanner.purposes`),
its recipient is equal or `*` (none = the controller itself), and its data category is `*`, none,
equal to the kind or a dotted prefix of it. Purpose `*` matches for withdrawals and refusals only:
nobody consents to everything.

A record is not known before `recorded_at` (none: its `valid_from`), and a consent counts only once
it has begun (`valid_from`): one that was signed in advance does not hide the one that runs until
then. Of the known matching records the newest wins, by `recorded_at`, then `valid_from`; at the
same instant the stricter one does (withdrawn, refused, given; of two given ones the one that ends
first, then the one that is not separate). A withdrawal without any date counts as the newest, a
consent without any date as the oldest.

`given` (or `renewed`) holds from `valid_from` until before `valid_until`; then it is `expired`.
Where only consents match that begin later or were recorded later, `not_yet_valid`. Where none
matches, a consent that holds at that moment and was not taken back explains best:
`category_mismatch`, `recipient_mismatch`, `purpose_mismatch`, in this order; else `none`. A person
who is not known is `subject_unknown`.

Of a use whose purpose, recipient or controller is not on record, only what covers every possible
one is certain (recipient `*`; a withdrawal for every purpose). Where a consent holds that would
cover it, if the purpose, the recipient or the controller were the right one, the status is unknown
(null), and so is whether it is separate or by a guardian: neither a pass nor a violation; it is
`given` only where whichever record decides is a consent that runs. The status is unknown, too,
where a part of the use's purpose was refused or taken back after the consent to the whole: whether
the use includes that part is not on record. A consent of which nobody recorded whether it was
separate is neither, too.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from scanner.purposes import EVERY, Purposes, folded

# What one consent record says of one use of one kind of data.
_FACTS = """
    SELECT q.subject_no, q.kind, q.ask_no, c.consent_no, c.is_given, a.event_time,
           c.separate, c.guardian,
           coalesce(v.covers, false) OR (c.any_purpose AND NOT c.is_given) AS p,
           coalesce(c.recipient = '*' OR c.recipient = a.recipient, false)
               OR (a.recipient = a.controller AND c.recipient IS NULL) IS TRUE AS r,
           a.purpose_no IS NULL OR p AS p_maybe,
           a.recipient IS NULL OR r OR (c.recipient IS NULL AND a.controller IS NULL) AS r_maybe,
           NOT c.is_given AND coalesce(v.is_part, false) AS part,
           c.category IS NULL OR c.category = '*' OR c.category = q.kind
               OR starts_with(q.kind, c.category || '.') AS k,
           (c.known_from IS NULL OR c.known_from <= a.event_time)
               AND (NOT c.is_given OR c.valid_from IS NULL OR c.valid_from <= a.event_time)
               AS known,
           c.is_given AND (c.valid_until IS NULL OR a.event_time < c.valid_until) AS lasts,
           lasts AND known AND (t.back_from IS NULL OR t.back_from > a.event_time) AS holds
    FROM asked q
    JOIN consent c ON c.subject_no = q.subject_no
    JOIN ask a ON a.ask_no = q.ask_no
    LEFT JOIN covering v ON v.asked_no = a.purpose_no AND v.purpose_no = c.purpose_no
    LEFT JOIN taken_back t ON t.consent_no = c.consent_no"""

# Which records decide about one use of one kind of data.
_BEST = f"""
    WITH facts AS ({_FACTS})
    SELECT subject_no, kind, ask_no, any_value(event_time) AS event_time,
           max(consent_no) FILTER (p AND r AND k AND known) AS sure_winner,
           max(consent_no) FILTER (p_maybe AND r_maybe AND k AND known) AS winner,
           max(consent_no) FILTER (part AND r_maybe AND k AND known) AS part,
           max(consent_no) FILTER (p_maybe AND r_maybe AND k AND known AND NOT lasts) AS against,
           bool_or(holds AND p_maybe AND r_maybe AND k) AS maybe,
           bool_or(holds AND p_maybe AND r_maybe AND k AND separate IS NOT FALSE)
               AS maybe_separate,
           bool_or(holds AND p_maybe AND r_maybe AND k AND guardian) AS maybe_guardian,
           bool_or(p_maybe AND r_maybe AND k AND NOT known AND is_given) AS later,
           max(CASE WHEN NOT p_maybe THEN 1 WHEN NOT r_maybe THEN 2 ELSE 3 END)
               FILTER (holds AND NOT (p_maybe AND r_maybe AND k)) AS other
    FROM facts GROUP BY subject_no, kind, ask_no"""


def build(
    con: duckdb.DuckDBPyConnection,
    consents: pa.Table | pa.RecordBatchReader,
    purposes: Purposes | None = None,
    *,
    keep_ids: bool = False,
) -> None:
    """Create `consent_of(subject_no, ask_no, kind, status, separate_consent, guardian_verified)`.

    Needs the tables `subject`, `record` and `use`. `consents` is read once, and need not fit into
    memory. People without any matching consent record have no row: their status is `none`.
    """
    con.register("arrow_consents", consents)
    left_out = "subject_digest, notice_ref" + ("" if keep_ids else ", record_id")
    con.execute(f"""
        CREATE TEMP TABLE registered AS
        SELECT s.subject_no, c.* EXCLUDE ({left_out})
        FROM arrow_consents c JOIN subject s ON s.digest = c.subject_digest""")
    con.unregister("arrow_consents")
    _purposes(con, purposes or Purposes())
    con.execute(f"""
        CREATE TEMP TABLE consent AS
        WITH plain AS (
            SELECT c.subject_no, n.purpose_no, n.is_every AS any_purpose,
                   -- who takes a consent back without naming anybody takes it back from everybody
                   coalesce(nullif(trim(c.recipient), ''),
                            CASE WHEN lower(trim(c.state)) NOT IN ('given', 'renewed') THEN '*' END)
                       AS recipient,
                   nullif(lower(trim(c.data_category)), '') AS category,
                   CASE lower(trim(c.state)) WHEN 'given' THEN 0 WHEN 'renewed' THEN 0
                        WHEN 'withdrawn' THEN 2 ELSE 1 END AS strict,
                   c.recorded_at, c.valid_from, c.valid_until,
                   c.separate,
                   coalesce(c.guardian_verified, false) AS guardian
                   {", c.record_id, c.purpose" if keep_ids else ""}
            FROM registered c LEFT JOIN purpose_name n ON n.written = c.purpose)
        SELECT row_number() OVER (ORDER BY
                   coalesce(recorded_at, valid_from, unknown_moment),
                   coalesce(valid_from, unknown_moment), strict, valid_until DESC NULLS FIRST,
                   CASE WHEN separate THEN 0 WHEN separate IS NULL THEN 1 ELSE 2 END,
                   guardian DESC) AS consent_no,
               *, strict = 0 AS is_given, coalesce(recorded_at, valid_from) AS known_from
        FROM (SELECT *, CASE WHEN strict = 0 THEN '-infinity'::TIMESTAMPTZ
                             ELSE 'infinity'::TIMESTAMPTZ END AS unknown_moment FROM plain)""")
    # since when a given record is taken back by a newer withdrawal or refusal that covers it
    con.execute("""
        CREATE TEMP TABLE taken_back AS
        SELECT g.consent_no, min(coalesce(w.known_from, '-infinity'::TIMESTAMPTZ)) AS back_from
        FROM consent g JOIN consent w ON w.subject_no = g.subject_no
        LEFT JOIN covering v ON v.asked_no = g.purpose_no AND v.purpose_no = w.purpose_no
        WHERE g.is_given AND NOT w.is_given AND w.consent_no > g.consent_no
          AND (v.covers OR w.any_purpose)
          AND (w.recipient IS NOT DISTINCT FROM g.recipient OR w.recipient = '*')
          AND (w.category IS NULL OR w.category = '*' OR w.category = g.category
               OR starts_with(g.category, w.category || '.'))
        GROUP BY g.consent_no""")
    con.execute("""
        CREATE TEMP TABLE ask AS
        SELECT ask_no, any_value(n.purpose_no) AS purpose_no, any_value(recipient) AS recipient,
               any_value(controller) AS controller, any_value(event_time) AS event_time
        FROM use LEFT JOIN purpose_name n ON n.written = use.purpose GROUP BY ask_no""")
    con.execute("""
        CREATE TEMP TABLE asked AS
        SELECT DISTINCT r.subject_no, r.kind, u.ask_no
        FROM record r JOIN use u ON u.dataset_no = r.dataset_no
        WHERE r.subject_no IN (SELECT subject_no FROM consent)""")
    con.execute(f"""
        CREATE TEMP TABLE consent_of AS
        WITH decided AS (
            SELECT b.subject_no, b.kind, b.ask_no, b.maybe_separate, b.maybe_guardian,
                   w.separate, w.guardian,
                   b.winner IS NOT DISTINCT FROM b.sure_winner AS is_sure,
                   CASE WHEN b.maybe AND NOT is_sure
                            AND coalesce(b.sure_winner, 0) <= coalesce(b.against, 0) THEN NULL
                        WHEN w.strict = 2 THEN 'withdrawn'
                        WHEN w.strict = 1 THEN 'refused'
                        WHEN w.valid_until <= b.event_time THEN 'expired'
                        WHEN w.strict = 0 AND b.part > coalesce(b.sure_winner, b.winner) THEN NULL
                        WHEN w.strict = 0 THEN 'given'
                        WHEN b.later THEN 'not_yet_valid'
                        WHEN b.other = 3 THEN 'category_mismatch'
                        WHEN b.other = 2 THEN 'recipient_mismatch'
                        WHEN b.other = 1 THEN 'purpose_mismatch'
                        ELSE 'none' END AS status
            FROM ({_BEST}) b LEFT JOIN consent w ON w.consent_no = b.winner)
        SELECT subject_no, kind, ask_no, status,
               CASE WHEN status = 'given' AND is_sure THEN separate
                    WHEN coalesce(status, 'given') = 'given' AND maybe_separate THEN NULL
                    ELSE false END AS separate_consent,
               CASE WHEN status = 'given' AND is_sure THEN guardian
                    WHEN coalesce(status, 'given') = 'given' AND maybe_guardian THEN NULL
                    ELSE false END AS guardian_verified
        FROM decided WHERE status IS DISTINCT FROM 'none'""")
    con.execute("DROP TABLE registered")


def _purposes(con: duckdb.DuckDBPyConnection, purposes: Purposes) -> None:
    """`purpose_name` numbers the purposes as they are written, `covering` says which covers which.

    `covering(asked_no, purpose_no, covers, is_part)`: the second is equal to or broader than the
    first (`covers`), or narrower (`is_part`).
    """
    texts = con.execute(
        "SELECT purpose FROM registered WHERE purpose IS NOT NULL "
        "UNION SELECT purpose FROM use WHERE purpose IS NOT NULL"
    ).fetchall()
    names = {text: folded(text) for (text,) in texts}
    number = {name: at for at, name in enumerate(sorted(set(names.values())))}
    written = sorted(names)
    con.register(
        "arrow_purposes",
        pa.table(
            {
                "written": pa.array(written, pa.string()),
                "purpose_no": pa.array([number[names[text]] for text in written], pa.int32()),
                "is_every": pa.array([names[text] == EVERY for text in written], pa.bool_()),
            }
        ),
    )
    con.execute("CREATE TEMP TABLE purpose_name AS SELECT * FROM arrow_purposes")
    con.unregister("arrow_purposes")
    pairs: set[tuple[int, int]] = set()
    for name, narrow in number.items():
        pairs |= {(narrow, number[broad]) for broad in purposes.broader(name) if broad in number}
    ordered = sorted(pairs)
    con.register(
        "arrow_covering",
        pa.table(
            {
                "narrow": pa.array([narrow for narrow, _ in ordered], pa.int32()),
                "broad": pa.array([broad for _, broad in ordered], pa.int32()),
            }
        ),
    )
    con.execute("""
        CREATE TEMP TABLE covering AS
        SELECT narrow AS asked_no, broad AS purpose_no, true AS covers, false AS is_part
        FROM arrow_covering
        UNION ALL
        SELECT broad, narrow, false, true FROM arrow_covering WHERE broad <> narrow""")
    con.unregister("arrow_covering")


def records(con: duckdb.DuckDBPyConnection) -> list[dict[str, object]]:
    """What `build` (with `keep_ids`) made of every record: one row per record, use and kind, the
    newest first, with the numbers of the records that decide.
    """
    rows = con.sql(f"""
        SELECT f.*, c.record_id, c.purpose, c.recipient, c.category, c.strict, c.recorded_at,
               c.valid_from, c.valid_until, coalesce(t.back_from <= f.event_time, false) AS is_back,
               b.winner, b.sure_winner, b.part AS part_winner
        FROM ({_FACTS}) f JOIN consent c ON c.consent_no = f.consent_no
        LEFT JOIN taken_back t ON t.consent_no = f.consent_no
        JOIN ({_BEST}) b ON b.subject_no = f.subject_no AND b.kind = f.kind
            AND b.ask_no = f.ask_no
        ORDER BY f.kind, f.ask_no, f.consent_no DESC""")
    found: list[dict[str, object]] = rows.to_arrow_table().to_pylist()
    return found
