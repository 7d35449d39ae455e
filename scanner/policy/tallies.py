"""Counts the records and people of sets of exposures, every set only once.

Rules see an exposure through few columns only, so all records that agree in them (a *profile*) and
whose person's consent to the use is in the same *state* get the same verdict. A rule is therefore
evaluated on `cell`: the profiles × asks × states that there are, a handful for a million records.
A verdict is then about a set of cells. Behind a cell are *cohorts*: the records of one profile
whose people have one consent history (see `histories`); what a history means for an ask is known.
Cohorts do not overlap and do not depend on the use, so the verdicts of all rules and transfers ask
about few different sets of them, and each distinct set is counted once.

Where detections are plain (see `records`), one pass over them counts every cohort, and sets are
sums of those numbers. Only people who are in several profiles must be counted anew for a set. Where
they are not, one item may have records in several cohorts, and sets are counted over `tally`.

Tables made here: `cohort`, `placed` (cohort × ask → state), `consent_state`, `cell`; and, where
detections are not plain, `tally` (the records as numbers) and `pair` (item × person: what
`affected` lists).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scanner.model import Context
from scanner.policy import consents, histories
from scanner.policy.records import plain_rows, wide

MAX_SAMPLES = 5
NO_CONSENT = 0  # state of people without any record that matters
ROWS_AT_ONCE = 40_000_000  # of detections whose people are counted at once; 3 GB hold them
_WINDOW = 131_072  # rows that are held at once while `affected` is written


@dataclass(frozen=True, slots=True)
class Tally:
    """What one set of cohorts comes to."""

    set_no: int
    items: int
    records: int  # sum over the items of the largest count seen in the item
    unknown: int  # of these: of people who are not known
    people: int  # distinct known people, exact
    possible: int  # records of items in which nothing is certain
    samples: Sequence[int]  # item numbers
    kinds: Mapping[str, int]  # records by kind


@dataclass(slots=True)
class Tallies:
    """The prepared tables, and what was counted so far."""

    con: duckdb.DuckDBPyConnection
    detections: Path
    plain: bool
    wide: frozenset[str] = frozenset()  # columns that differ from record to record, and are read
    single: bool = True  # every item is one record: no need to group by items
    pairs: int = 0
    known: dict[tuple[object, ...], Tally] = field(default_factory=dict)  # by signature of the set
    states_of: dict[tuple[object, ...], dict[int, int]] = field(default_factory=dict)
    crowd: bool = False  # whether the table of people by their profiles is there

    @classmethod
    def build(
        cls,
        con: duckdb.DuckDBPyConnection,
        detections: Path,
        context: Context,
        *,
        names: frozenset[str],
        plain: bool,
        with_consent: bool,
    ) -> Tallies:
        """Count the cohorts; `names` are the columns that any condition reads.

        Needs `profile`, `use`, `dataset`, `setting` and, unless `plain`, `record` and `person`;
        drops `record`: its texts are in `pair` then.
        """
        own = cls(con, detections, plain, frozenset(wide(names)))
        if with_consent:
            histories.build(con, context.consents)
        else:
            con.execute(
                "CREATE TEMP TABLE history AS SELECT NULL::VARCHAR AS digest, "
                "NULL::UBIGINT AS class LIMIT 0"
            )
        if plain:
            own._plain_cohorts(with_consent)
        else:
            own._tally()
        own._states(context, with_consent)
        con.execute("CREATE TEMP TABLE set_member (set_no BIGINT, cohort_no BIGINT)")
        return own

    # ------------------------------------------------------------ plain detections

    def _plain_cohorts(self, with_consent: bool) -> None:
        """`cohort` and its numbers in one pass; `sample`, the first items of each."""
        class_ = "coalesce(h.class, 0)" if with_consent else "0::UBIGINT"
        # The first items of a cohort are among those of the people whose own first items come
        # first: each of the others has as many people's items before it as are asked for.
        for number, (rows, history) in enumerate(self._shares_of_people()):
            joined = f"LEFT JOIN {history} h ON h.digest = r.digest" if with_consent else ""
            self.con.execute(f"""
                {"INSERT INTO share" if number else "CREATE TEMP TABLE share AS"}
                SELECT r.profile_no, {class_} AS class, count(*) AS people,
                       sum(r.items)::BIGINT AS items, min(r.first, {MAX_SAMPLES}) AS firsts,
                       arg_min(r.digest, r.first, {MAX_SAMPLES}) AS faces
                FROM (SELECT f.subject_digest AS digest, p.profile_no, count(*) AS items,
                             min(f.file_row_number) AS first
                      FROM {rows} GROUP BY f.subject_digest, p.profile_no) r {joined}
                GROUP BY ALL""")
        self.con.execute(f"""
            CREATE TEMP TABLE known_cohort AS
            SELECT * FROM (SELECT profile_no, class, sum(people)::BIGINT AS people,
                                  sum(items)::BIGINT AS items FROM share GROUP BY ALL)
            JOIN (SELECT profile_no, class, min(first, {MAX_SAMPLES}) AS firsts,
                         arg_min(face, first, {MAX_SAMPLES}) AS faces
                  FROM (SELECT profile_no, class, unnest(firsts) AS first, unnest(faces) AS face
                        FROM share)
                  GROUP BY ALL) USING (profile_no, class)""")
        self.con.execute("DROP TABLE share")
        self.con.execute("""
            CREATE TEMP TABLE cohort AS
            SELECT row_number() OVER (ORDER BY profile_no, class) AS cohort_no, c.*, each, nobody,
                   is_certain, kind
            FROM (SELECT profile_no, class, people, items, firsts, faces FROM known_cohort
                  UNION ALL
                  SELECT profile_no, 0, 0, items, NULL, NULL FROM profile WHERE nobody) c
            JOIN profile p USING (profile_no)""")
        self.con.execute("DROP TABLE known_cohort")
        self._samples()

    def _shares_of_people(self) -> Iterator[tuple[str, str]]:
        """SQL for plain rows of known people, and for `history`, of one share of people at a time.

        Counting people and joining their histories holds both at once, and what the database
        cannot put on the disk meanwhile grows with them.
        """
        (rows,) = self.con.execute("SELECT count(*) FROM detection").fetchone() or (0,)
        shares = max(1, -(-rows // ROWS_AT_ONCE))
        known = plain_rows(self.con, keyed=True)
        if shares == 1:
            yield known, "history"
            return
        for share in range(shares):
            yield (
                f"{known} AND hash(f.subject_digest) % {shares} = {share}",
                f"(SELECT * FROM history WHERE hash(digest) % {shares} = {share})",
            )

    def _samples(self) -> None:
        # whose people have one item each, their firsts are the samples
        self.con.execute("""
            CREATE TEMP TABLE sample AS
            SELECT cohort_no, list_transform(firsts, lambda row: row + 1) AS samples
            FROM cohort WHERE NOT nobody AND items = people""")
        self.con.execute("""
            CREATE TEMP TABLE face AS
            SELECT cohort_no, profile_no, unnest(faces) AS digest FROM cohort
            WHERE NOT nobody AND items > people""")
        few, last = self.con.execute(f"""
            SELECT count(*) FILTER (people < {MAX_SAMPLES}), max(list_max(firsts))
            FROM cohort WHERE NOT nobody AND items > people""").fetchone() or (0, None)
        if last is not None:
            # no sample comes after the last of the firsts, unless there are too few people
            rows = plain_rows(self.con, keyed=True)
            if not few:
                head = f"(SELECT * FROM detection LIMIT {int(last) + 1})"
                rows = rows.replace("detection f", f"{head} f", 1)
            self.con.execute(f"""
                INSERT INTO sample
                SELECT x.cohort_no, min(r.row + 1, {MAX_SAMPLES})
                FROM (SELECT f.subject_digest AS digest, p.profile_no, f.file_row_number AS row
                      FROM {rows}) r
                JOIN face x ON x.digest = r.digest AND x.profile_no = r.profile_no
                GROUP BY x.cohort_no""")
        (nobody,) = self.con.execute("SELECT bool_or(nobody) FROM profile").fetchone() or (False,)
        if nobody:
            self.con.execute(f"""
                INSERT INTO sample
                SELECT c.cohort_no, min(f.file_row_number + 1, {MAX_SAMPLES})
                FROM {plain_rows(self.con, keyed=False)}
                JOIN cohort c ON c.profile_no = p.profile_no AND c.nobody
                WHERE f.subject_digest IS NULL GROUP BY c.cohort_no""")

    def _count_plain(self, set_no: int) -> Tally:
        mine = f"(SELECT cohort_no FROM set_member WHERE set_no = {int(set_no)})"
        items, records, unknown, possible, people, profiles = self.con.execute(f"""
            SELECT coalesce(sum(items), 0)::BIGINT, coalesce(sum(items * each), 0)::BIGINT,
                   coalesce(sum(items * each) FILTER (nobody), 0)::BIGINT,
                   coalesce(sum(items * each) FILTER (NOT is_certain), 0)::BIGINT,
                   coalesce(sum(people), 0)::BIGINT, count(DISTINCT profile_no) FILTER (NOT nobody)
            FROM cohort SEMI JOIN {mine} USING (cohort_no)""").fetchall()[0]
        (samples,) = self.con.execute(f"""
            SELECT min(row, {MAX_SAMPLES}) FROM (
                SELECT unnest(samples) AS row FROM sample SEMI JOIN {mine} USING (cohort_no))
            """).fetchone() or ((),)
        kinds = self.con.execute(f"""
            SELECT kind, sum(items * each)::BIGINT FROM cohort SEMI JOIN {mine} USING (cohort_no)
            GROUP BY kind ORDER BY kind""").fetchall()
        if profiles > 1:  # the same people may be in several of them
            self._people()
            (people,) = self.con.execute(f"""
                SELECT coalesce(sum(n), 0)::BIGINT FROM crowd x WHERE EXISTS (
                    SELECT 1 FROM cohort c SEMI JOIN {mine} USING (cohort_no)
                    WHERE NOT c.nobody AND c.class = x.class
                      AND (x.mask >> (c.profile_no - 1)) % 2 = 1)""").fetchone() or (0,)
        return Tally(set_no, items, records, unknown, people, possible, samples or (), dict(kinds))

    def _people(self) -> None:
        """`crowd`: how many people are in which profiles, by history."""
        if self.crowd:
            return
        self.crowd = True
        # profiles of known people have the first numbers, at most 63 (see `records`)
        for number, (rows, history) in enumerate(self._shares_of_people()):
            self.con.execute(f"""
                {"INSERT INTO crowd" if number else "CREATE TEMP TABLE crowd AS"}
                SELECT r.mask, coalesce(h.class, 0) AS class, count(*) AS n
                FROM (SELECT f.subject_digest AS digest,
                             bit_or(1::UBIGINT << (p.profile_no - 1)::UBIGINT) AS mask
                      FROM {rows} GROUP BY f.subject_digest) r
                LEFT JOIN {history} h ON h.digest = r.digest GROUP BY ALL""")

    # ------------------------------------------------------------ other detections

    def _tally(self) -> None:
        """`tally`, `pair` and `cohort` out of `record`."""
        con = self.con
        con.execute("""
            CREATE TEMP TABLE kind AS
            SELECT row_number() OVER (ORDER BY kind) AS kind_no, kind
            FROM (SELECT DISTINCT kind FROM profile)""")
        rows, items = con.execute("SELECT count(*), max(item_no) FROM record").fetchone() or (0, 0)
        self.single = rows == (items or 0)
        columns = ["dataset_no", "kind", "representation", "basis", "is_certain", "in_manifest"]
        columns += ["jurisdiction", *sorted(self.wide)]
        same = " AND ".join(f"p.{c} IS NOT DISTINCT FROM r.{c}" for c in columns)
        pair_no = (
            "item_no" if self.single else "dense_rank() OVER (ORDER BY r.item_no, r.subject_no)"
        )
        con.execute("""
            CREATE TEMP TABLE class_of AS
            SELECT p.subject_no, h.class FROM person p JOIN history h ON h.digest = p.digest""")
        con.execute(f"""
            CREATE TEMP TABLE tally AS
            SELECT {pair_no} AS pair_no, r.item_no, r.subject_no, r.count, r.is_certain,
                   k.kind_no::SMALLINT AS kind_no, p.profile_no::INTEGER AS profile_no,
                   coalesce(h.class, 0) AS class
            FROM record r
            JOIN profile p ON {same} AND p.nobody = (r.subject_no IS NULL)
            JOIN kind k ON k.kind = r.kind
            LEFT JOIN class_of h ON h.subject_no = r.subject_no""")
        con.execute("""
            CREATE TEMP TABLE cohort AS
            SELECT row_number() OVER (ORDER BY profile_no, class) AS cohort_no, *
            FROM (SELECT profile_no, class, [any_value(s.digest)] AS faces
                  FROM tally LEFT JOIN person s USING (subject_no) GROUP BY profile_no, class)""")
        source = "SELECT item_no AS pair_no, subject_no, location, item_id FROM record"
        if not self.single:
            source = """
                SELECT pair_no, any_value(t.subject_no) AS subject_no,
                       any_value(location) AS location, any_value(item_id) AS item_id
                FROM (SELECT DISTINCT pair_no, item_no, subject_no FROM tally) t
                JOIN (SELECT item_no, any_value(location) AS location,
                             any_value(item_id) AS item_id
                      FROM record GROUP BY item_no) i ON i.item_no = t.item_no
                GROUP BY pair_no"""
        con.execute(f"""
            CREATE TEMP TABLE pair AS
            SELECT x.pair_no, x.location, x.item_id, s.digest
            FROM ({source}) x LEFT JOIN person s ON s.subject_no = x.subject_no
            ORDER BY x.pair_no""")
        (self.pairs,) = con.execute("SELECT count(*) FROM pair").fetchone() or (0,)
        con.execute("DROP VIEW record")
        con.execute("DROP TABLE sorted_record")

    def _hits(self, set_no: int) -> str:
        """SQL for the rows of `tally` in one set."""
        return f"""
            SELECT t.* FROM tally t SEMI JOIN (
                SELECT profile_no, class FROM set_member JOIN cohort USING (cohort_no)
                WHERE set_no = {int(set_no)}) m
            ON m.profile_no = t.profile_no AND m.class = t.class"""

    def _count_tally(self, set_no: int) -> Tally:
        hits = self._hits(set_no)
        by_item = f"""
            SELECT item_no, max(count) AS n, bool_or(is_certain) AS sure,
                   coalesce(max(count) FILTER (subject_no IS NULL), 0) AS unknown
            FROM ({hits}) GROUP BY item_no"""
        if self.single:
            by_item = f"""
                SELECT item_no, count AS n, is_certain AS sure, subject_no,
                       CASE WHEN subject_no IS NULL THEN count ELSE 0 END AS unknown
                FROM ({hits})"""
        people = "count(DISTINCT subject_no)" if self.single else "NULL"
        items, records, unknown, possible, samples, known = self.con.execute(f"""
            SELECT count(*), sum(n)::BIGINT, sum(unknown)::BIGINT,
                   coalesce(sum(n) FILTER (NOT sure), 0)::BIGINT, min(item_no, {MAX_SAMPLES}),
                   {people}
            FROM ({by_item})""").fetchall()[0]
        if known is None:
            (known,) = self.con.execute(
                f"SELECT count(DISTINCT subject_no) FROM ({hits})"
            ).fetchall()[0]
        kinds = self.con.execute(f"""
            SELECT k.kind, x.n FROM (
                SELECT kind_no, sum(n)::BIGINT AS n FROM (
                    SELECT item_no, kind_no, max(count) AS n FROM ({hits}) GROUP BY ALL)
                GROUP BY kind_no) x JOIN kind k USING (kind_no) ORDER BY k.kind""").fetchall()
        return Tally(set_no, items, records, unknown, known, possible, samples, dict(kinds))

    # ------------------------------------------------------------ what consents mean for uses

    def _states(self, context: Context, with_consent: bool) -> None:
        """`consent_state`, `placed`, `cell`: what each history means for each ask."""
        con = self.con
        if not with_consent:
            con.execute(f"""
                CREATE TEMP TABLE consent_state AS
                SELECT {NO_CONSENT} AS state_no, NULL::VARCHAR AS status,
                       NULL::BOOLEAN AS separate_consent, NULL::BOOLEAN AS guardian_verified""")
            con.execute("""
                CREATE TEMP TABLE consented (class UBIGINT, ask_no BIGINT, kind VARCHAR,
                                             state_no BIGINT)""")
        else:
            # one person stands for all with the same history
            con.execute(f"""
                CREATE TEMP TABLE subject AS
                SELECT row_number() OVER (ORDER BY class) AS subject_no, min(faces[1]) AS digest,
                       class
                FROM cohort WHERE class <> {histories.NO_HISTORY} GROUP BY class""")
            con.execute("""
                CREATE TEMP TABLE record AS
                SELECT DISTINCT s.subject_no, p.dataset_no, p.kind
                FROM cohort c JOIN profile p USING (profile_no) JOIN subject s USING (class)""")
            theirs = con.sql(
                "SELECT r.* FROM registry r SEMI JOIN subject s ON s.digest = r.subject_digest"
            ).to_arrow_table()
            consents.build(con, theirs, context.purposes)
            con.execute(f"""
                CREATE TEMP TABLE consent_state AS
                SELECT {NO_CONSENT} + row_number() OVER (
                    ORDER BY status, separate_consent, guardian_verified) AS state_no, * FROM (
                    SELECT DISTINCT status, separate_consent, guardian_verified FROM consent_of)
                UNION ALL SELECT {NO_CONSENT}, 'none', false, false""")
            con.execute("""
                CREATE TEMP TABLE consented AS
                SELECT u.class, c.ask_no, c.kind, s.state_no
                FROM consent_of c JOIN subject u USING (subject_no)
                JOIN consent_state s ON s.status IS NOT DISTINCT FROM c.status
                    AND s.separate_consent IS NOT DISTINCT FROM c.separate_consent
                    AND s.guardian_verified IS NOT DISTINCT FROM c.guardian_verified""")
        con.execute(f"""
            CREATE TEMP TABLE placed AS
            SELECT DISTINCT x.cohort_no, x.profile_no, u.ask_no,
                   coalesce(c.state_no, {NO_CONSENT}) AS state_no
            FROM cohort x JOIN profile p USING (profile_no)
            JOIN use u ON u.dataset_no = p.dataset_no
            LEFT JOIN consented c ON c.class = x.class AND c.ask_no = u.ask_no AND c.kind = p.kind
            """)
        con.execute(
            "CREATE TEMP TABLE cell AS SELECT DISTINCT profile_no, ask_no, state_no FROM placed"
        )

    # ------------------------------------------------------------ counting

    def of_profiles(self, source: str) -> dict[int, Tally]:
        """By group: what the profiles come to that `source` (group_no, profile_no) puts in it."""
        self.con.execute(f"""
            CREATE OR REPLACE TEMP TABLE member AS
            SELECT DISTINCT s.group_no, c.cohort_no
            FROM ({source}) s JOIN cohort c ON c.profile_no = s.profile_no""")
        return self._counted()

    def of_cells(self, source: str) -> dict[int, Tally]:
        """By group: what the cells come to that `source` (group_no, ask_no, profile_no, state_no)
        puts in it.
        """
        self.con.execute(f"""
            CREATE OR REPLACE TEMP TABLE member AS
            SELECT DISTINCT s.group_no, c.cohort_no
            FROM ({source}) s JOIN placed c USING (ask_no, profile_no, state_no)""")
        return self._counted()

    def _counted(self) -> dict[int, Tally]:
        # two sums of 64-bit hashes and the size tell sets apart
        rows = self.con.execute("""
            SELECT group_no, count(*), sum(hash(cohort_no))::VARCHAR,
                   sum(hash(cohort_no, 'again'))::VARCHAR
            FROM member GROUP BY group_no ORDER BY group_no""").fetchall()
        found: dict[int, Tally] = {}
        for group, *signature in rows:
            key = tuple(signature)
            if key not in self.known:
                set_no = len(self.known) + 1
                self.con.execute(
                    "INSERT INTO set_member SELECT ?, cohort_no FROM member WHERE group_no = ?",
                    [set_no, group],
                )
                count = self._count_plain if self.plain else self._count_tally
                self.known[key] = count(set_no)
            found[group] = self.known[key]
        return found

    def states(self, source: str) -> dict[int, dict[int, int]]:
        """By group: records by the state of consent; -1: the person is not known.

        `source` as of `of_cells`.
        """
        self.con.execute(f"""
            CREATE OR REPLACE TEMP TABLE state_member AS
            SELECT DISTINCT s.group_no, c.cohort_no,
                   CASE WHEN p.nobody THEN -1 ELSE c.state_no END AS state_no
            FROM ({source}) s JOIN placed c USING (ask_no, profile_no, state_no)
            JOIN profile p ON p.profile_no = c.profile_no""")
        rows = self.con.execute("""
            SELECT group_no, count(*), sum(hash(cohort_no, state_no))::VARCHAR,
                   sum(hash(state_no, cohort_no, 'again'))::VARCHAR
            FROM state_member GROUP BY group_no ORDER BY group_no""").fetchall()
        found: dict[int, dict[int, int]] = {}
        for group, *signature in rows:
            key = tuple(signature)
            if key not in self.states_of:
                mine = f"(SELECT * FROM state_member WHERE group_no = {int(group)})"
                numbers = (
                    f"SELECT m.state_no, sum(c.items * c.each)::BIGINT FROM {mine} m "
                    "JOIN cohort c USING (cohort_no)"
                    if self.plain
                    else f"""
                        SELECT state_no, sum(n)::BIGINT FROM (
                            SELECT m.state_no, t.item_no, max(t.count) AS n
                            FROM tally t JOIN (
                                SELECT DISTINCT c.profile_no, c.class, m.state_no
                                FROM {mine} m JOIN cohort c USING (cohort_no)) m
                            ON m.profile_no = t.profile_no AND m.class = t.class
                            GROUP BY ALL) m"""
                )
                self.states_of[key] = dict(
                    self.con.execute(f"{numbers} GROUP BY m.state_no ORDER BY 1").fetchall()
                )
            found[group] = self.states_of[key]
        return found

    # ------------------------------------------------------------ listing

    def locations(self, item_numbers: Sequence[int]) -> dict[int, str]:
        """The locations of a few items."""
        if not item_numbers:
            return {}
        if self.plain:
            return _texts_of(self.detections, item_numbers)
        self.con.register("arrow_wanted", pa.table({"item_no": pa.array(item_numbers, pa.int64())}))
        try:
            rows = self.con.execute(
                "SELECT t.item_no, min(p.location) FROM tally t SEMI JOIN arrow_wanted w "
                "ON w.item_no = t.item_no JOIN pair p ON p.pair_no = t.pair_no GROUP BY t.item_no"
            ).fetchall()
        finally:
            self.con.unregister("arrow_wanted")
        return dict(rows)

    def affected(self, set_numbers: Sequence[int]) -> Iterator[dict[int, pa.Table]]:
        """The items and people of sets (location, item_id, subject_digest), by their numbers.

        Piece by piece in the order of the locations, so that no set is ever held whole.
        """
        if not set_numbers:
            return iter(())
        return self._plain_affected(set_numbers) if self.plain else self._paired(set_numbers)

    def _plain_affected(self, set_numbers: Sequence[int]) -> Iterator[dict[int, pa.Table]]:
        (most,) = self.con.execute("SELECT max(cohort_no) FROM cohort").fetchall()[0]
        inside = {number: np.zeros(most + 1, dtype=bool) for number in set_numbers}
        for number, cohort in self.con.execute(
            "SELECT set_no, cohort_no FROM set_member"
        ).fetchall():
            if number in inside:
                inside[number][cohort] = True
        # as numbers: the texts are then read beside them, in the same order
        numbered = self.con.sql(f"""
            SELECT c.cohort_no::INTEGER AS cohort_no
            FROM (SELECT f.file_row_number AS row, f.subject_digest AS digest, p.profile_no
                  FROM {plain_rows(self.con, keyed=False)}) r
            LEFT JOIN history h ON h.digest = r.digest
            JOIN cohort c ON c.profile_no = r.profile_no AND c.class = coalesce(h.class, 0)
            ORDER BY r.row""").to_arrow_reader(_WINDOW)
        cohorts = np.empty(0, dtype=np.int32)
        with pq.ParquetFile(self.detections) as file:
            for batch in file.iter_batches(
                _WINDOW, columns=["location", "item_id", "subject_digest"]
            ):
                while len(cohorts) < batch.num_rows:
                    more = numbered.read_next_batch().column(0).to_numpy()
                    cohorts = np.concatenate([cohorts, more])
                mine, cohorts = cohorts[: batch.num_rows], cohorts[batch.num_rows :]
                names = pa.Table.from_batches([batch])
                piece: dict[int, pa.Table] = {}
                for number in set_numbers:
                    chosen = inside[number][mine]
                    if chosen.all():
                        piece[number] = names
                    elif chosen.any():
                        piece[number] = names.filter(pa.array(chosen))
                yield piece

    def _paired(self, set_numbers: Sequence[int]) -> Iterator[dict[int, pa.Table]]:
        for number in set_numbers:
            self.con.execute(
                f"CREATE OR REPLACE TEMP TABLE listed_{int(number)} AS "
                f"SELECT DISTINCT pair_no FROM ({self._hits(number)}) ORDER BY pair_no"
            )
        for start in range(1, self.pairs + 1, _WINDOW):
            window = f"pair_no BETWEEN {start} AND {start + _WINDOW - 1}"
            names = self.con.sql(
                "SELECT location, item_id, digest AS subject_digest FROM pair "
                f"WHERE {window} ORDER BY pair_no"
            ).to_arrow_table()
            piece: dict[int, pa.Table] = {}
            for number in set_numbers:
                rows = self.con.sql(
                    f"SELECT pair_no - {start} AS place FROM listed_{int(number)} "
                    f"WHERE {window} ORDER BY pair_no"
                ).to_arrow_table()
                if rows.num_rows == names.num_rows:
                    piece[number] = names
                elif rows.num_rows:
                    piece[number] = names.take(rows.column("place"))
            yield piece
        for number in set_numbers:
            self.con.execute(f"DROP TABLE listed_{int(number)}")


def _texts_of(detections: Path, item_numbers: Sequence[int]) -> dict[int, str]:
    """The locations of plain detections by their row, counted from 1: only these parts are read."""
    found: dict[int, str] = {}
    with pq.ParquetFile(detections) as file:
        start = 1
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            mine = [number for number in item_numbers if start <= number < start + rows]
            if mine:
                column = file.read_row_group(group, columns=["location"]).column(0)
                found |= {number: column[number - start].as_py() for number in mine}
            start += rows
    return found
