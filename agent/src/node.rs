//! The running agent, as its parts share it.

use crate::{
    clock::Clock,
    context::Context,
    core::Core,
    entropy,
    event::{Event, Stated},
    facts::sealed,
    handle::{Blinding, MAX_BATCH},
    holder::storage,
    late,
    link::{Evaluator, Link},
    mirror::Mirror,
    near::{NEAR_TOKENS, NEAR_VERSION, near_tokens},
    near_index::{self, NearHandles},
    person::Person,
    state::{self, key},
    trust::Trust,
};
use passerelle_model::{
    bytes::{Digest, Handle},
    error::ErrorCode,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tonic::transport::Channel;

/// How long a local call waits for the broker's reply before it says "queued".
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long it waits, once the broker has replied, for the witnessed entry to come back. They may
/// be away; what was accepted is accepted.
pub const NOTICE_TIMEOUT: Duration = Duration::from_secs(3);

/// What the parts share.
#[derive(Clone)]
pub struct Node {
    /// Identity, settings, policy.
    pub context: Arc<Context>,
    /// The single writer.
    pub core: Core,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Whether the broker is there, and why not.
    pub link: Link,
    /// The way to the oblivious function.
    pub evaluator: Evaluator,
    /// Connections to the broker.
    pub channel: Channel,
    /// This agency's own copy of the log, if it keeps one.
    pub mirror: Option<Arc<Mirror>>,
}

/// What became of a statement within the time that a caller waits.
pub enum Settled {
    /// In the log at this index.
    Logged(Option<u64>),
    /// Waits for the broker.
    Queued,
}

impl Node {
    /// Whom this agent believes now.
    ///
    /// # Errors
    /// [`ErrorCode::Storage`].
    pub fn trust(&self) -> Result<Arc<Trust>, ErrorCode> {
        self.context.trust(self.core.view()).map_err(storage)
    }

    /// Journals a statement and waits a while for what becomes of it.
    ///
    /// # Errors
    /// The broker's refusal; [`ErrorCode::Storage`].
    pub async fn submit(&self, stated: Stated, more: Vec<Event>) -> Result<Settled, ErrorCode> {
        let digest = stated.envelope.digest();
        let events = more
            .into_iter()
            .chain([Event::Stated(Box::new(stated))])
            .collect();
        let now = self.clock.now();
        self.core.write(now, move |_| Ok((events, ()))).await?;
        self.settled(&digest).await
    }

    /// Waits a while for what becomes of a statement, and then until this agent has seen its
    /// entry, so that what was just done is also shown.
    ///
    /// # Errors
    /// As [`Node::submit`].
    pub async fn settled(&self, statement: &Digest) -> Result<Settled, ErrorCode> {
        let replied = self
            .wait_for(SETTLE_TIMEOUT, key::of(key::SENT, &statement.0), |node| {
                let sent = state::sent(node.core.view(), statement).map_err(storage)?;
                match sent {
                    Some(sent) => sent.code.map_or(Ok(Some(Some(sent.index))), Err),
                    // Without a link nobody knows how long it would take.
                    None => Ok((!node.link.is_up()).then_some(None)),
                }
            })
            .await?;
        let Some(Some(index)) = replied else {
            return Ok(Settled::Queued);
        };
        self.wait_for(NOTICE_TIMEOUT, key::META.to_vec(), |node| {
            let view = node.core.view();
            let seen = state::meta(view).map_err(storage)?.next_notice;
            // What is for all comes in an order of its own.
            let came = match index {
                Some(index) if seen <= index => {
                    late::was_heard(view, true, index).map_err(storage)?
                }
                Some(_) | None => true,
            };
            Ok(came.then_some(()))
        })
        .await?;
        Ok(Settled::Logged(index))
    }

    /// Looks again whenever `row` was written until `look` has something, at most for `patience`.
    ///
    /// # Errors
    /// Those of `look`; [`ErrorCode::Storage`] if the writer has stopped.
    pub async fn wait_for<T>(
        &self,
        patience: Duration,
        row: Vec<u8>,
        look: impl Fn(&Self) -> Result<Option<T>, ErrorCode>,
    ) -> Result<Option<T>, ErrorCode> {
        let row = self.core.interest([row]);
        let mut failed = self.core.failed();
        let mut link = self.link.changes();
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            link.mark_unchanged();
            if let Some(found) = look(self)? {
                return Ok(Some(found));
            }
            tokio::select! {
                () = row.changed() => {}
                _ = failed.wait_for(|failed| *failed) => return Err(ErrorCode::Storage),
                changed = link.changed() => changed.map_err(|_| ErrorCode::Unavailable)?,
                () = tokio::time::sleep_until(deadline) => return Ok(None),
            }
        }
    }

    /// The handle of a person: kept, or from the broker's oblivious function.
    ///
    /// # Errors
    /// [`ErrorCode::Unavailable`] without a link; what the function says; a proof that fails.
    pub async fn handle(&self, person: &Person) -> Result<Handle, ErrorCode> {
        let index = self.context.vault.index()?;
        if let Some(handle) = index.handle_of(self.core.view(), person)? {
            return Ok(handle);
        }
        let digest = index.token(person);
        let handles = self.evaluate(&[person.match_token()]).await?;
        let handle = handles.first().copied().ok_or(ErrorCode::Internal)?;
        let found = vec![Event::HandlesFound(vec![(digest, handle)])];
        let now = self.clock.now();
        self.core.write(now, move |_| Ok((found, ()))).await?;
        Ok(handle)
    }

    /// The handles of at most [`MAX_BATCH`] match tokens, from the broker.
    async fn evaluate(&self, tokens: &[Vec<u8>]) -> Result<Vec<Handle>, ErrorCode> {
        let (blinding, blinded) = Blinding::blind(tokens).map_err(|_| ErrorCode::OutOfRange)?;
        let evaluated = self.evaluator.evaluate(blinded).await?;
        let key = self.context.identity.membership.oprf_key;
        blinding
            .finalize(&evaluated.elements, &evaluated.proof, &key.0)
            .map_err(|_| ErrorCode::ProofInvalid)
    }

    /// The near handles of a person, always [`NEAR_TOKENS`], in no telling order: what is missing is
    /// made up, so that their number tells neither broker nor holder anything of the name.
    ///
    /// # Errors
    /// As [`Node::handle`].
    pub async fn near_handles(&self, person: &Person) -> Result<Vec<Handle>, ErrorCode> {
        let mut tokens: Vec<_> = near_tokens(person).into_iter().map(|(_, t)| t).collect();
        while tokens.len() < NEAR_TOKENS {
            let made_up = hex::encode(entropy::random::<32>()?);
            tokens.push(format!("{NEAR_VERSION}|nobody|{made_up}").into_bytes());
        }
        let mut handles = self.evaluate(&tokens).await?;
        handles.sort_unstable();
        Ok(handles)
    }

    /// Gets near handles for some of the own people who have none. Whether there may be more of
    /// them: whoever calls again leaves some time, for people who ask come first.
    ///
    /// # Errors
    /// As [`Node::handle`].
    pub async fn complete_near(&self) -> Result<bool, ErrorCode> {
        const SOME: usize = MAX_BATCH / NEAR_TOKENS;
        let view = self.core.view();
        let people = near_index::without(view, SOME).map_err(storage)?;
        if people.is_empty() {
            return Ok(false);
        }
        let has_more = people.len() == SOME;
        let (mut tokens, mut found) = (Vec::new(), Vec::new());
        for (token, row) in people {
            let opened = match &row {
                Some(row) => {
                    let row = std::slice::from_ref(row);
                    sealed::open_all(&self.context.vault, view, row)?
                }
                None => Vec::new(),
            };
            let near = opened.first().map(|kept| near_tokens(&kept.person));
            let (how, near): (Vec<_>, Vec<_>) = near.unwrap_or_default().into_iter().unzip();
            tokens.extend(near);
            found.push((token, how));
        }
        let handles = match tokens.is_empty() {
            true => Vec::new(),
            false => self.evaluate(&tokens).await?,
        };
        let mut handles = handles.into_iter();
        let found = found.into_iter().map(|(token, how)| NearHandles {
            token,
            handles: how.into_iter().zip(handles.by_ref()).collect(),
        });
        let events = vec![Event::NearFound(found.collect())];
        let now = self.clock.now();
        self.core.write(now, move |_| Ok((events, ()))).await?;
        Ok(has_more)
    }

    /// Gets handles for the people who have none, until there are none left.
    ///
    /// # Errors
    /// As [`Node::handle`]. What was found until then is kept.
    pub async fn complete_handles(&self) -> Result<(), ErrorCode> {
        const FIRST: Duration = Duration::from_millis(250);
        let mut delay = FIRST;
        loop {
            let people = state::without_handle(self.core.view(), MAX_BATCH).map_err(storage)?;
            if people.is_empty() {
                return Ok(());
            }
            let all = people.len();
            // By what they are asked for: one token may be known under two names, of two versions.
            let mut tokens = BTreeMap::<Vec<u8>, BTreeSet<Digest>>::new();
            for row in &people {
                let row = std::slice::from_ref(row);
                let opened = sealed::open_all(&self.context.vault, self.core.view(), row)?;
                for (person, row) in opened.iter().zip(row) {
                    let names = tokens.entry(person.person.match_token()).or_default();
                    names.insert(row.token);
                }
            }
            if tokens.is_empty() {
                // Nothing of them opens: to be imported again.
                tracing::error!(all, "people without a handle can't be read");
                return Err(ErrorCode::Storage);
            }
            let (tokens, names): (Vec<_>, Vec<_>) = tokens.into_iter().unzip();
            let handles = match self.evaluate(&tokens).await {
                Ok(handles) => handles,
                Err(ErrorCode::RateLimited) if delay <= Duration::from_secs(30) => {
                    tokio::time::sleep(delay).await;
                    delay *= 2;
                    continue;
                }
                Err(code) => return Err(code),
            };
            let found = names.into_iter().zip(handles);
            let found =
                found.flat_map(|(names, handle)| names.into_iter().map(move |name| (name, handle)));
            let found = found.collect();
            let events = vec![Event::HandlesFound(found)];
            let now = self.clock.now();
            self.core.write(now, move |_| Ok((events, ()))).await?;
            delay = FIRST;
        }
    }
}
