"""What credentials allow in an S3 bucket, asked with requests that can change nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

from scanner.errors import StoreError
from scanner.model import ObjectInfo, StoreSpec
from scanner.stores.rights import Answer, Examination, Right
from scanner.stores.s3 import S3Store, bucket_and_prefix, endpoint_host, new_client, new_session
from scanner.stores.s3_errors import short, start_error

FIRST_OBJECTS = 1_000  # one page
ATTEMPTS = 3
PROBE_KEY = "consentry-doctor-asks-and-writes-nothing"
PROBE_UPLOAD = "consentry-doctor-no-such-upload"
WRITES = (
    "s3:Put*", "s3:Delete*", "s3:Create*", "s3:Update*", "s3:Replicate*", "s3:Restore*",
    "s3:AbortMultipartUpload", "s3:BypassGovernanceRetention",
    "s3:ObjectOwnerOverrideToBucketOwner",
)  # fmt: skip
_NOT_ASKED = (
    "--probe-write asks with an upload part for an upload that does not exist, "
    "which can change nothing"
)
_ANYBODY = ("/global/AllUsers", "/global/AuthenticatedUsers")


def s3_rights(spec: StoreSpec, probe_write: bool) -> Examination:
    """Sends LIST and GET only, unless `probe_write`.

    Raises UsageError where the bucket cannot be asked at all (name, endpoint, credentials).
    """
    bucket, prefix = bucket_and_prefix(spec.url)
    try:
        client = new_client(new_session(spec), spec, ATTEMPTS)
    except Exception as error:
        raise start_error(error, f"s3://{bucket}", "the endpoint") from None
    try:
        return _Asking(client, spec, bucket, prefix).rights(probe_write)
    finally:
        client.close()


class _Asking:
    def __init__(self, client: Any, spec: StoreSpec, bucket: str, prefix: str) -> None:
        self._client = client
        self._spec = spec
        self._bucket = bucket
        self._prefix = prefix
        self._single = False
        self._kms_key = ""

    def rights(self, probe_write: bool) -> Examination:
        listed, infos = self._list()
        read = self._read(infos)
        found = (listed, read, self._versions(), self._public(), self._write(probe_write))
        region = self._ask("get_bucket_location")
        remarks = [f"endpoint: {endpoint_host(self._client)}"]
        if isinstance(region, dict):  # the oldest region's name is null
            remarks.append(f"region: {region.get('LocationConstraint') or 'us-east-1'}")
        return Examination(
            f"s3://{self._bucket}/{self._prefix}",
            found,
            least_policy(
                self._client.meta.partition,
                self._bucket,
                self._prefix,
                single=self._single,
                as_written=self._spec.url.partition("://")[2].partition("/")[2],
                versions=self._spec.all_versions,
                kms_key=self._kms_key,
            ),
            tuple(remarks),
        )

    def _ask(self, operation: str, **request: Any) -> Any:
        """The answer, or the exception: each question is asked whatever came of the others."""
        try:
            return getattr(self._client, operation)(Bucket=self._bucket, **request)
        except Exception as error:
            return error

    # ------------------------------------------------------------ one question each

    def _list(self) -> tuple[Right, list[ObjectInfo]]:
        try:
            store = S3Store(replace(self._spec, all_versions=False), attempts=ATTEMPTS)
            self._prefix, self._single = store.prefix, store.single
            infos = list(islice(store.list(), FIRST_OBJECTS))
        except StoreError as error:
            return Right("list", "no", error.detail), []
        if not infos:
            return Right("list", "yes", "there is no object here"), []
        many = "the first " if len(infos) == FIRST_OBJECTS else ""
        tiers: dict[str, int] = {}
        for info in infos:
            if info.problem is not None:
                tiers[info.problem[1]] = tiers.get(info.problem[1], 0) + 1
        text = "; ".join(f"{count:,} of them {what}" for what, count in sorted(tiers.items()))
        none = "none of them in an archive tier"
        return Right("list", "yes", f"{many}{_count(len(infos))}, {text or none}"), infos

    def _read(self, infos: list[ObjectInfo]) -> Right:
        readable = [info for info in infos if info.problem is None]
        if not readable:
            why = "all are archived" if infos else "nothing was listed that could be read"
            return Right("read", "not known", why)
        info = next((info for info in readable if info.size), readable[0])
        key = self._prefix if self._single else self._prefix + info.key
        span = {"Range": "bytes=0-0"} if info.size else {}
        answer = self._ask("get_object", Key=key, **span)
        if isinstance(answer, Exception):
            return Right("read", "no", f"the first object was refused ({_short(answer)})")
        try:
            answer["Body"].read()
        except Exception as error:
            return Right("read", "no", f"the first object broke off ({_short(error)})")
        finally:
            answer["Body"].close()
        if answer.get("ServerSideEncryption") in {"aws:kms", "aws:kms:dsse"}:
            self._kms_key = str(answer.get("SSEKMSKeyId", ""))
        return Right("read", "yes", "asked for one byte of the first object")

    def _versions(self) -> Right:
        answer = self._ask("list_object_versions", Prefix=self._prefix, MaxKeys=1)
        if isinstance(answer, Exception):
            needs = "only --all-versions needs it" if not self._spec.all_versions else "needed"
            return Right("versions", "no", f"cannot be listed ({_short(answer)}); {needs}")
        kept = self._ask("get_bucket_versioning")
        if isinstance(kept, Exception):
            return Right("versions", "yes", "can be listed")
        state = {"Enabled": "keeps", "Suspended": "once kept"}.get(kept.get("Status", ""))
        text = f"can be listed; the bucket {state or 'does not keep'} old versions"
        return Right("versions", "yes", text)

    def _public(self) -> Right:
        answer = self._ask("get_bucket_policy_status")
        if isinstance(answer, Exception):
            if _short(answer) == "NoSuchBucketPolicy":
                return Right("public", "no", "the bucket has no policy of its own")
            return Right("public", "not known", f"may not be asked ({_short(answer)})")
        if answer.get("PolicyStatus", {}).get("IsPublic"):
            return Right("public", "yes", "by the bucket's policy")
        return Right("public", "no", "by the bucket's policy")

    def _write(self, probe: bool) -> Right:
        if probe:
            return self._probe()
        policy, acl = self._ask("get_bucket_policy"), self._ask("get_bucket_acl")
        says: Answer = "not known"
        if not isinstance(policy, Exception):
            says = policy_says(str(policy.get("Policy", "")), self._bucket, self._prefix)
        if says == "yes":
            return Right("write", "yes", "the bucket's policy lets anyone write")
        if says == "no":
            return Right("write", "no", "the bucket's policy denies it to everybody")
        if not isinstance(acl, Exception) and acl_lets_anyone_write(acl):
            return Right("write", "yes", "the bucket's access list lets anyone write")
        return Right("write", "not known", _NOT_ASKED)

    def _probe(self) -> Right:
        """None of these requests can create anything: the upload they belong to does not exist."""
        where = {"Key": self._prefix + PROBE_KEY, "UploadId": PROBE_UPLOAD}
        known = _short(self._ask("list_parts", **where))
        if known not in {"NoSuchUpload", "AccessDenied"}:
            # A server that knows no uploads would take the part for a whole object.
            return Right("write", "not known", f"the store knows no upload parts ({known})")
        sent = _short(self._ask("upload_part", **where, PartNumber=1, Body=b""))
        if sent == "NoSuchUpload":
            text = "an upload part was refused only because its upload does not exist"
            return Right("write", "yes", text)
        if sent == "AccessDenied":
            part = {"PartNumber": 1, "ETag": '"00000000000000000000000000000000"'}
            upload = {"Parts": [part]}
            sent = _short(self._ask("complete_multipart_upload", **where, MultipartUpload=upload))
            if sent == "AccessDenied":
                return Right("write", "no", "upload parts are refused (AccessDenied)")
        return Right("write", "not known", f"the store gave no clear answer ({sent})")


# ---------------------------------------------------------------- what a bucket says of itself


def policy_says(text: str, bucket: str, prefix: str) -> Answer:
    """Whether a bucket policy lets anyone write below the prefix, or denies it to everybody.

    Statements about some principals only, or with conditions, say nothing about us.
    """
    try:
        statements = json.loads(text)["Statement"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "not known"
    allowed: set[str] = set()
    denied: set[str] = set()
    for statement in _many(statements):
        if not isinstance(statement, dict) or statement.get("Condition"):
            continue
        if not _everybody(statement.get("Principal")):
            continue
        if not any(_covers(str(r), bucket, prefix) for r in _many(statement.get("Resource"))):
            continue
        names = [str(name).lower() for name in _many(statement.get("Action"))]
        writes = {
            write
            for write in ("s3:putobject", "s3:deleteobject")
            if any(fnmatchcase(write, name.replace("[", "[[]")) for name in names)
        }
        if statement.get("Effect") == "Allow":
            allowed |= writes
        elif statement.get("Effect") == "Deny":
            denied |= writes
    if allowed - denied:
        return "yes"
    return "no" if len(denied) == 2 else "not known"


def acl_lets_anyone_write(acl: Mapping[str, Any]) -> bool:
    return any(
        grant.get("Permission") in {"WRITE", "FULL_CONTROL"}
        and str(grant.get("Grantee", {}).get("URI", "")).endswith(_ANYBODY)
        for grant in acl.get("Grants", ())
    )


def _many(value: object) -> list[object]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _everybody(principal: object) -> bool:
    if isinstance(principal, dict):
        principal = principal.get("AWS")
    return "*" in _many(principal)


def _covers(resource: str, bucket: str, prefix: str) -> bool:
    """Whether a resource names every key below the prefix."""
    if resource == "*":
        return True
    found = re.fullmatch(r"arn:aws[a-z-]*:s3:::([^*?$]*)\*+", resource)
    return found is not None and f"{bucket}/{prefix}".startswith(found[1])


# ---------------------------------------------------------------- the least that a scan needs


def least_policy(
    partition: str,
    bucket: str,
    prefix: str,
    *,
    single: bool = False,
    as_written: str = "",
    versions: bool = False,
    kms_key: str = "",
) -> dict[str, object]:
    """An IAM policy for exactly this target. `as_written`: the target's own prefix, which is listed
    once to find out whether it is a folder or an object.
    """
    arn = f"arn:{partition}:s3:::{bucket}"
    within = _literal(prefix) if single else _literal(prefix) + "*"
    listing: dict[str, object] = {
        "Sid": "ListTheTarget",
        "Effect": "Allow",
        "Action": ["s3:ListBucket", *(["s3:ListBucketVersions"] if versions else [])],
        "Resource": arn,
    }
    if prefix:
        prefixes = {within, _literal(as_written)} if as_written else {within}
        if single:
            prefixes.add(_literal(prefix) + "/")
        listing["Condition"] = {"StringLike": {"s3:prefix": sorted(prefixes)}}
    statements: list[dict[str, object]] = [
        listing,
        {
            "Sid": "ReadTheTarget",
            "Effect": "Allow",
            "Action": ["s3:GetObject", *(["s3:GetObjectVersion"] if versions else [])],
            "Resource": f"{arn}/{within}",
        },
    ]
    if kms_key.startswith("arn:"):
        decrypt = {"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": kms_key}
        statements.append({"Sid": "DecryptWhatIsRead", **decrypt})
    statements.append(
        {
            "Sid": "NeverWrite",
            "Effect": "Deny",
            "Action": list(WRITES),
            "Resource": [arn, f"{arn}/*"],
        }
    )
    return {"Version": "2012-10-17", "Statement": statements}


def _literal(text: str) -> str:
    """IAM's wildcards and variables stand for themselves when written as ${*}, ${?}, ${$}."""
    return re.sub(r"[*?$]", lambda found: "${" + found[0] + "}", text)


# ---------------------------------------------------------------- small things


def _short(answer: object) -> str:
    return short(answer) if isinstance(answer, Exception) else "it was accepted"


def _count(number: int) -> str:
    return "1 object" if number == 1 else f"{number:,} objects"
