use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    workflow::serve::start_tracing();
    let client = aws_sdk_rds::Client::new(&workflow::serve::aws_config().await?);
    workflow::serve::serve(async |request| create_deployment::handle(&client, request).await).await
}
