use std::time::Duration;

use tokio::time::sleep;

use super::*;

/// Short, so that no test waits for long.
const PATIENCE: Duration = Duration::from_millis(300);

fn impatient(account: Account) -> Context {
    Context { patience: PATIENCE, ..account.context() }
}

#[tokio::test]
async fn a_look_up_has_its_time_and_no_more() {
    let context = impatient(account(source()));
    let after = async |share: f32| {
        sleep(PATIENCE.mul_f32(share)).await;
        Ok(vec!["found".to_owned()])
    };
    let (quick, slow) =
        tokio::join!(advice(&context, "quick things", after(0.1)), advice(&context, "slow things", after(60.0)));
    assert_eq!(quick, ["found"]);
    assert_eq!(slow, ["NOT looked for: slow things (no answer within 0.3 s). Look yourself."]);
}

/// EC2 stands for all of them: the others' clients answer at once here.
#[tokio::test]
async fn a_look_up_that_never_answers_does_not_keep_the_plan() {
    let context = impatient(Account { ec2: Ec2Answers::Nothing, ..account(source()) });
    let input = json!({"instance_id": "orders", "quarantine_security_group_id": "sg-q"});
    let plan = plan_in(&context, input).await.expect("planned");
    assert!(plan.warnings.join("\n").contains("source's VPC (no answer within 0.3 s)"), "{:?}", plan.warnings);
}

#[tokio::test]
async fn a_refusal_waits_for_no_look_up() {
    let patient = Account { ec2: Ec2Answers::Nothing, ..account(source().engine("sqlserver-ex")) }.context();
    let patient = Context { patience: Duration::MAX, ..patient };
    let input = json!({"instance_id": "orders", "quarantine_security_group_id": "sg-q"});
    assert_eq!(plan_in(&patient, input).await.expect_err("refused").name(), "EncryptionNotSupported");
}
