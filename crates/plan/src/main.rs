use lambda_runtime::Error;
use workflow::serve::{aws_config, environment, serve, start_tracing};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    start_tracing();
    let config = aws_config().await?;
    let region = environment("AWS_REGION")?;
    // Where every SDK looks first, too.
    let ec2_endpoint = environment("AWS_ENDPOINT_URL_EC2").or_else(|_| environment("EC2_ENDPOINT"))?;
    let context = plan::Context {
        ec2: plan::Ec2::new(&config, ec2_endpoint, region.clone()),
        rds: aws_sdk_rds::Client::new(&config),
        dms: aws_sdk_databasemigration::Client::new(&config),
        cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
        sfn: aws_sdk_sfn::Client::new(&config),
        kms: aws_sdk_kms::Client::new(&config),
        region,
        undo_state_machine_arn: environment("UNDO_STATE_MACHINE_ARN")?,
        patience: plan::PATIENCE,
    };
    serve(async |request| plan::handle(&context, request).await).await
}
