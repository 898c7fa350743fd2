//! What somebody must look at: each alert a file of its own, kept until it is acknowledged and
//! after.
//!
//! In scope: the records, and what to do about each. Out of scope: finding out ([`crate::mirror`]),
//! sending mail.
//!
//! An alert that is not acknowledged is not raised again for the same thing: a fault that goes on
//! is one alert. There are at most [`MAX_ALERTS`] of what can be many at no lie of the broker's, and
//! [`MAX_OF_ONE`] of each kind that says that it lies; what comes after is in the agent's log alone.
//!
//! Known attack: whoever can cause alerts at will, by emergencies that nobody reviews or by showing
//! a shorter log of another length each second, fills the room and then forks the log. Each kind of
//! lie therefore has room of its own, which no other alert takes.

use passerelle_journal::durable_file::{write_atomically, write_new};
use passerelle_model::time::Timestamp;
use passerelle_proto::views::AlertView;
use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// The directory, beside the journal.
pub const DIRECTORY: &str = "alerts";

/// Most records of all kinds together that have no room of their own.
pub const MAX_ALERTS: usize = 256;

/// Most records of each kind that has.
pub const MAX_OF_ONE: usize = 64;

/// What there is to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertCode {
    /// The broker showed a checkpoint that the log did not sign, or that was not cosigned as it
    /// says.
    CheckpointInvalid,
    /// The log signed two checkpoints that contradict each other, and there is proof.
    Forked,
    /// The broker showed a shorter log than before, which does not contradict it.
    WentBack,
    /// The entries that the broker gives do not lead to the root that the log signed.
    EntriesDoNotMatch,
    /// This agency's own witness cosigned another tree than the mirror holds.
    WitnessContradicts,
    /// An entry breaks the rules of the log.
    EntryInvalid,
    /// The time of an entry is well before that of an earlier one.
    TimeWentBack,
    /// The log goes on, as far as this agency knows, and the broker shows no newer checkpoint.
    Stale,
    /// The mirror can't be written or read.
    MirrorFailed,
    /// An agency has not said in time what came of the review of an emergency.
    ReviewOverdue,
    /// What was received in a case that ended without a concern was not looked at in time.
    DeletionOverdue,
    /// What a person asks about herself is not answered in time.
    RightsOverdue,
    /// What was kept back of a person's own request is owed since.
    RestrictionOver,
}

/// Those with room of their own.
const GRAVE: [AlertCode; 7] = [
    AlertCode::CheckpointInvalid,
    AlertCode::Forked,
    AlertCode::WentBack,
    AlertCode::EntriesDoNotMatch,
    AlertCode::WitnessContradicts,
    AlertCode::EntryInvalid,
    AlertCode::TimeWentBack,
];

