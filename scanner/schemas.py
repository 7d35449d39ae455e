"""The Arrow schemas of every table that is read, kept or printed; public and versioned."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = "consentry/1"

TIMESTAMP = pa.timestamp("us", tz="UTC")
_S, _B, _I = pa.string(), pa.bool_(), pa.int64()

COVERAGE = pa.schema(
    [
        ("location", _S),
        ("store_version", _S),
        ("size_bytes", _I),  # null for nested items whose size is not known
        ("media_type", _S),
        ("dataset_id", _S),
        ("state", _S),  # model.State
        ("reason", _S),  # model.Reason or "rule:<pattern>"; null if scanned
        ("detail", _S),
        ("items_seen", _I),
        ("items_total", _I),  # null if not known
        ("is_object", _B),  # false: a nested item that could not be looked at (whole)
        ("pictures", _I),  # of an object: pictures and frames judged in it; null: nested, older
    ]
)
LOOKED_AT = pa.array(["scanned", "unchanged"])  # states of what was looked at whole

DETECTIONS = pa.schema(
    [
        ("location", _S),
        ("item_id", _S),
        ("kind", _S),
        ("representation", _S),
        ("basis", _S),
        ("count", _I),
        ("confidence", pa.float32()),
        ("certainty", _S),
        ("box", pa.list_(pa.float32())),  # [x, y, w, h] pixels of the upright image; null if none
        ("detector", _S),
        ("detector_version", _S),
        ("subject_digest", _S),  # from path or row; the manifest's is joined when judging
        ("dataset_id", _S),
        ("object_key", _S),  # printable key of the object within its target
        ("item_key", _S),  # object_key plus "!/member…": what manifests name
        ("share", pa.float32()),  # 0..1, of the picture in `box`; null: no box, or a second view
    ]
)


def whole(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """`rows` with all columns of `schema`: what an older version did not write is null.

    Raises KeyError for a column that every version has written, pa.ArrowInvalid for other types.
    """
    return pa.table(
        [
            pa.nulls(len(rows), field.type)
            if field.name in _SINCE and field.name not in rows.schema.names
            else rows.column(field.name)
            for field in schema
        ],
        names=schema.names,
    ).cast(schema)


_SINCE = frozenset({"pictures", "share"})  # columns that runs of older versions lack

# Every item looked at in datasets that have a manifest, so that rows and objects can be joined both
# ways.
ITEMS = pa.schema([("dataset_id", _S), ("item_key", _S)])

DATASETS = pa.schema(
    [
        ("dataset_id", _S),
        ("controller", _S),
        ("jurisdiction", _S),
        ("collected_for", _S),
        ("legal_basis", _S),
        ("source", _S),
        ("representation", _S),
        ("retention_until", TIMESTAMP),  # first moment past retention
        ("subject_key_quality", _S),
        ("has_manifest", _B),
    ]
)

MANIFEST_ROWS = pa.schema(
    [
        ("dataset_id", _S),
        ("row", _I),
        ("manifest", _S),  # printable location of the manifest
        ("candidates", pa.list_(_S)),  # item keys that this row may mean, best first
        ("subject_digest", _S),
        ("jurisdiction", _S),
        ("age", pa.float64()),  # years, as written
        ("birth_date", pa.date32()),
    ]
)

CONSENTS = pa.schema(
    [
        ("subject_digest", _S),
        ("purpose", _S),
        ("recipient", _S),
        ("data_category", _S),
        ("state", _S),
        ("valid_from", TIMESTAMP),
        ("valid_until", TIMESTAMP),  # first moment at which it is no longer valid
        ("record_id", _S),
        ("separate", _B),
        ("guardian_verified", _B),
        ("notice_ref", _S),
        ("recorded_at", TIMESTAMP),
    ]
)

TRANSFERS = pa.schema(
    [
        ("transfer_id", _S),
        ("dataset_id", _S),
        ("exporter_id", _S),
        ("importer_id", _S),
        ("role_of_recipient", _S),
        ("role_basis", _S),
        ("mode", _S),
        ("purpose", _S),
        ("legal_basis", _S),
        ("within_original_purpose", _S),
        ("agreement_ref", _S),
        ("published_ref", _S),
        ("published_from", TIMESTAMP),
        ("from_country", _S),
        ("to_country", _S),
        ("transfer_tool", _S),
        ("started_at", TIMESTAMP),
        ("ended_at", TIMESTAMP),
        ("destroyed_at", TIMESTAMP),
        ("onward_to", _S),  # to whom the importer may pass it on: party ids with ";" between, or *
    ]
)

PARTIES = pa.schema([("party_id", _S), ("name", _S), ("type", _S), ("country", _S)])

EVIDENCE = pa.schema(
    [
        ("evidence_id", _S),
        ("kind", _S),
        ("about", _S),
        ("ref", _S),
        ("attested_by", _S),
        ("attested_at", TIMESTAMP),
        ("valid_until", TIMESTAMP),  # first moment at which it is no longer valid
        ("sha256", _S),
    ]
)

FINDINGS = pa.schema(
    [
        ("finding_id", _S),
        ("rule_id", _S),
        ("rule_version", _S),
        ("pack", _S),
        ("law_cite", _S),
        ("verdict", _S),
        ("level", _S),
        ("dataset_id", _S),
        ("transfer_id", _S),
        ("purpose", _S),
        ("recipient", _S),
        ("jurisdiction", _S),
        ("records", _I),
        ("subjects", _I),
        ("subjects_is_upper_bound", _B),
        ("sample_locations", pa.list_(_S)),
        ("reason", _S),
        ("remedy", _S),
        ("first_seen", TIMESTAMP),
        ("evaluated_at", TIMESTAMP),
        ("suppressed_by", _S),
    ]
)

AFFECTED = pa.schema(
    [("finding_id", _S), ("location", _S), ("item_id", _S), ("subject_digest", _S)]
)

# What each finding rests on. `part` says how to read a row:
#   column        all records agree on `value` (null: nothing is on record) of the column `name`
#   differs       they do not; what counts is told by other rows, or the rule does not mind
#   withheld      they agree on the column `name`, but its value is a person's
#   unknown       the column `name` is not on record, and that matters
#   consent kind  so many records (`low`) are in this state of consent, or of this kind
#   measure       the number `name` lies between `low` and `high`, both included
#   evidence      whether evidence of the kind `name` is on record (null: cannot be told)
#   proof lapsed  which evidence (of the kind `name`) is meant, and which has expired, in words
#   younger_than  the people are younger than `low` years
#   possible      so many records (`low`) are only possible detections
#   upstream      why the transfers before do not permit it (`chains.Why`)
#   asked         the rule says that a person must decide
#   settled       without the evidence it would not be compliant
FACTS = pa.schema(
    [("finding_id", _S), ("part", _S), ("name", _S), ("value", _S), ("low", _I), ("high", _I)]
)

# What was counted: a row per dataset × kind × representation; without a kind, the whole dataset;
# without a dataset, everything.
HOLDINGS = pa.schema(
    [
        ("dataset_id", _S),
        ("kind", _S),
        ("representation", _S),
        ("items", _I),
        ("records", _I),
        ("possible_records", _I),  # of these: nothing in the item is certain
        ("people", _I),  # distinct people that are known by their keys, exact
        ("unknown_records", _I),  # of the records: of people who are not known
        ("more_faces", _I),  # in pictures, beyond the first one of each; of whole datasets only
        ("subject_key_quality", _S),  # this and what follows: of whole datasets only
        ("jurisdictions", pa.list_(_S)),  # of the people; null among them: not on record
        ("controller_type", _S),
        ("controller_country", _S),
        ("linked", _B),
        ("has_unique_identifier", _B),
    ]
)
