//! `Exchange`: opens sessions.

use super::Shared;
use crate::session::{self, OUTBOUND_QUEUE};
use passerelle_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// See the module.
pub struct ExchangeService(pub Shared);

#[tonic::async_trait]
impl v1::exchange_server::Exchange for ExchangeService {
    type AttachStream = ReceiverStream<Result<v1::BrokerFrame, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AgentFrame>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let member = self.0.member(&request)?;
        let (outbound, stream) = mpsc::channel(OUTBOUND_QUEUE);
        tokio::spawn(session::run(
            self.0.clone(),
            member.agency,
            request.into_inner(),
            outbound,
        ));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
