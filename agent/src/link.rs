//! Whether the broker is there, and the way to its oblivious function while it is.

use passerelle_model::error::ErrorCode;
use passerelle_proto::v1;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Evaluations that may wait.
const QUEUE: usize = 16;
/// How long one evaluation may take.
const EVALUATE_TIMEOUT: Duration = Duration::from_secs(20);

/// The state of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// Whether it is up.
    pub up: bool,
    /// Why it went down, or did not come up.
    pub last_error: Option<ErrorCode>,
}

/// Tells whether the stream is up.
#[derive(Clone)]
pub struct Link(watch::Receiver<LinkState>);

/// Says whether it is. Held by the session.
pub struct LinkOwner(watch::Sender<LinkState>);

/// A link that is down.
pub fn link() -> (LinkOwner, Link) {
    let (owner, link) = watch::channel(LinkState::default());
    (LinkOwner(owner), Link(link))
}

impl LinkOwner {
    /// The stream is up.
    pub fn up(&self) {
        self.0.send_replace(LinkState {
            up: true,
            last_error: None,
        });
    }

    /// The stream is down.
    pub fn down(&self, why: Option<ErrorCode>) {
        self.0.send_replace(LinkState {
            up: false,
            last_error: why,
        });
    }
}

impl Link {
    /// Whether the stream is up.
    pub fn is_up(&self) -> bool {
        self.0.borrow().up
    }

    /// The state.
    pub fn state(&self) -> LinkState {
        *self.0.borrow()
    }

    /// Changes with it.
    pub fn changes(&self) -> watch::Receiver<LinkState> {
        self.0.clone()
    }
}

/// One evaluation under way.
pub struct Evaluation {
    /// Blinded elements.
    pub blinded: Vec<Vec<u8>>,
    /// Where the result goes.
    pub reply: oneshot::Sender<Result<v1::Evaluated, ErrorCode>>,
}

/// Asks for evaluations.
#[derive(Clone)]
pub struct Evaluator {
    jobs: mpsc::Sender<Evaluation>,
    link: Link,
}

impl Evaluator {
    /// With the queue that the session empties.
    pub fn new(link: Link) -> (Self, mpsc::Receiver<Evaluation>) {
        let (jobs, queue) = mpsc::channel(QUEUE);
        (Self { jobs, link }, queue)
    }

    /// Has blinded elements evaluated.
    ///
    /// # Errors
    /// [`ErrorCode::Unavailable`] without a link or in time; what the broker says.
    pub async fn evaluate(&self, blinded: Vec<Vec<u8>>) -> Result<v1::Evaluated, ErrorCode> {
        if !self.link.is_up() {
            return Err(ErrorCode::Unavailable);
        }
        let (reply, result) = oneshot::channel();
        let job = Evaluation { blinded, reply };
        let evaluate = async {
            let sent = self.jobs.send(job).await;
            sent.map_err(|_| ErrorCode::Unavailable)?;
            result.await.map_err(|_| ErrorCode::Unavailable)?
        };
        let done = tokio::time::timeout(EVALUATE_TIMEOUT, evaluate).await;
        done.map_err(|_| ErrorCode::Unavailable)?
    }
}
