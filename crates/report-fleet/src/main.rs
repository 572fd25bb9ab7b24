use lambda_runtime::Error;
use workflow::serve::{aws_config, serve, start_tracing};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    start_tracing();
    let bucket = bucket::Bucket::from_environment(&aws_config().await?)?;
    serve(async |request| report_fleet::handle(&bucket, request).await).await
}
