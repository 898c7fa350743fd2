//! The slice of the world that one evaluation sees.
//!
//! In scope: turning the shape of a matter with one candidate consent and one candidate agreement
//! into Cedar entities and context, and checking that every entity that a policy may look into is
//! there.
//! Out of scope: choosing the candidates, deciding, what the shape leaves out.
//!
//! Policies may look two steps deep (worker, agency, sector), so the slice is: the worker, both
//! agencies, the item, its category, the basis, and the case, consent and agreement if any. Other
//! agencies, categories and bases are named in sets but never looked into.

use crate::{
    cedar::{type_name, uid},
    reference::Reference,
    shape::{AgreementShape, CaseShape, ConsentShape, LineShape, MatterShape, Party, Period},
};
use cedar_policy::{
    Context, Entities, Entity, EntityTypeName, EntityUid, RestrictedExpression, Schema,
};
use passerelle_model::{
    ids::AgencyId,
    vocabulary::{CaseRole, CategoryKind},
};
use std::collections::{HashMap, HashSet};

macro_rules! names {
    ($($field:ident = $text:literal),* $(,)?) => {
        /// The entity types, parsed once.
        #[derive(Clone, Debug)]
        pub(crate) struct Names {
            $(pub(crate) $field: EntityTypeName,)*
        }

        impl Names {
            pub(crate) fn new() -> Result<Self, String> {
                Ok(Self { $($field: type_name($text)?,)* })
            }
        }
    };
}

names! {
    action = "Action",
    agency = "Agency",
    agreement = "Agreement",
    agreement_state = "AgreementState",
    basis = "Basis",
    basis_code = "BasisCode",
    capacity = "Capacity",
    case = "Case",
    case_role = "CaseRole",
    category = "Category",
    category_code = "CategoryCode",
    category_kind = "CategoryKind",
    consent = "Consent",
    consent_giver = "ConsentGiver",
    consent_method = "ConsentMethod",
    emergency_kind = "EmergencyKind",
    item = "Item",
    profile = "Profile",
    purpose = "Purpose",
    sector = "Sector",
    stage = "Stage",
    threshold = "Threshold",
    worker = "Worker",
    worker_role = "WorkerRole",
}

/// A slice that can't be built: a denial. The text names no input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SliceError {
    #[error("a time lies beyond what policies can compare")]
    Time,
    #[error("the reference data has no highest level for this purpose and category")]
    Level,
    #[error("an entity does not fit the schema: {0}")]
    Entity(String),
    #[error("an entity that policies look into is missing: `{0}`")]
    Missing(String),
}

/// What the worker, the item, the case and the candidates are called: policies tell none of them
/// from another by its name.
const REQUESTER: &str = "requester";
const ASKED: &str = "asked";
const CANDIDATE: &str = "candidate";

/// What one evaluation needs besides the action.
pub(crate) struct Slice {
    pub(crate) principal: EntityUid,
    pub(crate) resource: EntityUid,
    pub(crate) context: Context,
    pub(crate) entities: Entities,
}

/// What the slices of one matter have in common.
pub(crate) struct Base {
    principal: EntityUid,
    resource: EntityUid,
    context: Attributes,
    entities: Entities,
}

/// Builds slices of one matter.
pub(crate) struct Slicer<'a> {
    pub(crate) names: &'a Names,
    pub(crate) reference: &'a Reference,
    pub(crate) schema: &'a Schema,
    pub(crate) matter: &'a MatterShape,
    pub(crate) at: i64,
}

