use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    workflow::serve::start_tracing();
    let servers = databases::Servers::from_environment().await?;
    workflow::serve::serve(async |request| preflight_database::handle(&servers, request).await).await
}
