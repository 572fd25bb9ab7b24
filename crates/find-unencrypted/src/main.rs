use find_unencrypted::{Context, WAYS};
use lambda_runtime::Error;
use workflow::serve::{aws_config, environment, serve, start_tracing};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    start_tracing();
    let config = aws_config().await?;
    let machines: Result<_, _> = WAYS.iter().map(|way| Ok((way.name, environment(way.variable)?))).collect();
    let context = Context {
        cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
        rds: aws_sdk_rds::Client::new(&config),
        sfn: aws_sdk_sfn::Client::new(&config),
        bucket: bucket::Bucket::from_environment(&config)?,
        stack: environment("STACK_NAME")?,
        machines: machines.map_err(|error: Error| error)?,
    };
    serve(async |request| find_unencrypted::handle(&context, request).await).await
}
