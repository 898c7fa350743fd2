//! "What could I get?", asked of nobody: what the rules would say of each item at each holder, by
//! what this agency itself knows, before a question leaves.
//!
//! In scope: the facts of the matter from this agent's own journal, the rulings of the decision
//! point that the broker uses, over the rules in force; what is missing for what is denied; what
//! can't be known here. Out of scope: who may look ([`crate::suspicion`]), the local interface
//! ([`crate::api`]).
//!
//! Nothing leaves: the broker is not asked for a handle, and no holder for anything. So the
//! consents of a person about whom this agency never asked can't be looked up, and are as if there
//! were none.

use crate::{
    agreements,
    holder::storage,
    requester::Question,
    standing,
    state::{self, MAX_ROWS, MemberRow},
};
use passerelle_model::{
    bytes::Handle,
    error::ErrorCode,
    ids::AgencyId,
    pdp::{ItemRuling, Matter, Ruling},
    pip,
    records::{Agency, Agreement, Consent},
    state::MAX_CANDIDATES,
    statement::{Item, Reliance},
    store::{Read, StoreError},
    time::Timestamp,
    vocabulary::{Category, Language, Level, Purpose},
};
use passerelle_policies::{
    CedarPdp,
    whatif::{Outlook, is_held, outlook, survey},
};
use passerelle_proto::views::{HolderPreview, ItemView, MissingView, PreviewItem, PreviewLimit};

/// Most holders of one preview: what is missing is looked for at each.
pub const MAX_HOLDERS: usize = 16;

/// What a preview is wanted of.
#[derive(Clone)]
pub struct Wanted {
    /// As it would be asked. Its holder stands for each of `holders`; without items every category
    /// that a holder can have.
    pub question: Question,
    /// Whether a person would be named, with or without a handle that is known here.
    pub is_named: bool,
    /// Who would be asked, [`MAX_HOLDERS`] at most.
    pub holders: Vec<AgencyId>,
}

/// The matter as the broker would collect it, as far as this agency knows.
enum Collected {
    Matter(Box<Matter>),
    /// Too much to look at: the broker denies too.
    TooMany,
}

/// What would be decided at each holder.
///
/// # Errors
/// [`ErrorCode::UnknownAgency`]; [`ErrorCode::UnknownCase`]; the store.
pub fn preview(
    me: &AgencyId,
    view: &dyn Read,
    pdp: &CedarPdp,
    wanted: &Wanted,
    at: Timestamp,
) -> Result<Vec<HolderPreview>, ErrorCode> {
    let holders = wanted.holders.iter().take(MAX_HOLDERS);
    holders
        .map(|holder| at_holder(me, view, pdp, wanted, holder, at))
        .collect()
}

fn at_holder(
    me: &AgencyId,
    view: &dyn Read,
    pdp: &CedarPdp,
    wanted: &Wanted,
    holder: &AgencyId,
    at: Timestamp,
) -> Result<HolderPreview, ErrorCode> {
    let requester = agency(view, me)?;
    let asked = agency(view, holder)?;
    let sector = asked.sector();
    let items = &wanted.question.items;
    let lines = match collect(view, requester, asked, wanted, at)? {
        Collected::Matter(matter) if items.is_empty() => {
            let held = Category::ALL.iter().filter(|c| is_held(c.kind(), sector));
            held.flat_map(|category| survey(pdp, &matter, *category))
                .collect()
        }
        Collected::Matter(matter) => items
            .iter()
            .map(|item| outlook(pdp, &matter, *item))
            .collect(),
        Collected::TooMany => doubt(items, "too_many_candidates"),
    };
    Ok(HolderPreview {
        holder: holder.to_string(),
        sector: sector.code().to_owned(),
        items: lines.iter().map(|line| shown(pdp, line)).collect(),
    })
}

/// A denial of everything for one reason.
fn doubt(items: &[Item], rule: &str) -> Vec<Outlook> {
    let all = |category: &Category| Item {
        category: *category,
        level: Level::Known,
    };
    let items = match items {
        [] => Category::ALL.iter().map(all).collect(),
        items => items.to_vec(),
    };
    let line = |item| Outlook {
        item,
        ruling: Ruling::deny(rule),
        missing: Vec::new(),
    };
    items.into_iter().map(line).collect()
}

fn agency(view: &dyn Read, id: &AgencyId) -> Result<Agency, ErrorCode> {
    let row = state::member(view, id).map_err(storage)?;
    let MemberRow {
        keys,
        certificate,
        active,
        since,
        former: _,
    } = row.ok_or(ErrorCode::UnknownAgency)?;
    if !active {
        return Err(ErrorCode::UnknownAgency);
    }
    Ok(Agency {
        agency: id.clone(),
        keys,
        certificate,
        active,
        joined: since,
        since,
    })
}

fn collect(
    view: &dyn Read,
    requester: Agency,
    holder: Agency,
    wanted: &Wanted,
    at: Timestamp,
) -> Result<Collected, ErrorCode> {
    let question = &wanted.question;
    let (me, other) = (&requester.agency, &holder.agency);
    let case = match &question.case {
        Some(id) => {
            let case = state::case(view, id).map_err(storage)?;
            let case = case.ok_or(ErrorCode::UnknownCase)?;
            Some(pip::case_facts(&case, me, other, question.subject))
        }
        None => None,
    };
    let consents = consents(view, question.subject).map_err(storage)?;
    let agreements = relied_on(view, question, other, me).map_err(storage)?;
    let (Some(consents), Some(agreements)) = (consents, agreements) else {
        return Ok(Collected::TooMany);
    };
    Ok(Collected::Matter(Box::new(Matter {
        at,
        requester,
        holder,
        role: question.worker.role,
        trained: question.worker.trained,
        // Each item is put in its place.
        item: Item {
            category: Category::InService,
            level: Level::Known,
        },
        purpose: question.purpose,
        basis: question.basis,
        case,
        emergency: question.emergency,
        identified: wanted.is_named,
        reliance: question.reliance.clone(),
        consents,
        agreements,
    })))
}

