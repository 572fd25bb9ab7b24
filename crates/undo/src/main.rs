use lambda_runtime::Error;
use workflow::serve::{aws_config, serve, start_tracing};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    start_tracing();
    let config = aws_config().await?;
    let (rds, dms) = (aws_sdk_rds::Client::new(&config), aws_sdk_databasemigration::Client::new(&config));
    serve(async |request| undo::handle(&rds, &dms, request).await).await
}
