"""Computes the consent status of every person × use × kind, as of the moment of the use.

A record matches a use if its purpose is equal (upper and lower case alike), its recipient is equal
or `*` (none = the controller itself), and its data category is `*`, none, equal to the kind or a
dotted prefix of it. Purpose `*` matches for withdrawals and refusals only: nobody consents to
everything.

A record is not known before `recorded_at` (none: its `valid_from`). Of the known matching records
the newest wins, by `recorded_at`, then `valid_from`; at the same instant the stricter one does
(withdrawn, refused, given; of two given ones the one that ends first, then the one that is not
separate). A withdrawal without any date counts as the newest, a consent without any date as the
oldest.

`given` (or `renewed`) holds from `valid_from` until before `valid_until`; else `not_yet_valid` or
`expired`. Where only records recorded later match, `not_yet_valid`. Where none matches, a consent
that holds at that moment and was not taken back explains best: `category_mismatch`,
`recipient_mismatch`, `purpose_mismatch`, in this order; else `none`. A person who is not known is
`subject_unknown`.

Of a use whose purpose or recipient is not on record, only what covers every possible one is certain
(recipient `*`; a withdrawal for every purpose). Where a consent holds that would cover it, if the
purpose or the recipient were the right one, the status is unknown (null), and so is whether it is
separate or by a guardian: neither a pass nor a violation. A consent of which nobody recorded
whether it was separate is neither, too.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa


def build(con: duckdb.DuckDBPyConnection, consents: pa.Table) -> None:
    """Create `consent_of(subject_no, ask_no, kind, status, separate_consent, guardian_verified)`.

    Needs the tables `subject`, `record` and `use`. People without any matching consent record have
    no row: their status is `none`.
    """
    con.register("arrow_consents", consents)
    con.execute("""
        CREATE TEMP TABLE consent AS
        WITH plain AS (
            SELECT s.subject_no, lower(trim(c.purpose)) AS purpose,
                   nullif(trim(c.recipient), '') AS recipient,
                   nullif(lower(trim(c.data_category)), '') AS category,
                   CASE lower(trim(c.state)) WHEN 'given' THEN 0 WHEN 'renewed' THEN 0
                        WHEN 'withdrawn' THEN 2 ELSE 1 END AS strict,
                   c.recorded_at, c.valid_from, c.valid_until,
                   c.separate,
                   coalesce(c.guardian_verified, false) AS guardian
            FROM arrow_consents c JOIN subject s ON s.digest = c.subject_digest)
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
        WHERE g.is_given AND NOT w.is_given AND w.consent_no > g.consent_no
          AND (w.purpose = g.purpose OR w.purpose = '*')
          AND (w.recipient IS NOT DISTINCT FROM g.recipient OR w.recipient = '*')
          AND (w.category IS NULL OR w.category = '*' OR w.category = g.category
               OR starts_with(g.category, w.category || '.'))
        GROUP BY g.consent_no""")
    con.execute("""
        CREATE TEMP TABLE ask AS
        SELECT ask_no, any_value(lower(purpose)) AS purpose, any_value(recipient) AS recipient,
               any_value(controller) AS controller, any_value(event_time) AS event_time
        FROM use GROUP BY ask_no""")
    con.execute("""
        CREATE TEMP TABLE asked AS
        SELECT DISTINCT r.subject_no, r.kind, u.ask_no
        FROM record r JOIN use u ON u.dataset_no = r.dataset_no
        WHERE r.subject_no IN (SELECT subject_no FROM consent)""")
    con.execute("""
        CREATE TEMP TABLE consent_of AS
        WITH facts AS (
            SELECT q.subject_no, q.kind, q.ask_no, c.consent_no, c.is_given, a.event_time,
                   c.separate, c.guardian,
                   coalesce(c.purpose = a.purpose, false)
                       OR (c.purpose = '*' AND NOT c.is_given) AS p,
                   coalesce(c.recipient = '*' OR c.recipient = a.recipient, false)
                       OR (a.recipient = a.controller AND c.recipient IS NULL) IS TRUE AS r,
                   a.purpose IS NULL OR p AS p_maybe, a.recipient IS NULL OR r AS r_maybe,
                   c.category IS NULL OR c.category = '*' OR c.category = q.kind
                       OR starts_with(q.kind, c.category || '.') AS k,
                   c.known_from IS NULL OR c.known_from <= a.event_time AS known,
                   c.is_given AND (c.valid_from IS NULL OR c.valid_from <= a.event_time)
                       AND (c.valid_until IS NULL OR a.event_time < c.valid_until)
                       AND (t.back_from IS NULL OR t.back_from > a.event_time) AS holds
            FROM asked q
            JOIN consent c ON c.subject_no = q.subject_no
            JOIN ask a ON a.ask_no = q.ask_no
            LEFT JOIN taken_back t ON t.consent_no = c.consent_no),
        best AS (
            SELECT subject_no, kind, ask_no, any_value(event_time) AS event_time,
                   max(consent_no) FILTER (p AND r AND k AND known) AS sure_winner,
                   max(consent_no) FILTER (p_maybe AND r_maybe AND k AND known) AS winner,
                   bool_or(holds AND known AND p_maybe AND r_maybe AND k) AS maybe,
                   bool_or(holds AND known AND p_maybe AND r_maybe AND k
                           AND separate IS NOT FALSE) AS maybe_separate,
                   bool_or(holds AND known AND p_maybe AND r_maybe AND k AND guardian)
                       AS maybe_guardian,
                   bool_or(p_maybe AND r_maybe AND k AND NOT known AND is_given) AS later,
                   max(CASE WHEN NOT p_maybe THEN 1 WHEN NOT r_maybe THEN 2 ELSE 3 END)
                       FILTER (holds AND known AND NOT (p_maybe AND r_maybe AND k)) AS other
            FROM facts GROUP BY subject_no, kind, ask_no),
        decided AS (
            SELECT b.subject_no, b.kind, b.ask_no, b.maybe_separate, b.maybe_guardian,
                   w.separate, w.guardian,
                   CASE WHEN b.maybe AND b.winner IS DISTINCT FROM b.sure_winner THEN NULL
                        WHEN w.strict = 2 THEN 'withdrawn'
                        WHEN w.strict = 1 THEN 'refused'
                        WHEN w.valid_from > b.event_time THEN 'not_yet_valid'
                        WHEN w.valid_until <= b.event_time THEN 'expired'
                        WHEN w.strict = 0 THEN 'given'
                        WHEN b.later THEN 'not_yet_valid'
                        WHEN b.other = 3 THEN 'category_mismatch'
                        WHEN b.other = 2 THEN 'recipient_mismatch'
                        WHEN b.other = 1 THEN 'purpose_mismatch'
                        ELSE 'none' END AS status
            FROM best b LEFT JOIN consent w ON w.consent_no = b.winner)
        SELECT subject_no, kind, ask_no, status,
               CASE WHEN status = 'given' THEN separate
                    WHEN status IS NULL AND maybe_separate THEN NULL
                    ELSE false END AS separate_consent,
               CASE WHEN status = 'given' THEN guardian
                    WHEN status IS NULL AND maybe_guardian THEN NULL
                    ELSE false END AS guardian_verified
        FROM decided WHERE status IS DISTINCT FROM 'none'""")
