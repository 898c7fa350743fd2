//! Audit cases as text for people.

use crate::cli::{
    Lang,
    output::{fields, table},
};
use passerelle_proto::views::AuditCaseView;

/// Several.
pub(crate) fn audit_cases(views: &[AuditCaseView], lang: Lang) -> String {
    let rows: Vec<[String; 6]> = views
        .iter()
        .map(|view| {
            let reasons: Vec<_> = view.reasons.iter().map(|r| r.kind.as_str()).collect();
            [
                view.audit_case.clone(),
                words(&view.status, lang).to_owned(),
                words(&view.question, lang).to_owned(),
                view.worker.clone().unwrap_or_default(),
                view.review_by
                    .map_or_else(String::new, |by| by.to_rfc3339()),
                reasons.join(", "),
            ]
        })
        .collect();
    match lang {
        Lang::En => table(
            ["audit case", "status", "question", "worker", "due", "why"],
            &rows,
            "no audit cases",
        ),
        Lang::Fr => table(
            [
                "cas d’audit",
                "état",
                "question",
                "intervenant",
                "échéance",
                "motif",
            ],
            &rows,
            "aucun cas d’audit",
        ),
    }
}

/// One.
pub(crate) fn audit_case(view: &AuditCaseView, lang: Lang) -> String {
    let time = |at: Option<passerelle_model::time::Timestamp>| {
        at.map_or_else(String::new, |at| at.to_rfc3339())
    };
    let shown = |text: &Option<String>| text.clone().unwrap_or_default();
    let coded = |text: &Option<String>| {
        text.as_deref()
            .map_or_else(String::new, |code| words(code, lang).to_owned())
    };
    let yes = |is: bool| match (is, lang) {
        (false, _) => String::new(),
        (true, Lang::En) => "yes".to_owned(),
        (true, Lang::Fr) => "oui".to_owned(),
    };
    let values = [
        view.audit_case.clone(),
        words(&view.status, lang).to_owned(),
        view.at.to_rfc3339(),
        time(view.review_by),
        shown(&view.worker),
        yes(view.suspended),
        view.request.clone(),
        words(&view.question, lang).to_owned(),
        shown(&view.person),
        shown(&view.about),
        coded(&view.verdict),
        shown(&view.reviewer),
        time(view.decided_at),
        shown(&view.note),
        yes(view.erased),
    ];
    let names = match lang {
        Lang::En => [
            "audit case",
            "status",
            "raised",
            "due",
            "worker",
            "suspended",
            "request",
            "question",
            "person",
            "the person is",
            "verdict",
            "reviewer",
            "decided",
            "note",
            "erased",
        ],
        Lang::Fr => [
            "cas d’audit",
            "état",
            "ouvert",
            "échéance",
            "intervenant",
            "suspendu",
            "demande",
            "question",
            "personne",
            "la personne est",
            "verdict",
            "examiné par",
            "tranché",
            "note",
            "effacé",
        ],
    };
    let pairs: Vec<_> = names.into_iter().zip(values).collect();
    let mut out = fields(&pairs);
    for reason in &view.reasons {
        let text = match lang {
            Lang::En => &reason.en,
            Lang::Fr => &reason.fr,
        };
        out.push_str(&format!("  {}: {text}\n", words(&reason.action, lang)));
    }
    out
}

/// A code in words; another one as it is.
fn words(code: &str, lang: Lang) -> &str {
    let (en, fr) = match code {
        "noted" | "note" => ("noted", "noté"),
        "open" => ("open", "ouvert"),
        "overdue" => ("overdue", "en retard"),
        "decided" => ("decided", "tranché"),
        "sent" => ("sent", "partie"),
        "held" => ("held", "retenue"),
        "refused" => ("refused", "refusée"),
        "released" => ("released", "libérée"),
        "dropped" => ("dropped", "abandonnée"),
        "previewed" => (
            "a preview: nothing left",
            "un aperçu\u{a0}: rien n’est parti",
        ),
        "alert" => ("alert", "alerte"),
        "hold" => ("hold", "retenue"),
        "block" => ("block", "blocage"),
        "justified" => ("justified", "justifié"),
        "not_justified" => ("not justified", "non justifié"),
        "no_access_needed" => ("no access needed", "accès inutile"),
        other => (other, other),
    };
    match lang {
        Lang::En => en,
        Lang::Fr => fr,
    }
}
