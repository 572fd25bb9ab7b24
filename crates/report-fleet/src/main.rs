use lambda_runtime::Error;
use report_fleet::Context;
use workflow::serve::{aws_config, environment, serve, start_tracing};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    start_tracing();
    let config = aws_config().await?;
    let context = Context {
        cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
        bucket: bucket::Bucket::from_environment(&config)?,
        stack: environment("STACK_NAME")?,
    };
    serve(async |request| report_fleet::handle(&context, request).await).await
}
