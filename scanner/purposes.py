"""Compares purposes along the DPV hierarchy and an organisation's own terms: a broader one covers a
narrower one, never the reverse.

A term of the W3C Data Privacy Vocabulary is told by its prefix (`dpv:Marketing`) or its IRI, of any
version; a bare word is the organisation's own. Own terms have a place in the hierarchy only where
`purposes:` in consentry.yaml gives them one; every other term is equal to itself alone, upper and
lower case alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from scanner.circles import circle_in
from scanner.errors import ConfigError

# Term → what is broader, after the purposes of DPV 2 (w3id.org/dpv). Two departures, both towards
# less being allowed: nothing lies under dpv:Purpose (nobody consents to everything), and selling
# data lies under nothing (who consents to a service does not consent to that).
_TREE = """
ResearchAndDevelopment: AcademicResearch CommercialResearch NonCommercialResearch ScientificResearch
CommercialPurpose: CommercialResearch
NonCommercialPurpose: NonCommercialResearch
EnforceSecurity: EnforceAccessControl IdentityAuthentication Verification
EnforceSecurity: MisusePreventionAndDetection
Verification: AgeVerification IdentityVerification
MisusePreventionAndDetection: FraudPreventionAndDetection
FraudPreventionAndDetection: CounterMoneyLaundering MaintainFraudDatabase
Marketing: Advertising DirectMarketing PublicRelations SocialMediaMarketing
Advertising: PersonalisedAdvertising
PersonalisedAdvertising: TargetedAdvertising
Personalisation: PersonalisedAdvertising ServicePersonalisation
ServiceProvision: PaymentManagement RepairImpairments RequestedServiceProvision
ServiceProvision: SearchFunctionalities
ServiceProvision: SellProducts ServiceOptimisation ServicePersonalisation ServiceRegistration
ServiceProvision: ServiceUsageAnalytics TechnicalServiceProvision
RequestedServiceProvision: DeliveryOfGoods
SellProducts: SellProductsToDataSubject
ServiceOptimisation: OptimisationForConsumer OptimisationForController
OptimisationForConsumer: OptimiseUserInterface
OptimisationForController: ImproveExistingProductsAndServices ImproveInternalCRMProcesses
OptimisationForController: IncreaseServiceRobustness InternalResourceOptimisation
ServicePersonalisation: PersonalisedBenefits ProvidePersonalisedRecommendations
ServicePersonalisation: UserInterfacePersonalisation
ProvidePersonalisedRecommendations: ProvideEventRecommendations ProvideProductRecommendations
PublicBenefit: CombatClimateChange Counterterrorism DataAltruism ImproveHealthcare
PublicBenefit: ImprovePublicServices ImproveTransportMobility ProtectionOfNationalSecurity
PublicBenefit: ProtectionOfPublicSecurity ProvideOfficialStatistics PublicPolicyMaking
FulfilmentOfObligation: FulfilmentOfContractualObligation LegalCompliance ProtectionOfIPR
CustomerManagement: CustomerCare CustomerClaimsManagement CustomerOrderManagement
CustomerManagement: CustomerRelationshipManagement CustomerSolvencyMonitoring
CustomerCare: CommunicationForCustomerCare
CommunicationManagement: CommunicationForCustomerCare
CustomerRelationshipManagement: ImproveInternalCRMProcesses
CustomerSolvencyMonitoring: CreditChecking
CreditChecking: MaintainCreditCheckingDatabase MaintainCreditRatingDatabase
HumanResourceManagement: PersonnelManagement
PersonnelManagement: PersonnelHiring PersonnelPayment
OrganisationGovernance: DisputeManagement MemberPartnerManagement OrganisationComplianceManagement
OrganisationGovernance: OrganisationRiskManagement
VendorManagement: VendorPayment VendorRecordsManagement VendorSelectionAssessment
"""
_ALONE = (
    "AccountManagement", "EstablishContractualAgreement", "Purpose", "RecordManagement",
    "RightsFulfillment", "SellDataToThirdParties", "SellInsightsFromData",
)  # fmt: skip

_PREFIX = re.compile(
    r"(?:dpv:|https?://(?:w3id\.org|(?:www\.)?w3\.org/ns)/dpv(?:/[0-9.]+)?(?:/owl)?/?#)",
    re.IGNORECASE,
)
EVERY = "*"  # not a term: what withdrawals and refusals may say


def _tree() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = dict.fromkeys(_ALONE, ())
    for line in _TREE.strip().splitlines():
        broad, _, narrow = line.partition(":")
        found.setdefault(broad, ())
        for name in narrow.split():
            found[name] = (*found.get(name, ()), broad)
    return found


DPV: Mapping[str, tuple[str, ...]] = {
    f"dpv:{name}": tuple(f"dpv:{broad}" for broad in broader)
    for name, broader in sorted(_tree().items())
}
_DPV: Mapping[str, tuple[str, ...]] = {
    name.lower(): tuple(broad.lower() for broad in broader) for name, broader in DPV.items()
}


def folded(text: str) -> str:
    """The form in which purposes are compared: no case, one form for all IRIs of a DPV term."""
    text = text.strip()
    match = _PREFIX.match(text)
    return f"dpv:{text[match.end() :]}".lower() if match else text.lower()


@dataclass(frozen=True, slots=True)
class Purposes:
    """The hierarchy: DPV, and the organisation's own terms (folded) with what is broader."""

    own: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, own: Mapping[str, Iterable[str]], where: str) -> Purposes:
        """With own terms; `where` is what messages call their file.

        Raises ConfigError for a term that is DPV's, for one that is there twice, and for a circle,
        with its path.
        """
        found: dict[str, tuple[str, ...]] = {}
        for term, broader in own.items():
            name = folded(term)
            if name in _DPV:
                raise ConfigError(f"{where}: {term!r} is a DPV term, which has its place already")
            if name in found:
                raise ConfigError(f"{where}: {term!r} is there twice (case makes no difference)")
            found[name] = tuple(dict.fromkeys(folded(other) for other in broader))
            if EVERY in (name, *found[name]):
                raise ConfigError(f"{where}: '*' is no purpose; name what is broader")
        result = cls(found)
        circle = circle_in(found)
        if circle:
            raise ConfigError(
                f"{where}: purposes in a circle: {' → '.join(circle)}; a term cannot be broader "
                "than itself"
            )
        return result

    def broader(self, term: str) -> frozenset[str]:
        """Everything (folded) that covers `term`: itself, and what is broader, all the way up."""
        found: set[str] = set()
        waiting = [folded(term)]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self._above(name)
        return frozenset(found)

    def covers(self, consented: str, asked: str) -> bool:
        """Whether a consent for `consented` is one for `asked`, too."""
        return folded(consented) in self.broader(asked)

    def knows(self, term: str) -> bool:
        """Whether the term has a place in the hierarchy; else it is equal to itself alone."""
        name = folded(term)
        return name in _DPV or name in self.own or any(name in up for up in self.own.values())

    def _above(self, name: str) -> tuple[str, ...]:
        return self.own.get(name) or _DPV.get(name, ())
