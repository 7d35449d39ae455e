"""`consentry policies explain --finding`: the very facts that led to one verdict of a saved run."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scanner.errors import ScannerError, UsageError

if TYPE_CHECKING:
    from scanner.model import SavedRun
    from scanner.policy import Rule

_NAMED = 3  # of the findings that an id may mean


def finding_text(
    prefix: str,
    run: str,
    output: Path,
    packs: Sequence[str],
    key_file: Path | None,
    redact_paths: bool,
) -> str:
    """What `policies explain --finding` prints: about the finding whose id begins with `prefix`.

    `run`: its id, its folder, or 'last' below `output`. `packs` are looked through for the rule as
    it is today. Raises UsageError where there is no such run or finding, or more than one.
    """
    import pyarrow.compute as pc

    from scanner import runs, seal
    from scanner.policy import explain_finding
    from scanner.reports import visible

    saved = runs.load(runs.named(run, output))
    finding_id = _finding_id(saved, prefix)
    kept = runs.kept(saved.folder)
    if redact_paths:
        from scanner.redaction import redacted, redacted_kept
        from scanner.subjects import SubjectKey

        key = SubjectKey.load(key_file)
        kept = redacted_kept(saved, kept, key)
        with redacted(saved, key, files=False) as view:
            saved = view
    [row] = [row for row in saved.findings.to_pylist() if row["finding_id"] == finding_id]
    facts = None
    if kept.facts is not None:
        mine = kept.facts.filter(pc.equal(kept.facts.column("finding_id"), finding_id))
        facts = [_visible(fact, visible) for fact in mine.to_pylist()]
    rule = next((rule for rule in saved.rules if rule.id == row["rule_id"]), None)
    text = explain_finding(
        _visible(row, visible), rule, facts, _today(row["rule_id"], saved, packs)
    )
    state = seal.state(seal.verify(runs.named(run, output), None))
    made = f"Run {saved.info.id}, by consentry {saved.info.version}; seal: {state}."
    more = f"The rule itself: `consentry policies explain {row['rule_id']}`."
    return "\n".join([text, textwrap.fill(visible(made), 80), visible(more), ""])


def _finding_id(saved: SavedRun, prefix: str) -> str:
    wanted = prefix.strip().lower()
    ids = sorted({str(i) for i in saved.findings.column("finding_id").to_pylist()})
    hint = f"`consentry report {saved.info.id} -f json` lists the findings with their ids"
    if not wanted:
        raise UsageError(f"--finding: expected an id or the beginning of one; {hint}")
    if wanted in ids:
        return wanted
    found = [i for i in ids if i.startswith(wanted)]
    if not found:
        raise UsageError(f"no finding of run {saved.info.id} has an id that begins so; {hint}")
    if len(found) > 1:
        several = ", ".join(found[:_NAMED]) + (" …" if len(found) > _NAMED else "")
        raise UsageError(
            f"the ids of {len(found)} findings of run {saved.info.id} begin so: {several}; give "
            "more of it"
        )
    return found[0]


def _visible(row: Mapping[str, Any], visible: Callable[[str], str]) -> dict[str, Any]:
    """On one line each, and nothing in them acts on a terminal."""

    def shown(value: object) -> object:
        if isinstance(value, list):
            return [shown(v) for v in value]
        return visible(value) if isinstance(value, str) else value

    return {name: shown(value) for name, value in row.items()}


def _today(rule_id: str, saved: SavedRun, packs: Sequence[str]) -> Rule | None:
    """The rule as it is now: in `packs`, else in those that the run names, else in the built-in."""
    from scanner.policy import builtin_pack_names, load_packs

    for names in (tuple(packs), saved.info.policies, builtin_pack_names()):
        try:
            found = load_packs(names, Path.cwd()) if names else ()
        except ScannerError:
            if names == tuple(packs):
                raise
            continue  # a folder of rules that is not here any more
        for rule in (rule for pack in found for rule in pack.rules):
            if rule.id == rule_id:
                return rule
    return None
