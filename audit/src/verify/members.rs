//! The founding, the members and their witnesses.

use super::{
    fault::{Fault, FaultCode},
    ledger::{Due, Invitation, Ledger, Since},
    report::{Check, Cosignatures, Trust, WitnessLine},
};
use crate::{
    checkpoint::SignedCheckpoint,
    cosignature,
    note::{SignatureType, VerifierKey},
    witness::quorum,
};
use passerelle_model::{
    bytes::Digest,
    ids::{AgencyId, FederationId, witness_name},
    panel::Panel,
    statement::AgencyKeys,
    time::Timestamp,
    vocabulary::Sector,
};

impl Ledger {
    pub(super) fn founded(
        &mut self,
        federation: &FederationId,
        checkpoint_key: &str,
        bundle: Digest,
        panel: Panel,
    ) -> Result<(), Fault> {
        self.panel = panel;
        self.bundle = Some((bundle, self.index));
        self.bundles.begin(bundle);
        if *federation != self.federation {
            let message = format!("the log is of the federation `{federation}`");
            return Err(self.fault(FaultCode::Founding, message));
        }
        checkpoint_key.clone_into(&mut self.origin.key);
        if !self.may_become(checkpoint_key) {
            let message = format!("the log was founded under the key `{checkpoint_key}`");
            return Err(self.fault(FaultCode::Founding, message));
        }
        Ok(())
    }

    pub(super) fn invited(
        &mut self,
        agency: &AgencyId,
        sector: Sector,
        token: &Digest,
        expires_at: Timestamp,
    ) -> Result<(), Fault> {
        let invitation = Invitation {
            agency: self.agency(agency),
            sector,
            expires_at,
            used: false,
        };
        if self.invitations.insert(*token, invitation).is_some() {
            let message = "the token is that of an earlier invitation";
            return Err(self.fault(FaultCode::Invitation, message));
        }
        Ok(())
    }

    pub(super) fn enrolled(
        &mut self,
        name: &AgencyId,
        keys: &AgencyKeys,
        token: &Digest,
    ) -> Result<(), Fault> {
        self.tally.checked(Check::Enrolment, 1);
        let agency = self.agency(name);
        let now = self.now;
        match self.invitations.get_mut(token) {
            None => {
                let message = || format!("`{name}` was not invited with this token");
                self.require(false, Since::Ever, FaultCode::Invitation, message)?;
            }
            Some(invitation) => {
                let used = std::mem::replace(&mut invitation.used, true);
                let wrong = if used {
                    Some("was used before")
                } else if invitation.agency != agency || invitation.sector != keys.sector {
                    Some("is for another agency or sector")
                } else if now >= invitation.expires_at {
                    Some("had expired")
                } else {
                    None
                };
                if let Some(wrong) = wrong {
                    let message = format!("the invitation that `{name}` took up {wrong}");
                    return Err(self.fault(FaultCode::Invitation, message));
                }
            }
        }
        self.bundles.forget(name);
        let index = self.index;
        if let Some(member) = self.member_mut(agency) {
            member.keys = Some(keys.clone());
            if !member.active {
                member.since = index;
            }
            member.active = true;
            member.touched = index;
        }
        Ok(())
    }

    pub(super) fn revoked(&mut self, name: &AgencyId) -> Result<(), Fault> {
        let agency = self.agency(name);
        self.require_active(agency)?;
        self.bundles.forget(name);
        let index = self.index;
        if let Some(member) = self.member_mut(agency) {
            member.active = false;
            member.touched = index;
        }
        let concerned = self.requests.iter().filter(|(_, row)| {
            let party = row.holder == Some(agency) || row.requester == Some(agency);
            party && row.status.is_open()
        });
        self.due = concerned.map(|(id, _)| (*id, Due::Stop)).collect();
        Ok(())
    }

    /// The quorum of the panel at the end of the log.
    pub(super) fn own_quorum(&mut self, signed: &SignedCheckpoint) -> Result<Cosignatures, Fault> {
        let mut keys: Vec<VerifierKey> = Vec::new();
        let mut count = 0;
        let active = self.members.iter().filter(|member| member.active);
        let enrolled = active.filter_map(|m| Some((m.since, (m, m.keys.as_ref()?))));
        for (member, enrolled) in self.panel.seats(enrolled) {
            count += 1;
            let name = witness_name(&self.federation, &member.name);
            // A key that verifies nothing, or that is another's, counts as a witness that never
            // cosigns: that makes the quorum harder to reach, never easier.
            let key = VerifierKey::new(&name, SignatureType::CosignatureV1, enrolled.witness);
            let Ok(key) = key else { continue };
            if keys.iter().all(|k| k.public_key() != key.public_key()) {
                keys.push(key);
            }
        }
        let (outcome, missing) = cosignatures(signed, &keys, count, Trust::FromExport)?;
        if let Some(fault) = missing {
            // Who the witnesses are may stand in entries that are not readable.
            if !self.is_excused(Since::Ever) {
                return Err(fault);
            }
            self.tally.excused(FaultCode::Quorum);
        }
        Ok(outcome)
    }
}

/// The cosignatures of these witnesses, `count` of them in all, and the fault if they are too few.
pub(super) fn cosignatures(
    signed: &SignedCheckpoint,
    keys: &[VerifierKey],
    count: usize,
    trust: Trust,
) -> Result<(Cosignatures, Option<Fault>), Fault> {
    let found = cosignature::cosigned_by(signed, keys)
        .map_err(|error| Fault::whole(FaultCode::Cosignature, error.to_string()))?;
    let needed = quorum(count);
    let line = |key: &VerifierKey| WitnessLine {
        key: key.to_string(),
        cosigned_at_s: found
            .iter()
            .find(|cosigned| cosigned.witness() == key)
            .map(cosignature::Cosigned::time_s),
    };
    let outcome = Cosignatures {
        trust,
        witnesses: count,
        needed,
        found: found.len(),
        keys: keys.iter().map(line).collect(),
    };
    let fault = (found.len() < needed).then(|| {
        let whose = match trust {
            Trust::Given => "given",
            Trust::FromExport => "enrolled",
        };
        let message = format!(
            "{} of {count} witnesses {whose} have cosigned, {needed} are needed",
            found.len()
        );
        Fault::whole(FaultCode::Quorum, message)
    });
    Ok((outcome, fault))
}
