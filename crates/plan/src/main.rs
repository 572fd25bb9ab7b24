use lambda_runtime::Error;
use workflow::serve::{aws_config, environment, serve, start_tracing};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    start_tracing();
    let config = aws_config().await?;
    let context = plan::Context {
        rds: aws_sdk_rds::Client::new(&config),
        dms: aws_sdk_databasemigration::Client::new(&config),
        cloudwatch: aws_sdk_cloudwatch::Client::new(&config),
        sfn: aws_sdk_sfn::Client::new(&config),
        kms: aws_sdk_kms::Client::new(&config),
        region: environment("AWS_REGION")?,
        undo_state_machine_arn: environment("UNDO_STATE_MACHINE_ARN")?,
        kms_key_id: environment("KMS_KEY_ID")?,
    };
    serve(async |request| plan::handle(&context, request).await).await
}
