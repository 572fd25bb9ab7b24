use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    workflow::serve::start_tracing();
    let config = workflow::serve::aws_config().await?;
    let context = describe_status::Context {
        rds: aws_sdk_rds::Client::new(&config),
        cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
    };
    workflow::serve::serve(async |request| describe_status::handle(&context, request).await).await
}
