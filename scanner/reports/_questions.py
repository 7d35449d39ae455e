"""What an impact assessment asks and only a person can answer, with the source of each question.

The order is that of GDPR 35(7)(a) to (d); the questions of PIPC's model stand beside. The words are
ours: nothing is quoted. How sure a source is, is said with each one, as in the rule packs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Part = Literal["due", "description", "necessity", "risks", "measures", "ai", "decision"]


@dataclass(frozen=True, slots=True)
class Question:
    """One blank of the draft."""

    part: Part
    title: str
    text: str
    cite: str
    citation: str  # verified | secondary | unverified
    evidence: tuple[str, ...] = ()  # kinds of evidence that may hold the answer


QUESTIONS = (
    Question(
        "due", "Whether it is required",
        "Is an assessment required here, by which law, or is it made by choice? Who says so?",
        "GDPR 35(1), 35(3); PIPA 33", "secondary",
        ("DPIA_NOT_REQUIRED", "PIA_NOT_NEEDED", "RISK_ASSESSMENT_NOT_REQUIRED"),
    ),
    Question(
        "description", "The operations",
        "What is done with the data, step by step, from collection to erasure: by whom, with which "
        "systems, and who can see it?",
        "GDPR 35(7)(a)", "secondary", ("PROCESSING_REGISTER",),
    ),
    Question(
        "description", "The purposes",
        "What exactly is each purpose? Where it rests on a legitimate interest: whose, and which?",
        "GDPR 35(7)(a)", "secondary",
    ),
    Question(
        "description", "What the scan did not see",
        "Which copies, backups, systems and people belong to this processing beyond what was "
        "scanned? How many people in all, and for how long?",
        "GDPR 35(7)(a)", "secondary",
    ),
    Question(
        "necessity", "Necessity",
        "Why can the purpose not be reached with fewer people, fewer fields, no faces at all, or "
        "drawn data? Who would notice if the data were left out?",
        "GDPR 35(7)(b)", "secondary", ("MINIMISATION",),
    ),
    Question(
        "necessity", "Legal basis",
        "Does the basis on record really carry each purpose and each recipient? Where features are "
        "extracted to recognise people: which condition allows that, too?",
        "GDPR 35(7)(b), 6, 9", "secondary",
        ("LEGAL_BASIS_ATTESTED", "ATTESTATION", "DECISION", "EXPLICIT_CONSENT"),
    ),
    Question(
        "necessity", "Proportion and rights",
        "Does the gain outweigh what it means for the people? How are they told, how do they "
        "object, withdraw or have their data erased, and when is the data erased in any case?",
        "GDPR 35(7)(b)", "secondary", ("NOTICE", "NOTICE_NAMES_RECIPIENT", "RETENTION_POLICY"),
    ),
    Question(
        "risks", "Risks to people",
        "What could happen to them (being recognised elsewhere, tracked, refused something, "
        "confused with somebody, exposed by a leak)? How likely is each, and how grave?",
        "GDPR 35(7)(c)", "secondary",
    ),
    Question(
        "risks", "Who is hit hardest",
        "Are there children, or others who cannot refuse or defend themselves (applicants, "
        "travellers at a border, employees)? Does it work worse for some groups?",
        "GDPR 35(7)(c)", "secondary",
    ),
    Question(
        "measures", "Measures",
        "What is done about each risk and each violation above, by whom, by when, and what risk "
        "remains?",
        "GDPR 35(7)(d)", "secondary", ("DPIA", "PIA", "PIA_SUBMITTED", "RISK_ASSESSMENT"),
    ),
    Question(
        "measures", "Security",
        "Who can reach the data, how is that limited and logged, is it encrypted, and are the keys "
        "that name people kept apart from the faces?",
        "GDPR 35(7)(d)", "secondary", ("KEY_SEPARATION", "AI_SAFEGUARDS", "SECURITY_ASSESSMENT"),
    ),
    Question(
        "ai", "Kind and stage",
        "What kind of system is it (one that generates, or one that tells apart), and which stage "
        "of its life is this: planning, collecting, training, use?",
        "PIPC AI model 2024-12", "secondary",
    ),
    Question(
        "ai", "Origin and history of use",
        "Where does each dataset come from, who used it before, for what, and is that on record?",
        "PIPC AI model 2024-12", "secondary",
        ("ORIGIN", "SOUND_SOURCE", "USAGE_HISTORY"),
    ),
    Question(
        "ai", "What was taken out",
        "What was removed or pseudonymised before training, what was left in, and why? Could the "
        "people be recognised again?",
        "PIPC AI model 2024-12", "secondary",
        ("MINIMISATION", "PSEUDONYMISATION", "PSEUDONYM_RECORD", "NO_RE_IDENTIFICATION"),
    ),
    Question(
        "ai", "Who answers for what",
        "How is the work divided between who supplies the data, who develops, who offers and who "
        "uses the system, and where is that agreed?",
        "PIPC AI model 2024-12", "secondary",
        ("CONTRACT", "TASK_ATTESTATION"),
    ),
    Question(
        "ai", "Requests of people",
        "How does a request to erase or to stop reach the training data, every copy, and what the "
        "model has learnt?",
        "PIPC AI model 2024-12", "secondary", ("ERASURE_SETTLED",),
    ),
    Question(
        "ai", "Tests",
        "Was it tried whether the model gives away faces or facts of its training data? By whom, "
        "with what result?",
        "PIPC AI model 2024-12", "secondary",
    ),
    Question(
        "ai", "Who decides, and when again",
        "Who in charge of privacy signs for this, and when is it looked at again?",
        "PIPC AI model 2024-12", "secondary",
    ),
    Question(
        "decision", "Advice of the data protection officer",
        "What did the officer advise, and where was that not followed: why?",
        "GDPR 35(2)", "unverified",
    ),
    Question(
        "decision", "Views of the people",
        "Were the people, or those who speak for them, heard? If not, why not?",
        "GDPR 35(9)", "unverified",
    ),
    Question(
        "decision", "The authority",
        "If a high risk remains: was the authority consulted before the start? Where an assessment "
        "has to be submitted: when was it?",
        "GDPR 36(1); PIPA 33(1)", "secondary",
        ("PIA_SUBMITTED", "RISK_ASSESSMENT_SUBMITTED", "REGULATOR_DECLARATION"),
    ),
    Question(
        "decision", "Decision",
        "May the processing start, under which conditions? Name, function, date, signature; and "
        "the day by which it is assessed again.",
        "GDPR 35(1), 35(11)", "unverified", ("DECISION",),
    ),
)  # fmt: skip
