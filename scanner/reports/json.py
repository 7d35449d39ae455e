"""JSON for programs: one object, schema "consentry/1".

    schema      "consentry/1"
    run         id, version, started, finished, as_of, targets, policies, settings,
                notes, interrupted
    summary     verdicts    findings by verdict {violation, review, compliant}
                levels      violations by level {error, warning, note}
                suppressed  findings that somebody suppressed; they are in no other number
                coverage    objects by state {scanned, unchanged, partial, excluded, error}
                complete    true only if all listed was looked at whole, or excluded by a rule
                exit_code   that of the command: 0, 1, 2, 3, 4 or 130
    findings    rows of schemas.FINDINGS, worst first
    coverage    counts      as in summary
                rows        of schemas.COVERAGE that are neither scanned nor unchanged
    detections  records by kind
    pictures    by dataset, each picture counted once: dataset_id, no_face, portraits (one face, a
                tenth of the picture or more), some_faces, crowds (more than ten faces), documents
                (an identity document); [] also for runs of versions that did not count
    rules       the texts of the rules that were judged: id, version, pack, title, level, law_cite,
                citation, duty, remedy, link

Times are ISO 8601 in UTC with a Z. Names are exact: control, bidirectional and other invisible
characters stand as \\uXXXX. The arrays `findings`, `coverage.rows` and `rules` have one row a line.
"""

from __future__ import annotations

import dataclasses
from typing import IO

from scanner.model import SavedRun
from scanner.reports import RenderOptions, to_stream
from scanner.reports._findings import gap_rows, tally, told_findings
from scanner.reports._stream import write_json
from scanner.schemas import SCHEMA_VERSION


def write(run: SavedRun, out: IO[bytes], options: RenderOptions) -> None:
    findings = told_findings(run)
    numbers = tally(run, findings)
    info = run.info
    write_json(
        out,
        {
            "schema": SCHEMA_VERSION,
            "run": {
                "id": info.id,
                "version": info.version,
                "started": info.started,
                "finished": info.finished,
                "as_of": info.as_of,
                "targets": list(info.targets),
                "policies": list(info.policies),
                "settings": dict(info.settings),
                "notes": list(info.notes),
                "interrupted": info.interrupted,
            },
            "summary": {
                "verdicts": numbers.verdicts,
                "levels": numbers.levels,
                "suppressed": numbers.suppressed,
                "coverage": numbers.coverage,
                "complete": run.complete,
                "exit_code": run.exit_code,
            },
            "findings": (dataclasses.asdict(finding) for finding in findings),
            "coverage": {"counts": numbers.coverage, "rows": gap_rows(run.coverage_gaps)},
            "detections": dict(sorted(run.detection_counts.items())),
            "pictures": [dataclasses.asdict(counts) for counts in run.pictures],
            "rules": (
                dataclasses.asdict(rule) for rule in sorted(run.rules, key=lambda rule: rule.id)
            ),
        },
    )


REPORT = to_stream("json", ".json", write)
