"""Consent receipts of Kantara 1.1 as rows of the consents registry.

A receipt is always of a consent that was given. One of consent type IMPLICIT is no consent to the
processing of biometric data under any law that we know: it gives no row, and `left_out` counts it.
"""

from __future__ import annotations

from datetime import datetime

from scanner.context.consent_fields import (
    MAX_ROWS_OF_RECORD,
    TOO_MANY_ROWS,
    ConsentRow,
    Fields,
    after,
    categories_of,
    controllers_of,
    flag,
    subject_of,
)
from scanner.moments import parse_moment
from scanner.vocabulary import spelled

_REQUIRED_OF_RECEIPT = (
    "version", "jurisdiction", "collectionMethod", "policyUrl", "services", "sensitive",
)  # fmt: skip


def rows_of_receipt(receipt: Fields) -> list[ConsentRow]:
    for key in _REQUIRED_OF_RECEIPT:
        receipt.need(key)
    subject, record_id = subject_of(receipt, "piiPrincipalId"), receipt.text("consentReceiptID")
    time = receipt.moment("consentTimestamp")
    controllers = controllers_of(receipt, "piiControllers", "piiController", "name")
    rows: list[ConsentRow] = []
    for service in receipt.parts("services"):
        for purpose in service.parts("purposes"):
            kind = spelled(purpose.text("consentType"))
            if kind not in ("explicit", "implicit"):
                raise purpose.wrong("consentType", "expected EXPLICIT or IMPLICIT")
            recipients = list(controllers)
            if _flag_needed(purpose, "thirdPartyDisclosure"):
                recipients += purpose.names("thirdPartyName")
            categories = categories_of(purpose, purpose.names("piiCategory"))
            if purpose.entry.get("purpose") is None:
                names = purpose.names("purposeCategory")
                if not names:
                    raise purpose.wrong("purposeCategory", "is required, and is empty")
            else:
                names = [purpose.text("purpose")]
            if kind == "implicit":
                receipt.left_out += 1
                continue
            end = _ends(purpose, time)
            policy = receipt.find("policyUrl")
            if len(rows) + len(names) * len(recipients) * len(categories) > MAX_ROWS_OF_RECORD:
                raise receipt.wrong("", TOO_MANY_ROWS)
            rows += [
                ConsentRow(
                    subject, name, "given", recipient, category, time, end, record_id, None,
                    flag(purpose, "guardian_verified"),
                    purpose.as_text("policyUrl", policy) if isinstance(policy, str) else None, time,
                )
                for name in names
                for recipient in dict.fromkeys(recipients)
                for category in categories
            ]  # fmt: skip
    return rows


def _flag_needed(record: Fields, key: str) -> bool:
    record.need(key)
    return bool(flag(record, key))


def _ends(purpose: Fields, start: datetime) -> datetime | None:
    """`termination` is free text in the standard: where it names a day or a time span, that."""
    text = purpose.text("termination")
    end = after(start, text) or parse_moment(text, upper=True)
    if end is not None and end <= start:
        raise purpose.wrong("termination", "ends before it starts")
    return end
