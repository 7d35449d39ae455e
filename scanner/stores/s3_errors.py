"""What the answers of an S3 store, and the failures of the SDK, mean to the person who asked.

Texts of the SDK or of the server are never passed on: they may hold hosts, keys and signatures.
"""

from __future__ import annotations

import re

from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from scanner.errors import ScannerError, StoreError, UsageError
from scanner.model import Reason

UNREACHABLE = (sdk.HTTPClientError, sdk.ConnectionError)

_WRONG_KEYS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity"})
_EXPIRED = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"}
)
# Requests that the SDK sends on its own to get credentials.
_SIGNING_IN = frozenset(
    {"AssumeRole", "AssumeRoleWithWebIdentity", "AssumeRoleWithSAML", "GetRoleCredentials",
     "CreateToken", "CreateOAuth2Token"}
)  # fmt: skip
_NOT_SIGNED_IN = (
    sdk.NoCredentialsError,
    sdk.NoAuthTokenError,
    sdk.PartialCredentialsError,
    sdk.CredentialRetrievalError,
    sdk.TokenRetrievalError,
    sdk.SSOTokenLoadError,
    sdk.UnauthorizedSSOTokenError,
)
_OTHER_REGION = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
_ARCHIVES = frozenset(
    {"GLACIER", "DEEP_ARCHIVE", "INTELLIGENT_TIERING", "ARCHIVE_ACCESS", "DEEP_ARCHIVE_ACCESS"}
)
_BUSY = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded"})
_CODE = re.compile(r"[A-Za-z0-9.]{1,64}")  # the server's own text: printed only if it looks so


def code(error: sdk.ClientError) -> str:
    found = str(error.response.get("Error", {}).get("Code", ""))
    return found if _CODE.fullmatch(found) else f"HTTP {status(error)}"


def status(error: sdk.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_busy(error: sdk.ClientError) -> bool:
    return code(error) in _BUSY or status(error) == 429 or status(error) >= 500


def short(error: Exception) -> str:
    return code(error) if isinstance(error, sdk.ClientError) else type(error).__name__


def expired(error: Exception) -> str | None:
    """What tells that no further request would fare better: the credentials; None if none does.

    Meant for stores that have been reached before: then a key that is unknown was withdrawn.
    """
    match error:
        case sdk.ClientError():
            found = code(error)
            if found in _EXPIRED or found == "InvalidAccessKeyId":
                return found
            if error.operation_name in _SIGNING_IN and not is_busy(error):
                return found
        case RuntimeError() if "still expired" in str(error):  # botocore's RefreshableCredentials
            return "still expired"
        case _ if isinstance(error, _NOT_SIGNED_IN):
            return type(error).__name__
    return None


def start_error(error: Exception, where: str, endpoint: str) -> ScannerError:
    """Why a bucket cannot be used at all, in one line that says what to do."""
    match error:
        case ScannerError():
            return error
        case sdk.ClientError():
            return _refused(error, where, endpoint)
        case sdk.ProfileNotFound():
            text = "the profile asked for is not in the AWS files; check --profile and AWS_PROFILE"
        case sdk.NoCredentialsError() | sdk.NoAuthTokenError():
            text = (
                "no AWS credentials found; sign in, set AWS_PROFILE or --profile, "
                "or use --anonymous for a public bucket"
            )
        case sdk.NoRegionError() | sdk.InvalidRegionError():
            text = "no usable region; set --region or AWS_REGION"
        case sdk.ParamValidationError():
            text = "not a legal bucket name; write s3://bucket or s3://bucket/prefix"
        case sdk.HTTPClientError() | sdk.ConnectionError():
            text = (
                f"cannot reach {endpoint} ({short(error)}); "
                "check the network, --endpoint-url and --region"
            )
        case ResponseParserError():
            text = f"{endpoint} does not answer like an S3 store; check --endpoint-url"
        case ValueError():  # botocore's "Invalid endpoint"
            text = "the endpoint is not a URL; write http://host:port"
        case _:
            text = f"the AWS SDK gave up ({short(error)}); check the credentials and the AWS files"
    return UsageError(f"{where}: {text}")


def _refused(error: sdk.ClientError, where: str, endpoint: str) -> ScannerError:
    found = code(error)
    versions = error.operation_name == "ListObjectVersions"
    if found == "NoSuchBucket":
        return UsageError(f"{where}: no such bucket; check the name and the endpoint")
    if found in _WRONG_KEYS:
        return UsageError(
            f"{where}: the store does not accept these credentials ({found}); "
            "check AWS_PROFILE, --profile or the keys in the environment"
        )
    if found in _EXPIRED:
        return UsageError(f"{where}: the credentials have expired ({found}); sign in again")
    if found in _OTHER_REGION or status(error) == 301:
        return UsageError(
            f"{where}: the bucket is in another region ({found}); set --region or AWS_REGION"
        )
    if found == "RequestTimeTooSkewed":
        return UsageError(f"{where}: this machine's clock is too far from the store's; set it")
    if status(error) in {401, 403}:
        needed = "s3:" + ("ListBucketVersions" if versions else "ListBucket")
        return StoreError("denied", f"{where}: no permission to list it ({found}); needs {needed}")
    if versions and (status(error) == 501 or found == "NotImplemented"):
        return UsageError(f"{where}: {endpoint} keeps no versions; leave out --all-versions")
    if found == "500":  # the SDK's own code for an answer that is no listing at all
        return UsageError(f"{where}: {endpoint} does not answer like an S3 store; check it")
    if is_busy(error):
        return StoreError("throttled", f"{where}: the store kept refusing ({found}); try later")
    return UsageError(
        f"{where}: {endpoint} refused to list it ({found}); check the target and the endpoint"
    )


def open_problem(error: Exception) -> tuple[Reason, str]:
    """Why one object could not be read: coverage reason and detail."""
    if isinstance(error, UNREACHABLE):
        return "timeout", f"the store did not answer ({short(error)})"
    if not isinstance(error, sdk.ClientError):
        return "denied", f"the AWS SDK gave up ({short(error)})"
    found = code(error)
    if found == "InvalidObjectState":
        told = [str(error.response.get(name, "")) for name in ("StorageClass", "AccessTier")]
        where = ", ".join(name for name in told if name in _ARCHIVES)
        return "denied", f"archived{' in ' * bool(where)}{where}; must be restored first"
    if found in _EXPIRED:
        return "denied", f"the credentials have expired ({found}); sign in again"
    if status(error) in {412, 416}:  # If-Match failed; shorter than listed
        return "changed", "changed after it was listed"
    if status(error) == 404:
        return "vanished", "listed, but no longer there"
    if is_busy(error):
        return "throttled", f"the store kept refusing ({found})"
    return "denied", f"the store refused it ({found})"