impl AlertCode {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::CheckpointInvalid => "checkpoint_invalid",
            Self::Forked => "forked",
            Self::WentBack => "went_back",
            Self::EntriesDoNotMatch => "entries_do_not_match",
            Self::WitnessContradicts => "witness_contradicts",
            Self::EntryInvalid => "entry_invalid",
            Self::TimeWentBack => "time_went_back",
            Self::Stale => "stale",
            Self::MirrorFailed => "mirror_failed",
            Self::ReviewOverdue => "review_overdue",
            Self::DeletionOverdue => "deletion_overdue",
            Self::RightsOverdue => "rights_overdue",
            Self::RestrictionOver => "restriction_over",
        }
    }

    /// Whether it says that broker or log are not honest: such a kind has room of its own.
    const fn is_grave(self) -> bool {
        match self {
            Self::CheckpointInvalid
            | Self::Forked
            | Self::WentBack
            | Self::EntriesDoNotMatch
            | Self::WitnessContradicts
            | Self::EntryInvalid
            | Self::TimeWentBack => true,
            Self::Stale
            | Self::MirrorFailed
            | Self::ReviewOverdue
            | Self::DeletionOverdue
            | Self::RightsOverdue
            | Self::RestrictionOver => false,
        }
    }

    /// Whether a record with this code takes room that one of this kind could have, and how much
    /// room there is.
    fn room(self) -> (impl Fn(&AlertView) -> bool, usize) {
        let most = match self.is_grave() {
            true => MAX_OF_ONE,
            false => MAX_ALERTS,
        };
        let shares = move |alert: &AlertView| match self.is_grave() {
            true => alert.code == self.code(),
            false => !GRAVE.iter().any(|grave| alert.code == grave.code()),
        };
        (shares, most)
    }

    /// What to do, for a person.
    pub const fn what_to_do(self) -> &'static str {
        match self {
            Self::Forked => {
                "rely on no new entry; send the proof to every member, who confirms it with \
                 `passerelle-audit fork FILE --log-key KEY`; see THREATS, `The broker lies`"
            }
            Self::WentBack => {
                "ask the coordinator whether the broker runs on an old copy; it must go on with \
                 the newest one, or begin a new log"
            }
            Self::CheckpointInvalid | Self::EntriesDoNotMatch | Self::WitnessContradicts => {
                "ask the coordinator what the broker serves; export the mirror with `passerelle \
                 audit export --mirror` and keep the file; compare with other members"
            }
            Self::EntryInvalid | Self::TimeWentBack => {
                "export the mirror with `passerelle audit export --mirror`, and run \
                 `passerelle-audit verify` on it: the entry is in the log that the witnesses \
                 cosigned, and the broker answers for it"
            }
            Self::Stale => {
                "ask the coordinator whether enough witnesses are up; below quorum nothing is \
                 published"
            }
            Self::ReviewOverdue => {
                "ask the privacy officer of that agency to look at it (`passerelle agent \
                 audit-cases list --overdue` there); what came of it then stands in the log: \
                 `passerelle audit search --type override_review`"
            }
            Self::DeletionOverdue => {
                "erase the answer (`passerelle agent erase`), or keep it and say why (`passerelle \
                 agent deletions keep`)"
            }
            Self::RightsOverdue => {
                "at an owner: `passerelle agent rights tasks`, then answer; if the request is \
                 over, call the door. At the door: call the owners that have not answered \
                 (`passerelle agent rights show`), and tell the person"
            }
            Self::RestrictionOver => {
                "answer with what was kept back when the door asks again, or lift it and tell the \
                 person; keep it back anew only for a reason that holds now"
            }
            Self::MirrorFailed => {
                "look at disk and permissions; if the mirror is damaged, move the directory \
                 `mirror` away and start the agent again: the log is fetched anew"
            }
        }
    }
}

/// The records of one agent.
#[derive(Debug)]
pub struct Alerts {
    dir: PathBuf,
    /// One change at a time.
    changing: Mutex<()>,
}

impl Alerts {
    /// Below the agent's directory `home`. Nothing is made before it is needed.
    pub fn new(home: &Path) -> Self {
        Self {
            dir: home.join(DIRECTORY),
            changing: Mutex::default(),
        }
    }

    /// All records, the oldest first. One that can't be read counts as one to look at.
    pub fn all(&self) -> Vec<AlertView> {
        let Ok(files) = fs::read_dir(&self.dir) else {
            return Vec::new();
        };
        let mut alerts: Vec<_> = files.flatten().filter_map(|f| read(&f.path())).collect();
        alerts.sort_unstable_by_key(|alert| alert.id);
        alerts
    }

    /// How many nobody has acknowledged.
    pub fn open(&self) -> usize {
        let all = self.all();
        all.iter()
            .filter(|alert| alert.acknowledged_at.is_none())
            .count()
    }

    /// Records an alert about something that happens once: not again, also if somebody has
    /// acknowledged it.
    pub fn raise_once(&self, at: Timestamp, code: AlertCode, what: &str) {
        let is_same = |alert: &AlertView| alert.code == code.code() && alert.what == what;
        if !self.all().iter().any(is_same) {
            self.raise(at, code, what, None);
        }
    }

