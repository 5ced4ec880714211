//! The calls of the protocol.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, Result as ActionResult, SchemaAsIpc,
    SchemaResult, Ticket,
};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use icecore_core::{BatchStream, Error};
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::request::{Asked, DatasetRequest};
use crate::source::{DatasetSummary, FlightSource};
use crate::status::status;

/// The service over a source.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    source: Arc<dyn FlightSource>,
}

type Answers<T> = BoxStream<'static, Result<T, Status>>;

impl Service {
    pub(crate) fn new(source: Arc<dyn FlightSource>) -> Self {
        Self { source }
    }

    /// The training set that a descriptor names.
    async fn described(
        &self,
        descriptor: &FlightDescriptor,
    ) -> Result<(DatasetRequest, DatasetSummary), Status> {
        let asked = asked(descriptor).map_err(|error| status(&error))?;
        let Asked::Dataset(request) = asked else {
            return Err(Status::invalid_argument(
                "features are of rows that are sent: use do_exchange",
            ));
        };
        let (summary, _) = self.source.dataset(&request).await.map_err(|error| status(&error))?;
        Ok((request, summary))
    }
}

/// What a descriptor asks for.
fn asked(descriptor: &FlightDescriptor) -> icecore_core::Result<Asked> {
    match descriptor.cmd.is_empty() {
        true => Asked::of_path(&descriptor.path),
        false => Asked::parse(&descriptor.cmd),
    }
}

/// Where the rows of a request are.
fn flight_info(
    descriptor: FlightDescriptor,
    request: &DatasetRequest,
    summary: &DatasetSummary,
) -> Result<FlightInfo, Status> {
    // Without a location the ticket is for this service.
    let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(request.ticket()));
    let rows = summary.rows.and_then(|rows| i64::try_from(rows).ok()).unwrap_or(-1);
    let info = FlightInfo::new()
        .with_descriptor(descriptor)
        .with_endpoint(endpoint)
        .with_total_records(rows)
        .with_total_bytes(-1)
        .with_ordered(true)
        .with_app_metadata(summary.content_hash.clone().into_bytes());
    info.try_with_schema(&summary.schema)
        .map_err(|error| status(&Error::internal("a schema has no message").with_source(error)))
}

/// Rows as messages.
fn sent(schema: SchemaRef, rows: BatchStream) -> Answers<FlightData> {
    let rows = rows.map_err(|error| FlightError::Tonic(Box::new(status(&error))));
    let messages = FlightDataEncoderBuilder::new().with_schema(schema).build(rows);
    messages.map_err(Status::from).boxed()
}

#[async_trait]
impl FlightService for Service {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<ActionResult>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(Status::unimplemented("there is no handshake: send the token with each call"))
    }

    async fn list_flights(
        &self,
        _: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        let datasets = self.source.datasets().await.map_err(|error| status(&error))?;
        let infos = datasets.into_iter().map(|summary| {
            let path = vec!["dataset".to_owned(), summary.name.clone()];
            let request =
                DatasetRequest { dataset: summary.name.clone(), ..DatasetRequest::default() };
            flight_info(FlightDescriptor::new_path(path), &request, &summary)
        });
        Ok(Response::new(futures::stream::iter(infos.collect::<Vec<_>>()).boxed()))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let descriptor = request.into_inner();
        let (request, summary) = self.described(&descriptor).await?;
        Ok(Response::new(flight_info(descriptor, &request, &summary)?))
    }

    async fn poll_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        Err(Status::unimplemented("rows are there at once: use get_flight_info"))
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        let (_, summary) = self.described(&request.into_inner()).await?;
        let schema = SchemaAsIpc::new(&summary.schema, &IpcWriteOptions::default()).try_into();
        let schema = schema.map_err(|error: arrow::error::ArrowError| {
            status(&Error::internal("a schema has no message").with_source(error))
        });
        Ok(Response::new(schema?))
    }

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        let asked = Asked::parse(&request.into_inner().ticket).map_err(|error| status(&error))?;
        let Asked::Dataset(request) = asked else {
            return Err(Status::invalid_argument(
                "features are of rows that are sent: use do_exchange",
            ));
        };
        let (summary, rows) =
            self.source.dataset(&request).await.map_err(|error| status(&error))?;
        Ok(Response::new(sent(summary.schema, rows)))
    }

    async fn do_put(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        Err(Status::unimplemented("this service writes nothing"))
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        let mut messages = request.into_inner();
        let Some(first) = messages.try_next().await? else {
            return Err(Status::invalid_argument("send a descriptor and rows"));
        };
        let descriptor = first.flight_descriptor.clone().unwrap_or_default();
        let Asked::Features(request) = asked(&descriptor).map_err(|error| status(&error))? else {
            return Err(Status::invalid_argument("a training set takes no rows: use do_get"));
        };
        // Some clients send the descriptor by itself, before the schema.
        let first = futures::stream::iter((!first.data_header.is_empty()).then_some(Ok(first)));
        let messages = first.chain(messages.map_err(|error| FlightError::Tonic(Box::new(error))));
        let rows = received(FlightRecordBatchStream::new_from_flight_data(messages)).await?;
        let found = self.source.features(&request, rows).await.map_err(|error| status(&error))?;
        Ok(Response::new(sent(Arc::clone(found.schema()), found)))
    }

    async fn do_action(
        &self,
        _: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        Err(Status::unimplemented("there are no actions"))
    }

    async fn list_actions(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        Ok(Response::new(futures::stream::empty().boxed()))
    }
}

/// The rows of a client. Their columns are known with the first batch.
async fn received(mut rows: FlightRecordBatchStream) -> Result<BatchStream, Status> {
    let first = rows.try_next().await?;
    let Some(schema) = rows.schema().cloned() else {
        return Err(Status::invalid_argument("the rows have no schema"));
    };
    let rows =
        rows.map_err(|error| Error::invalid("the rows are not understood").with_source(error));
    let rows = futures::stream::iter(first.map(Ok)).chain(rows);
    Ok(BatchStream::new(schema, rows.boxed()))
}
