use super::*;

fn with(field: &str, group: &str) -> Value {
    let mut input = cutover(json!({"accept_lost_writes": true}));
    input[field] = json!(group);
    input
}

#[tokio::test]
async fn a_group_must_exist_in_the_sources_vpc_and_be_none_of_its_own() {
    for field in ["isolation_security_group_id", "quarantine_security_group_id"] {
        for (group, vpcs, said) in [
            // Of the source.
            ("sg-1", vec![("sg-1", VPC)], "`sg-1` is a group of the source already"),
            ("sg-2", vec![("sg-2", VPC)], "`sg-2` is a group of the source already"),
            ("sg-0", vec![], "there is no security group `sg-0`"),
            ("sg-0", vec![("sg-0", "vpc-2")], "`sg-0` belongs to the VPC vpc-2, but the source is in vpc-1"),
        ] {
            let account = Account { ec2: Ec2Answers::Vpcs(vpcs), ..account(source()) };
            let error = account.plan(with(field, group)).await.expect_err(said);
            assert_eq!(error.name(), "InvalidInput");
            assert!(error.to_string().starts_with(&format!("`{field}`: {said}")), "{error}");
        }
        let plan = account(source()).plan(with(field, "sg-0")).await.expect("planned");
        assert!(!plan.warnings.join("\n").contains("NOT looked for"), "{:?}", plan.warnings);
    }
}

#[tokio::test]
async fn both_groups_are_asked_for_at_once() {
    let mut input = with("isolation_security_group_id", "sg-0");
    input["quarantine_security_group_id"] = json!("sg-q");
    let account = |ec2| Account { ec2, ..account(source()) };
    let options = account(Ec2Answers::Vpcs(vec![("sg-0", VPC), ("sg-q", VPC)])).plan(input.clone()).await;
    let options = options.expect("planned").options;
    assert_eq!(options.quarantine_security_group_id.as_deref(), Some("sg-q"));
    let error = account(Ec2Answers::Vpcs(vec![("sg-0", VPC)])).plan(input).await.expect_err("one is missing");
    assert!(error.to_string().starts_with("`quarantine_security_group_id`: there is no"), "{error}");
}

#[tokio::test]
async fn what_ec2_does_not_tell_is_said() {
    let account = Account { ec2: Ec2Answers::Refuses("UnauthorizedOperation"), ..account(source()) };
    let said = account.plan(with("isolation_security_group_id", "sg-0")).await.expect("planned").warnings.join("\n");
    let words = "NOT looked for: whether the security groups sg-0 exist in the source's VPC (describe the security \
                 groups sg-0: UnauthorizedOperation: You may not. (status 403)). Look yourself.";
    assert!(said.contains(words), "{said}");
}

#[tokio::test]
async fn nobody_asks_ec2_without_a_group() {
    let account = Account { ec2: Ec2Answers::Refuses("UnauthorizedOperation"), ..account(source()) };
    let said = planned(account).await.warnings.join("\n");
    assert!(!said.contains("NOT looked for"), "{said}");
}