    /// Records an alert, unless there is one for the same that nobody has acknowledged.
    pub fn raise(&self, at: Timestamp, code: AlertCode, what: &str, proof: Option<&Path>) {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.all();
        let same = |alert: &AlertView| {
            alert.code == code.code() && alert.what == what && alert.acknowledged_at.is_none()
        };
        if all.iter().any(same) {
            return;
        }
        let proof = proof.map(|path| path.display().to_string());
        tracing::error!(code = code.code(), what, proof, "alert");
        let alert = AlertView {
            id: all.last().map_or(1, |last| last.id.saturating_add(1)),
            at,
            code: code.code().to_owned(),
            what: what.to_owned(),
            what_to_do: code.what_to_do().to_owned(),
            proof,
            acknowledged_at: None,
        };
        // What somebody has looked at makes room for what nobody has.
        let (shares, most) = code.room();
        let sharing: Vec<_> = all.iter().filter(|alert| shares(alert)).collect();
        if sharing.len() >= most
            && let Some(old) = sharing.iter().find(|alert| alert.acknowledged_at.is_some())
            && let Err(error) = fs::remove_file(self.path(old.id))
        {
            tracing::warn!(%error, "an alert that was acknowledged can't be deleted");
        }
        let open = sharing.iter().filter(|a| a.acknowledged_at.is_none());
        let kept = match open.count() < most {
            true => self.create(&alert),
            false => Err(io::Error::other(
                "there are too many; acknowledged ones may be deleted",
            )),
        };
        if let Err(error) = kept {
            tracing::error!(%error, "an alert can't be recorded");
        }
    }

    /// Notes that somebody has looked at these; how many were not acknowledged before.
    ///
    /// # Errors
    /// The file system.
    pub fn acknowledge(&self, ids: &[u64], at: Timestamp) -> io::Result<usize> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        for mut alert in self.all() {
            if ids.contains(&alert.id) && alert.acknowledged_at.is_none() {
                alert.acknowledged_at = Some(at);
                write_atomically(&self.path(alert.id), &bytes(&alert)?, 0o600)?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn create(&self, alert: &AlertView) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.dir)?;
        write_new(&self.path(alert.id), &bytes(alert)?, 0o600)
    }

    fn path(&self, id: u64) -> PathBuf {
        self.dir.join(format!("{id:08}.json"))
    }
}

