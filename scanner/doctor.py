"""`consentry doctor`: what the credentials allow on a target, and the least that a scan needs."""

from __future__ import annotations

import json
import os
import textwrap
from itertools import islice
from pathlib import Path

from scanner.errors import StoreError
from scanner.model import ObjectInfo, StoreSpec, printable
from scanner.reports._visible import visible
from scanner.stores import Store, open_store, public_url
from scanner.stores.local import local_path
from scanner.stores.rights import Answer, Examination, Right

READ_ONLY, CAN_WRITE, CANNOT_READ = 0, 1, 3
FIRST_OBJECTS = 1_000
WIDTH = 80
_LABEL = 11  # columns of "  versions "
_ANSWER = 11  # columns of "not known  "


def examine(spec: StoreSpec, *, probe_write: bool = False) -> Examination:
    """Ask what may be done; sends listings and reads only, unless `probe_write`.

    Raises UsageError where the target cannot be asked at all, MissingExtra.
    """
    scheme = spec.url.partition("://")[0].lower() if "://" in spec.url else "file"
    if scheme in {"s3", "s3a", "s3n"}:
        from scanner.stores.s3_rights import s3_rights

        return s3_rights(spec, probe_write)
    return _by_trying(spec, local=scheme in {"file", "local"})


def exit_code(found: Examination) -> int:
    """0 readable and not known to be writable, 1 writable, 3 not readable."""
    if found.answer("list") != "yes" or found.answer("read") != "yes":
        return CANNOT_READ
    return CAN_WRITE if found.answer("write") == "yes" else READ_ONLY


def render(found: Examination) -> str:
    """Lines of at most 80 columns, but for names that are longer themselves."""
    lines = [visible(printable(found.target)), *(f"  {remark}" for remark in found.remarks), ""]
    for right in found.rights:
        head = f"  {right.name:<{_LABEL - 2}}{right.answer:<{_ANSWER}}"
        lines += textwrap.wrap(
            right.detail, WIDTH, initial_indent=head, subsequent_indent=" " * (_LABEL + _ANSWER)
        )
    lines.append("")
    for warning in _warnings(found):
        lines += [*textwrap.wrap(warning, WIDTH, subsequent_indent="  "), ""]
    if found.policy is not None:
        lines += [
            "The least that a scan of this target needs, as an IAM policy:",
            "",
            *json.dumps(found.policy, indent=2).splitlines(),  # escapes all but ASCII
            "",
        ]
        if "kms:Decrypt" not in str(found.policy):
            remark = (
                "Objects that are encrypted with a KMS key of your own need kms:Decrypt on that "
                "key, too."
            )
            lines += [*textwrap.wrap(remark, WIDTH), ""]
    return "\n".join(lines)


def _warnings(found: Examination) -> list[str]:
    warnings = []
    if found.answer("write") == "yes":
        if found.policy is not None:
            advice = "a scan never does; give it credentials with the policy below"
        else:
            advice = "a scan never does; mount it read-only, or scan as another user"
        warnings.append(f"warning: you can write there; {advice}")
    if found.answer("public") == "yes":
        warnings.append("warning: the bucket is public: anyone may use what its policy allows")
    if found.answer("list") == "no":
        warnings.append("a scan would find nothing: what is there cannot be listed")
    elif found.answer("read") == "no":
        warnings.append("a scan would end with exit code 3: what is there cannot be read")
    return warnings


# ---------------------------------------------------------------- folders and other stores


def _by_trying(spec: StoreSpec, local: bool) -> Examination:
    shown = public_url(spec.url)
    try:
        store = open_store(spec)
        infos = list(islice(store.list(), FIRST_OBJECTS))
    except StoreError as error:
        denied = Right("list", "no", error.detail)
        return Examination(shown, (denied, Right("read", "not known", "nothing was listed")))
    write = _local_write(spec, infos) if local else _not_asked()
    return Examination(shown, (_listed(infos), _read(store, infos, every=local), write))


def _listed(infos: list[ObjectInfo]) -> Right:
    if not infos:
        return Right("list", "yes", "there is nothing here")
    shut = sum(1 for i in infos if i.problem is not None and i.problem[0] in {"denied", "listing"})
    many = "the first " if len(infos) == FIRST_OBJECTS else ""
    closed = f"; {shut:,} of them may not be entered or looked at" if shut else ""
    return Right("list", "yes", f"{many}{_count(len(infos))}{closed}")


def _read(store: Store, infos: list[ObjectInfo], every: bool) -> Right:
    """Local files are all opened, of other stores one object: that may cost money and time."""
    readable = [info for info in infos if info.problem is None and info.excluded is None]
    if not readable:
        return Right("read", "not known", "nothing was listed that could be read")
    tried = readable if every else readable[:1]
    refused = 0
    why = ""
    for info in tried:
        try:
            with store.open(info) as stream:
                stream.read(1)
        except StoreError as error:
            refused, why = refused + 1, error.detail
    shut = sum(1 for info in infos if info.problem is not None and info.problem[0] == "denied")
    if refused or shut:
        total = len(tried) + shut
        return Right(
            "read", "no", f"{refused + shut:,} of {_count(total)} refused: {why or 'shut'}"
        )
    if every:
        return Right("read", "yes", f"{_count(len(tried))} opened")
    return Right("read", "yes", "asked for one byte of the first object")


def _local_write(spec: StoreSpec, infos: list[ObjectInfo]) -> Right:
    top = Path(local_path(spec.url))
    if not top.is_dir():
        places = [top, top.parent]
    else:
        files = [top / info.key for info in infos if info.problem is None]
        places = [top, *sorted({file.parent for file in files} - {top}), *files]
    open_to_us = [place for place in places if _writable(place)]
    if not open_to_us:
        detail = "neither the folders nor the files looked at can be written"
        return Right("write", "no", detail)
    if open_to_us[0] == top:
        what = "files can be created there" if top.is_dir() else "the file can be changed"
        return Right("write", "yes", what)
    inner = f"{len(open_to_us):,} of the {len(places):,} folders and files looked at can be written"
    return Right("write", "yes", inner)


def _writable(place: Path) -> bool:
    return os.access(place, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _not_asked() -> Right:
    answer: Answer = "not known"
    return Right("write", answer, "of this kind of store, only listing and reading are tried")


def _count(number: int) -> str:
    return "1 object" if number == 1 else f"{number:,} objects"
