"""Counts the records and people of sets of exposures, every set only once.

Rules see an exposure through few columns only, so all records that agree in them (a *profile*) and
whose person's consent to the use is in the same *state* get the same verdict. A rule is therefore
evaluated on `cell`: the profiles × asks × states that there are, a handful for a million records.
A verdict is then about a set of cells, and most rules ask about the same sets: all of a dataset,
those with consent, those without. Each distinct set is counted over the records once.

Tables made here: `profile`, `tally` (the records as numbers), `pair` (item × person: what
`affected` lists), `consented`, `consent_state`, `cell`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

AGE_NAMES = frozenset({"subject_age", "is_minor"})
MAX_SAMPLES = 5
NO_CONSENT = 0  # state of people without any record that matters
_EVERY_ASK, _EVERY_STATE = 0, -1  # of sets that do not depend on consent
_WINDOW = 131_072  # pairs that are held at once while `affected` is written


@dataclass(frozen=True, slots=True)
class Tally:
    """What one set of cells comes to."""

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
    wide: frozenset[str] = frozenset()  # columns that differ from record to record, and are read
    single: bool = False  # every item is one record: no need to group by items
    pairs: int = 0
    kinds: dict[int, str] = field(default_factory=dict)
    known: dict[tuple[object, ...], Tally] = field(default_factory=dict)  # by signature of the set
    states_of: dict[tuple[object, ...], dict[int, int]] = field(default_factory=dict)

    @classmethod
    def build(
        cls, con: duckdb.DuckDBPyConnection, names: frozenset[str], with_consent: bool
    ) -> Tallies:
        """Turn the table `record` into numbers; `names` are the columns that any condition reads.

        Needs `record`, `use`, `dataset`, `subject` and, `with_consent`, `consent_of`. Drops
        `record`: its texts are in `pair` then.
        """
        # what differs from record to record is part of a profile only if some rule reads it
        wide = [
            *(["confidence"] if "confidence" in names else []),
            *(["age", "birth_date"] if names & AGE_NAMES else []),
            *(["subject_no"] if "subject_key" in names else []),
        ]
        own = cls(con, frozenset(wide))
        columns = ["dataset_no", "kind", "representation", "basis", "is_certain", "in_manifest"]
        columns += ["jurisdiction", *wide]
        con.execute(f"""
            CREATE TEMP TABLE profile AS
            SELECT row_number() OVER () AS profile_no, * FROM (
                SELECT DISTINCT {", ".join(columns)}, subject_no IS NULL AS nobody FROM record)""")
        con.execute("""
            CREATE TEMP TABLE kind AS
            SELECT row_number() OVER (ORDER BY kind) AS kind_no, kind
            FROM (SELECT DISTINCT kind FROM profile)""")
        own.kinds = dict(con.execute("SELECT kind_no, kind FROM kind").fetchall())
        rows, items = con.execute("SELECT count(*), max(item_no) FROM record").fetchone() or (0, 0)
        own.single = rows == (items or 0)
        same = " AND ".join(f"p.{c} IS NOT DISTINCT FROM r.{c}" for c in columns)
        pair_no = (
            "item_no" if own.single else "dense_rank() OVER (ORDER BY r.item_no, r.subject_no)"
        )
        con.execute(f"""
            CREATE TEMP TABLE tally AS
            SELECT {pair_no} AS pair_no, r.item_no, r.subject_no, r.count, r.is_certain,
                   k.kind_no::SMALLINT AS kind_no, p.profile_no::INTEGER AS profile_no
            FROM record r
            JOIN profile p ON {same} AND p.nobody = (r.subject_no IS NULL)
            JOIN kind k ON k.kind = r.kind""")
        source = "SELECT item_no AS pair_no, subject_no, location, item_id FROM record"
        if not own.single:
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
            FROM ({source}) x LEFT JOIN subject s ON s.subject_no = x.subject_no
            ORDER BY x.pair_no""")
        (own.pairs,) = con.execute("SELECT count(*) FROM pair").fetchone() or (0,)
        con.execute("DROP VIEW record")
        con.execute("DROP TABLE sorted_record")
        own._cells(with_consent)
        con.execute(
            "CREATE TEMP TABLE set_member "
            "(set_no BIGINT, ask_no BIGINT, profile_no INTEGER, state_no BIGINT)"
        )
        return own

    def _cells(self, with_consent: bool) -> None:
        if with_consent:
            self.con.execute(f"""
                CREATE TEMP TABLE consent_state AS
                SELECT {NO_CONSENT} + row_number() OVER (
                    ORDER BY status, separate_consent, guardian_verified) AS state_no, * FROM (
                    SELECT DISTINCT status, separate_consent, guardian_verified FROM consent_of)
                UNION ALL SELECT {NO_CONSENT}, 'none', false, false""")
            self.con.execute("""
                CREATE TEMP TABLE consented AS
                SELECT c.subject_no, c.ask_no, k.kind_no, s.state_no
                FROM consent_of c JOIN kind k ON k.kind = c.kind
                JOIN consent_state s ON s.status IS NOT DISTINCT FROM c.status
                    AND s.separate_consent IS NOT DISTINCT FROM c.separate_consent
                    AND s.guardian_verified IS NOT DISTINCT FROM c.guardian_verified""")
            self.con.execute("DROP TABLE consent_of")
        else:
            self.con.execute(f"""
                CREATE TEMP TABLE consent_state AS
                SELECT {NO_CONSENT} AS state_no, NULL::VARCHAR AS status,
                       NULL::BOOLEAN AS separate_consent, NULL::BOOLEAN AS guardian_verified""")
            self.con.execute("""
                CREATE TEMP TABLE consented (subject_no BIGINT, ask_no BIGINT, kind_no BIGINT,
                                             state_no BIGINT)""")
        self.con.execute(f"""
            CREATE TEMP TABLE cell AS
            SELECT DISTINCT t.profile_no, m.ask_no, coalesce(c.state_no, {NO_CONSENT}) AS state_no
            FROM tally t
            JOIN (SELECT DISTINCT p.profile_no, u.ask_no
                  FROM profile p JOIN use u ON u.dataset_no = p.dataset_no) m
                ON m.profile_no = t.profile_no
            LEFT JOIN consented c ON c.subject_no = t.subject_no AND c.kind_no = t.kind_no
                AND c.ask_no = m.ask_no""")

    # ------------------------------------------------------------ counting

    def of_profiles(self, source: str) -> dict[int, Tally]:
        """By group: what the profiles come to that `source` (group_no, profile_no) puts in it."""
        self.con.execute(f"""
            CREATE OR REPLACE TEMP TABLE member AS
            SELECT DISTINCT group_no, {_EVERY_ASK} AS ask_no, profile_no,
                   {_EVERY_STATE} AS state_no FROM ({source})""")
        return self._counted()

    def of_cells(self, source: str) -> dict[int, Tally]:
        """By group: what the cells come to that `source` (group_no, ask_no, profile_no, state_no)
        puts in it.

        A group that holds a profile in all of its states does not depend on consent; it is the same
        set for every use.
        """
        self.con.execute(f"""
            CREATE OR REPLACE TEMP TABLE member AS
            WITH part AS (SELECT DISTINCT group_no, ask_no, profile_no, state_no FROM ({source})),
            states AS (SELECT ask_no, profile_no, count(*) AS n FROM cell GROUP BY ALL),
            spread AS (
                SELECT group_no, count(*) = any_value(n) AS whole
                FROM part JOIN states USING (ask_no, profile_no)
                GROUP BY group_no, ask_no, profile_no),
            free AS (SELECT group_no, bool_and(whole) AS free FROM spread GROUP BY group_no)
            SELECT DISTINCT group_no, profile_no,
                   CASE WHEN free THEN {_EVERY_ASK} ELSE ask_no END AS ask_no,
                   CASE WHEN free THEN {_EVERY_STATE} ELSE state_no END AS state_no
            FROM part JOIN free USING (group_no)""")
        return self._counted()

    def _counted(self) -> dict[int, Tally]:
        # two sums of 64-bit hashes and the size tell sets apart
        rows = self.con.execute("""
            SELECT group_no, count(*), sum(hash(ask_no, profile_no, state_no))::VARCHAR,
                   sum(hash(state_no, profile_no, ask_no, 'again'))::VARCHAR
            FROM member GROUP BY group_no ORDER BY group_no""").fetchall()
        found: dict[int, Tally] = {}
        for group, *signature in rows:
            key = tuple(signature)
            if key not in self.known:
                set_no = len(self.known) + 1
                self.con.execute(
                    "INSERT INTO set_member SELECT ?, ask_no, profile_no, state_no FROM member "
                    "WHERE group_no = ?",
                    [set_no, group],
                )
                self.known[key] = self._count(set_no)
            found[group] = self.known[key]
        return found

    def _hits(self, set_no: int) -> str:
        """SQL for the rows of `tally` in one set, once for each ask that the set tells apart."""
        (free,) = self.con.execute(
            f"SELECT bool_and(ask_no = {_EVERY_ASK}) FROM set_member WHERE set_no = ?", [set_no]
        ).fetchone() or (True,)
        members = f"(SELECT * FROM set_member WHERE set_no = {int(set_no)})"
        if free:
            return f"SELECT t.* FROM tally t SEMI JOIN {members} m ON m.profile_no = t.profile_no"
        return f"""
            SELECT t.* FROM tally t
            JOIN (SELECT DISTINCT profile_no, ask_no FROM {members}) a
                ON a.profile_no = t.profile_no
            LEFT JOIN consented c ON c.subject_no = t.subject_no AND c.kind_no = t.kind_no
                AND c.ask_no = a.ask_no
            SEMI JOIN {members} m ON m.profile_no = t.profile_no AND m.ask_no = a.ask_no
                AND m.state_no = coalesce(c.state_no, {NO_CONSENT})"""

    def _count(self, set_no: int) -> Tally:
        asks, *kind_numbers = self.con.execute(
            "SELECT [count(DISTINCT ask_no)] || list(DISTINCT kind_no ORDER BY kind_no) "
            "FROM set_member JOIN profile USING (profile_no) JOIN kind USING (kind) "
            "WHERE set_no = ?",
            [set_no],
        ).fetchall()[0][0]
        hits = self._hits(set_no)
        by_item = f"""
            SELECT item_no, max(count) AS n, bool_or(is_certain) AS sure,
                   coalesce(max(count) FILTER (subject_no IS NULL), 0) AS unknown
            FROM ({hits}) GROUP BY item_no"""
        if self.single and asks == 1:
            by_item = f"""
                SELECT item_no, count AS n, is_certain AS sure, subject_no,
                       CASE WHEN subject_no IS NULL THEN count ELSE 0 END AS unknown
                FROM ({hits})"""
        people = "count(DISTINCT subject_no)" if self.single and asks == 1 else "NULL"
        items, records, unknown, possible, samples, known = self.con.execute(f"""
            SELECT count(*), sum(n)::BIGINT, sum(unknown)::BIGINT,
                   coalesce(sum(n) FILTER (NOT sure), 0)::BIGINT, min(item_no, {MAX_SAMPLES}),
                   {people}
            FROM ({by_item})""").fetchall()[0]
        if known is None:
            (known,) = self.con.execute(
                f"SELECT count(DISTINCT subject_no) FROM ({hits})"
            ).fetchall()[0]
        kinds = {self.kinds[number]: records for number in kind_numbers}
        if len(kinds) > 1:
            kinds = {
                self.kinds[number]: count
                for number, count in self.con.execute(f"""
                    SELECT kind_no, sum(n)::BIGINT FROM (
                        SELECT item_no, kind_no, max(count) AS n FROM ({hits}) GROUP BY ALL)
                    GROUP BY kind_no ORDER BY kind_no""").fetchall()
            }
        return Tally(set_no, items, records, unknown, known, possible, samples, kinds)

    def states(self, set_no: int, asks: Sequence[int]) -> dict[int, int]:
        """Records of a set by the state of consent to any of `asks`; -1: the person is unknown."""
        key = (set_no, *asks)
        if key not in self.states_of:
            listed = ", ".join(str(int(ask)) for ask in asks)
            rows = self.con.execute(f"""
                WITH mine AS (
                    SELECT a.ask_no, m.profile_no, m.ask_no = {_EVERY_ASK} AS free, m.state_no
                    FROM set_member m, (SELECT unnest([{listed}]) AS ask_no) a
                    WHERE m.set_no = {int(set_no)} AND m.ask_no IN ({_EVERY_ASK}, a.ask_no))
                SELECT state, sum(n)::BIGINT FROM (
                    SELECT t.item_no, max(t.count) AS n,
                           CASE WHEN t.subject_no IS NULL THEN -1
                                ELSE coalesce(c.state_no, {NO_CONSENT}) END AS state
                    FROM tally t
                    JOIN (SELECT DISTINCT ask_no, profile_no FROM mine) a
                        ON a.profile_no = t.profile_no
                    LEFT JOIN consented c ON c.subject_no = t.subject_no
                        AND c.kind_no = t.kind_no AND c.ask_no = a.ask_no
                    SEMI JOIN mine m ON m.profile_no = t.profile_no AND m.ask_no = a.ask_no
                        AND (m.free OR m.state_no = coalesce(c.state_no, {NO_CONSENT}))
                    GROUP BY ALL)
                GROUP BY state ORDER BY state""").fetchall()
            self.states_of[key] = dict(rows)
        return self.states_of[key]

    # ------------------------------------------------------------ listing

    def locations(self, item_numbers: Sequence[int]) -> dict[int, str]:
        """The locations of a few items."""
        if not item_numbers:
            return {}
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