fn bytes(alert: &AlertView) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(alert).map_err(io::Error::other)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// None of what is not a record: a crash may leave a file that was being written, under another
/// name.
fn read(path: &Path) -> Option<AlertView> {
    let id: u64 = path
        .file_name()?
        .to_str()?
        .strip_suffix(".json")?
        .parse()
        .ok()?;
    let read = fs::read(path).ok();
    let alert = read.and_then(|bytes| serde_json::from_slice::<AlertView>(&bytes).ok());
    Some(
        alert
            .filter(|alert| alert.id == id)
            .unwrap_or_else(|| AlertView {
                id,
                at: Timestamp::default(),
                code: "unreadable".to_owned(),
                what: format!("the record `{}` can't be read", path.display()),
                what_to_do: "look at the file; delete it once it is clear what it said".to_owned(),
                proof: None,
                acknowledged_at: None,
            }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(alerts: &Alerts) -> Vec<(u64, String, bool)> {
        let alerts = alerts.all().into_iter();
        let line = |a: AlertView| (a.id, a.code, a.acknowledged_at.is_some());
        alerts.map(line).collect()
    }

    #[test]
    fn what_goes_on_is_one_alert_until_it_is_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let alerts = Alerts::new(dir.path());
        assert!(alerts.all().is_empty() && !dir.path().join(DIRECTORY).exists());
        for n in 0..3 {
            alerts.raise(Timestamp(n), AlertCode::Stale, "since a while", None);
        }
        alerts.raise(Timestamp(4), AlertCode::Stale, "since another while", None);
        let proof = dir.path().join("forks/x.txt");
        alerts.raise(Timestamp(5), AlertCode::Forked, "at 7", Some(&proof));
        // A process later.
        let alerts = Alerts::new(dir.path());
        let line = |id, code: &str, done| (id, code.to_owned(), done);
        let all = [
            line(1, "stale", false),
            line(2, "stale", false),
            line(3, "forked", false),
        ];
        assert_eq!(codes(&alerts), all);
        assert_eq!(alerts.all()[0].at, Timestamp(0), "when it was first seen");
        assert_eq!(alerts.acknowledge(&[1, 3, 9], Timestamp(6)).unwrap(), 2);
        assert_eq!(alerts.acknowledge(&[1], Timestamp(7)).unwrap(), 0);
        assert_eq!(alerts.open(), 1);
        assert_eq!(alerts.all()[0].acknowledged_at, Some(Timestamp(6)));
        alerts.raise(Timestamp(8), AlertCode::Stale, "since a while", None);
        assert_eq!(codes(&alerts)[3], line(4, "stale", false), "it comes again");
    }

    #[test]
    fn a_record_that_can_not_be_read_is_one_to_look_at() {
        let dir = tempfile::tempdir().unwrap();
        let alerts = Alerts::new(dir.path());
        alerts.raise(Timestamp(1), AlertCode::Stale, "x", None);
        let path = dir.path().join(DIRECTORY).join("00000001.json");
        fs::write(&path, b"{").unwrap();
        fs::write(path.with_file_name(".writing-1"), b"{").unwrap();
        assert_eq!(codes(&alerts), [(1, "unreadable".to_owned(), false)]);
        assert_eq!(alerts.open(), 1);
        alerts.raise(Timestamp(2), AlertCode::Stale, "x", None);
        assert_eq!(alerts.open(), 2);
    }

    #[test]
    fn what_happens_once_is_not_raised_again_after_it_was_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let alerts = Alerts::new(dir.path());
        for n in 0..3 {
            alerts.raise_once(Timestamp(n), AlertCode::ReviewOverdue, "one");
        }
        alerts.acknowledge(&[1], Timestamp(4)).unwrap();
        let alerts = Alerts::new(dir.path());
        alerts.raise_once(Timestamp(5), AlertCode::ReviewOverdue, "one");
        alerts.raise_once(Timestamp(6), AlertCode::ReviewOverdue, "another");
        let line = |id, done| (id, "review_overdue".to_owned(), done);
        assert_eq!(codes(&alerts), [line(1, true), line(2, false)]);
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let alerts = Alerts::new(dir.path());
        for n in 0..=MAX_ALERTS {
            alerts.raise(Timestamp(1), AlertCode::Stale, &n.to_string(), None);
        }
        assert_eq!(alerts.open(), MAX_ALERTS);
    }

    #[test]
    fn no_flood_of_other_alerts_takes_the_room_of_one_about_a_fork() {
        let dir = tempfile::tempdir().unwrap();
        let alerts = Alerts::new(dir.path());
        let flood = |code: AlertCode, count: usize| {
            for n in 0..count {
                alerts.raise(Timestamp(1), code, &format!("flood {n}"), None);
            }
        };
        for code in [AlertCode::ReviewOverdue, AlertCode::Stale] {
            flood(code, MAX_ALERTS);
        }
        for code in GRAVE.into_iter().filter(|code| *code != AlertCode::Forked) {
            flood(code, MAX_OF_ONE + 1);
        }
        let before = alerts.open();
        assert_eq!(before, MAX_ALERTS + 6 * MAX_OF_ONE);
        alerts.raise(Timestamp(2), AlertCode::Forked, "at 7", None);
        let forked: Vec<_> = codes(&alerts)
            .into_iter()
            .filter(|(_, code, _)| code == "forked")
            .collect();
        assert_eq!((forked.len(), alerts.open()), (1, before + 1));
        // And it stays, whatever comes after and whoever acknowledges what.
        let others = codes(&alerts).into_iter().map(|(id, ..)| id);
        let others: Vec<_> = others.filter(|id| *id != forked[0].0).collect();
        alerts.acknowledge(&others, Timestamp(3)).unwrap();
        flood(AlertCode::WentBack, 5);
        for n in 0..MAX_ALERTS {
            alerts.raise(Timestamp(4), AlertCode::Stale, &n.to_string(), None);
        }
        assert!(codes(&alerts).contains(&forked[0]));
    }

    #[test]
    fn every_grave_kind_is_listed() {
        assert!(GRAVE.into_iter().all(AlertCode::is_grave));
        let grave = |code: &AlertCode| GRAVE.contains(code);
        let others = [
            AlertCode::Stale,
            AlertCode::MirrorFailed,
            AlertCode::ReviewOverdue,
        ];
        assert!(others.iter().all(|code| !code.is_grave() && !grave(code)));
    }
}