type Attributes = Vec<(&'static str, RestrictedExpression)>;

impl Slicer<'_> {
    /// What every slice of this matter has in it, whatever the candidates, validated against the
    /// schema.
    pub(crate) fn base(&self) -> Result<Base, SliceError> {
        let (names, matter) = (self.names, self.matter);
        let principal = uid(&names.worker, REQUESTER);
        let resource = uid(&names.item, ASKED);
        let basis = uid(&names.basis, matter.basis.code());
        let category = uid(&names.category, matter.item.category.code());
        let mut entities = vec![
            self.agency(&matter.requester)?,
            self.worker(principal.clone())?,
            self.category(category.clone())?,
            self.item(resource.clone(), category)?,
            self.basis(basis.clone())?,
        ];
        // The same name twice would be a conflict; one agency asking itself is for a policy.
        if matter.holder.agency != matter.requester.agency {
            entities.push(self.agency(&matter.holder)?);
        }
        let mut context = vec![
            ("at", long(self.at)),
            (
                "purpose",
                reference(uid(&names.purpose, matter.purpose.code())),
            ),
            ("basis", reference(basis)),
            ("identified", boolean(matter.identified)),
        ];
        if let Some(kind) = matter.emergency {
            let kind = uid(&names.emergency_kind, kind.code());
            context.push(("emergency", reference(kind)));
        }
        if let Some(case) = &matter.case {
            let case = self.case(case)?;
            context.push(("case", reference(case.uid())));
            entities.push(case);
        }
        let mut looked_into: Vec<_> = entities.iter().map(Entity::uid).collect();
        looked_into.push(uid(&names.agency, matter.holder.agency.as_str()));
        let entities = Entities::from_entities(entities, Some(self.schema))
            .map_err(|e| SliceError::Entity(e.to_string()))?;
        require(&entities, &looked_into)?;
        Ok(Base {
            principal,
            resource,
            context,
            entities,
        })
    }

    /// The slice with these candidates.
    pub(crate) fn slice(
        &self,
        base: &Base,
        consent: Option<(&ConsentShape, Period)>,
        agreement: Option<(&AgreementShape, Period)>,
    ) -> Result<Slice, SliceError> {
        let mut context = base.context.clone();
        let mut candidates = Vec::new();
        if let Some((consent, period)) = consent {
            let consent = self.consent(consent, period)?;
            context.push(("consent", reference(consent.uid())));
            candidates.push(consent);
        }
        if let Some((agreement, period)) = agreement {
            let agreement = self.agreement(agreement, period)?;
            context.push(("agreement", reference(agreement.uid())));
            candidates.push(agreement);
        }
        let looked_into: Vec<_> = candidates.iter().map(Entity::uid).collect();
        let mut entities = base.entities.clone();
        if !candidates.is_empty() {
            // Validates these against the schema; those of the base were.
            entities = entities
                .add_entities(candidates, Some(self.schema))
                .map_err(|e| SliceError::Entity(e.to_string()))?;
        }
        require(&entities, &looked_into)?;
        let context = Context::from_pairs(context.into_iter().map(|(k, v)| (k.to_owned(), v)))
            .map_err(|e| SliceError::Entity(e.to_string()))?;
        Ok(Slice {
            principal: base.principal.clone(),
            resource: base.resource.clone(),
            context,
            entities,
        })
    }

    fn agency(&self, agency: &Party) -> Result<Entity, SliceError> {
        let sector = uid(&self.names.sector, agency.sector.code());
        entity(
            uid(&self.names.agency, agency.agency.as_str()),
            vec![
                ("sector", reference(sector)),
                ("active", boolean(agency.active)),
            ],
        )
    }

    fn worker(&self, worker: EntityUid) -> Result<Entity, SliceError> {
        let agency = uid(&self.names.agency, self.matter.requester.agency.as_str());
        let role = uid(&self.names.worker_role, self.matter.role.code());
        entity(
            worker,
            vec![
                ("agency", reference(agency)),
                ("role", reference(role)),
                ("trained", boolean(self.matter.trained)),
            ],
        )
    }

    fn category(&self, category: EntityUid) -> Result<Entity, SliceError> {
        let asked = self.matter.item.category;
        let code = uid(&self.names.category_code, asked.code());
        let kind = uid(&self.names.category_kind, CategoryKind::code(asked.kind()));
        entity(
            category,
            vec![("code", reference(code)), ("kind", reference(kind))],
        )
    }

    fn item(&self, item: EntityUid, category: EntityUid) -> Result<Entity, SliceError> {
        let matter = self.matter;
        let max_level = self
            .reference
            .max_level(matter.purpose, matter.item.category)
            .ok_or(SliceError::Level)?;
        let holder = uid(&self.names.agency, matter.holder.agency.as_str());
        entity(
            item,
            vec![
                ("category", reference(category)),
                ("holder", reference(holder)),
                ("level", long(matter.item.level.rank().into())),
                ("max_level", long(max_level.rank().into())),
            ],
        )
    }

    fn basis(&self, basis: EntityUid) -> Result<Entity, SliceError> {
        let names = self.names;
        let code = uid(&names.basis_code, self.matter.basis.code());
        // A basis that serves no emergency has three empty sets: nothing is in them.
        let emergency = self.reference.emergency(self.matter.basis);
        let kinds = emergency.iter().flat_map(|e| &e.kinds);
        let holders = emergency.iter().flat_map(|e| &e.holders);
        let recipients = emergency.iter().flat_map(|e| &e.recipients);
        entity(
            basis,
            vec![
                ("code", reference(code)),
                (
                    "emergencies",
                    set(kinds.map(|k| uid(&names.emergency_kind, k.code()))),
                ),
                (
                    "holders",
                    set(holders.map(|s| uid(&names.sector, s.code()))),
                ),
                (
                    "recipients",
                    set(recipients.map(|s| uid(&names.sector, s.code()))),
                ),
            ],
        )
    }

    fn case(&self, case: &CaseShape) -> Result<Entity, SliceError> {
        let names = self.names;
        let role = |role: CaseRole| reference(uid(&names.case_role, role.code()));
        let plan = case
            .plan
            .iter()
            .map(|c| uid(&names.category_code, c.code()));
        entity(
            uid(&names.case, CANDIDATE),
            vec![
                (
                    "profile",
                    reference(uid(&names.profile, case.profile.code())),
                ),
                ("stage", reference(uid(&names.stage, case.stage.code()))),
                (
                    "threshold",
                    reference(uid(&names.threshold, case.threshold.code())),
                ),
                ("closed", boolean(case.closed)),
                ("requester_role", role(case.requester_role)),
                ("holder_role", role(case.holder_role)),
                ("plan", set(plan)),
                ("subject_known", boolean(case.same_subject.is_some())),
                ("same_subject", boolean(case.same_subject == Some(true))),
            ],
        )
    }

    fn consent(&self, consent: &ConsentShape, period: Period) -> Result<Entity, SliceError> {
        let names = self.names;
        let agencies = |list: &[AgencyId]| set(list.iter().map(|a| uid(&names.agency, a.as_str())));
        let categories = consent.categories.iter();
        let categories = categories.map(|c| uid(&names.category_code, c.code()));
        let purposes = consent.purposes.iter();
        let purposes = purposes.map(|p| uid(&names.purpose, p.code()));
        entity(
            uid(&names.consent, CANDIDATE),
            vec![
                (
                    "giver",
                    reference(uid(&names.consent_giver, consent.giver.code())),
                ),
                (
                    "capacity",
                    reference(uid(&names.capacity, consent.capacity.code())),
                ),
                (
                    "method",
                    reference(uid(&names.consent_method, consent.method.code())),
                ),
                ("categories", set(categories)),
                ("purposes", set(purposes)),
                ("recipients", agencies(&consent.recipients)),
                ("disclosers", agencies(&consent.disclosers)),
                ("given_at", long(period.from)),
                ("expires_at", long(period.until)),
                ("withdrawn", boolean(consent.withdrawn)),
                ("redisclosure", boolean(consent.redisclosure)),
                ("recorded_by_holder", boolean(consent.recorded_by_holder)),
            ],
        )
    }

    fn agreement(&self, agreement: &AgreementShape, period: Period) -> Result<Entity, SliceError> {
        let names = self.names;
        let parties = agreement.parties.iter();
        let parties = parties.map(|p| uid(&names.agency, p.as_str()));
        let purposes = agreement.purposes.iter();
        let purposes = purposes.map(|p| uid(&names.purpose, p.code()));
        let bases = agreement.bases.iter();
        let bases = bases.map(|b| uid(&names.basis, b.code()));
        let state = uid(&names.agreement_state, agreement.state.code());
        let mut attributes = vec![
            ("parties", set(parties)),
            ("signed_by_all", boolean(agreement.signed_by_all)),
            ("state", reference(state)),
            ("purposes", set(purposes)),
            ("bases", set(bases)),
            ("starts_at", long(period.from)),
            ("ends_at", long(period.until)),
        ];
        if let Some(line) = &agreement.line {
            attributes.push(("line", self.line(line)?));
        }
        entity(uid(&names.agreement, CANDIDATE), attributes)
    }

    fn line(&self, line: &LineShape) -> Result<RestrictedExpression, SliceError> {
        let names = self.names;
        let category = uid(&names.category_code, line.category.code());
        let fields = [
            ("from", reference(uid(&names.agency, line.from.as_str()))),
            ("to", reference(uid(&names.agency, line.to.as_str()))),
            ("category", reference(category)),
            ("level", long(line.level.rank().into())),
        ];
        RestrictedExpression::new_record(fields.map(|(k, v)| (k.to_owned(), v)))
            .map_err(|e| SliceError::Entity(e.to_string()))
    }
}

/// Checks that what policies look into is there: the schema is content with a reference to nothing,
/// and a missing entity is how a guard falls silent.
fn require(entities: &Entities, looked_into: &[EntityUid]) -> Result<(), SliceError> {
    match looked_into.iter().find(|u| entities.get(u).is_none()) {
        Some(missing) => Err(SliceError::Missing(missing.type_name().to_string())),
        None => Ok(()),
    }
}

fn entity(name: EntityUid, attributes: Attributes) -> Result<Entity, SliceError> {
    let attributes: HashMap<_, _> = attributes
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v))
        .collect();
    Entity::new(name, attributes, HashSet::new()).map_err(|e| SliceError::Entity(e.to_string()))
}

fn reference(name: EntityUid) -> RestrictedExpression {
    RestrictedExpression::new_entity_uid(name)
}

fn boolean(value: bool) -> RestrictedExpression {
    RestrictedExpression::new_bool(value)
}

fn long(value: i64) -> RestrictedExpression {
    RestrictedExpression::new_long(value)
}

fn set(names: impl Iterator<Item = EntityUid>) -> RestrictedExpression {
    RestrictedExpression::new_set(names.map(reference))
}
