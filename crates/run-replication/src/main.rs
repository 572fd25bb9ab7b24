use lambda_runtime::Error;
use workflow::serve::{aws_config, serve, start_tracing};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    start_tracing();
    let config = aws_config().await?;
    let (servers, client) = (databases::Servers::new(&config), aws_sdk_databasemigration::Client::new(&config));
    serve(async |request| run_replication::handle(&servers, &client, request).await).await
}