/// All consents of the person that name this agency, with the withdrawals that are under way.
fn consents(view: &dyn Read, subject: Option<Handle>) -> Result<Option<Vec<Consent>>, StoreError> {
    let Some(subject) = subject else {
        return Ok(Some(Vec::new()));
    };
    let all = standing::consents_of(view, &subject)?;
    Ok(all.map(|all| all.into_iter().map(|one| one.consent).collect()))
}

/// The agreements that may carry it, as the broker collects them.
fn relied_on(
    view: &dyn Read,
    question: &Question,
    holder: &AgencyId,
    me: &AgencyId,
) -> Result<Option<Vec<Agreement>>, StoreError> {
    match &question.reliance {
        Some(Reliance::Agreement(id)) => {
            Ok(Some(state::agreement(view, id)?.into_iter().collect()))
        }
        Some(Reliance::Consent(_)) => Ok(Some(Vec::new())),
        None => {
            let all = agreements::between(view, holder, me, MAX_ROWS)?;
            let signed = all.map(|mut all| {
                all.retain(Agreement::is_signed_by_all);
                all
            });
            Ok(signed.filter(|all| all.len() <= MAX_CANDIDATES))
        }
    }
}

fn shown(pdp: &CedarPdp, line: &Outlook) -> PreviewItem {
    let library = pdp.library();
    let category = line.item.category;
    let missing = line.missing.iter().map(|remedy| MissingView {
        effect: remedy.effect,
        en: remedy.words(category, Language::English),
        fr: remedy.words(category, Language::French),
    });
    PreviewItem {
        missing: missing.collect(),
        item: ItemView {
            explained_en: library.explain(&line.ruling, Language::English),
            explained_fr: library.explain(&line.ruling, Language::French),
            item: ItemRuling {
                category,
                level: line.item.level,
                ruling: line.ruling.clone(),
            },
        },
    }
}

/// What this agency can't know, for whoever reads a preview.
pub fn limits(wanted: &Wanted, left_out: usize, heard_at: Option<Timestamp>) -> Vec<PreviewLimit> {
    let mut limits = vec![limit(
        "nobody_asked",
        "Nobody was asked anything: neither the broker nor a holder knows of this preview. It is \
         noted in this agency’s journal.",
        "Rien n’a été demandé à personne : ni le courtier ni un détenteur ne connaît cet aperçu. \
         Il est consigné au journal de cet organisme.",
    )];
    if wanted.is_named && wanted.question.subject.is_none() {
        limits.push(limit(
            "handle_unknown",
            "This agency has never asked about this person, nor recorded anything: consents can’t \
             be looked up before a first question, and are shown as if there were none.",
            "Cet organisme n’a jamais rien demandé ni consigné sur cette personne : les \
             consentements ne peuvent être cherchés avant une première demande, et tout est montré \
             comme s’il n’y en avait aucun.",
        ));
    }
    limits.push(limit(
        "consents_elsewhere",
        "Consents that do not name this agency, and their withdrawals, are not known here.",
        "Les consentements qui ne nomment pas cet organisme, et leurs retraits, ne sont pas connus \
         ici.",
    ));
    limits.push(limit(
        "holder_decides_too",
        "A holder’s own policy decides too: it may decline, or have a person look at, what is \
         shown as permitted.",
        "La politique du détenteur décide aussi : il peut refuser, ou soumettre à une personne, ce \
         qui est montré comme autorisé.",
    ));
    limits.push(limit(
        "record_unknown",
        "Whether a holder has a record of the person is not known here, and was not asked.",
        "On ne sait pas ici si un détenteur a un dossier sur la personne ; on ne l’a pas demandé.",
    ));
    let heard = heard_at.map(Timestamp::to_rfc3339).unwrap_or_default();
    limits.push(limit(
        "as_of_now",
        &format!(
            "What is decided is decided when the question is asked; the newest news here is of \
             {heard}."
        ),
        &format!(
            "La décision se prend au moment de la demande ; les dernières nouvelles connues ici \
             datent du {heard}."
        ),
    ));
    if left_out > 0 {
        limits.push(limit(
            "holders_left_out",
            &format!("{left_out} more agencies are not shown: name those that matter."),
            &format!(
                "{left_out} autres organismes ne sont pas montrés : nommez ceux qui importent."
            ),
        ));
    }
    limits
}

/// That the worker said neither what for nor on which basis, and what was supposed.
pub fn supposed(purpose: Purpose, purpose_given: bool, basis_given: bool) -> Vec<PreviewLimit> {
    let mut limits = Vec::new();
    if !purpose_given {
        limits.push(limit(
            "purpose_supposed",
            &format!("No purpose was given: supposed is `{purpose}`."),
            &format!("Aucune fin n’a été donnée : `{purpose}` est supposée."),
        ));
    }
    if !basis_given {
        limits.push(limit(
            "basis_supposed",
            "No basis in law was given: supposed is the consent of the person.",
            "Aucun fondement juridique n’a été donné : le consentement de la personne est supposé.",
        ));
    }
    limits
}

fn limit(code: &str, en: &str, fr: &str) -> PreviewLimit {
    PreviewLimit {
        code: code.to_owned(),
        en: en.to_owned(),
        // Before a colon, and before a semicolon, French has a space that does not break.
        fr: fr.replace(" :", "\u{a0}:").replace(" ;", "\u{202f};"),
    }
}
