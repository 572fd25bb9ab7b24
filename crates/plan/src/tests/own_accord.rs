use super::*;

fn set(parameters: &[(&str, &str)]) -> Vec<Parameter> {
    let parameter = |(name, value): &(&str, &str)| Parameter::builder().parameter_name(*name).parameter_value(*value);
    parameters.iter().map(|pair| parameter(pair).build()).collect()
}

async fn said(source: DbInstanceBuilder, parameters: &[(&str, &str)], input: Value) -> String {
    let account = Account { parameters: set(parameters), ..account(source) };
    account.plan(input).await.expect("planned").warnings.join("\n")
}

const SUBSCRIPTIONS: &str = "If the source has subscriptions (SELECT subname";
const PGLOGICAL: &str = "subscriptions of pglogical";
const PG_CRON: &str = "the jobs of pg_cron";
const EVENTS: &str = "information_schema.events";
const ORACLE_JOBS: &str = "dba_scheduler_jobs";
const AGENT: &str = "SQL Server Agent";

#[tokio::test]
async fn what_a_restored_copy_does_by_itself_is_told_as_far_as_parameters_tell() {
    let all = [SUBSCRIPTIONS, PGLOGICAL, PG_CRON, EVENTS, ORACLE_JOBS, AGENT];
    for (engine, version, parameters, expected) in [
        ("postgres", "15.4", &[][..], &[SUBSCRIPTIONS][..]),
        ("postgres", "15.4", &[("max_logical_replication_workers", "0")], &[]),
        (
            "postgres",
            "15.4",
            &[("max_logical_replication_workers", "0"), ("shared_preload_libraries", "pg_stat_statements, pg_cron")],
            &[PG_CRON],
        ),
        ("postgres", "15.4", &[("shared_preload_libraries", "pglogical,pg_cron_x")], &[SUBSCRIPTIONS, PGLOGICAL]),
        ("mysql", "8.0.39", &[], &[EVENTS]),
        ("mysql", "8.4.3", &[("event_scheduler", "OFF")], &[]),
        ("mysql", "5.7.44", &[], &[]),
        ("mysql", "5.7.44", &[("event_scheduler", "ON")], &[EVENTS]),
        ("mariadb", "10.11.9", &[], &[]),
        ("mariadb", "10.11.9", &[("event_scheduler", "1")], &[EVENTS]),
        ("oracle-se2", "19", &[], &[ORACLE_JOBS]),
        ("oracle-ee", "19", &[("job_queue_processes", "0")], &[]),
        ("sqlserver-se", "15.00", &[], &[AGENT]),
        ("db2-se", "11.5", &[], &[]),
    ] {
        // The classes that RDS offers are another test's.
        let source = source().engine(engine).engine_version(version);
        let orderable = mock!(Rds::describe_orderable_db_instance_options)
            .then_output(|| DescribeOrderableDbInstanceOptionsOutput::builder().build());
        let account = Account { parameters: set(parameters), ..account(source) };
        let plan = plan_in(&account.context_with(vec![orderable]), orders()).await.expect("planned");
        let said = plan.warnings.join("\n");
        for words in all {
            assert_eq!(said.contains(words), expected.contains(&words), "{engine} {version} {parameters:?}: {said}");
        }
        let recommends = said.contains("quarantine_security_group_id");
        assert_eq!(recommends, !expected.is_empty(), "{engine} {version} {parameters:?}: {said}");
    }
}

#[tokio::test]
async fn behind_a_quarantine_it_reaches_nobody() {
    let input = || json!({"instance_id": "orders", "quarantine_security_group_id": "sg-q"});
    let domain = DomainMembership::builder().domain("d-1").fqdn("corp.example.com").status("joined").build();
    let quarantined = said(source(), &[], input()).await;
    assert!(quarantined.contains("has the security group `sg-q` alone"), "{quarantined}");
    assert!(!quarantined.contains("let that reach the directory"), "{quarantined}");
    let member = said(source().domain_memberships(domain), &[], input()).await;
    assert!(member.contains("let that reach the directory"), "{member}");
}

#[tokio::test]
async fn every_page_of_the_parameters_is_read() {
    let pages = mock!(Rds::describe_db_parameters).then_compute_output(|input| {
        let page = DescribeDbParametersOutput::builder();
        match input.marker() {
            None => page.marker("2"),
            Some(_) => page.set_parameters(Some(set(&[("shared_preload_libraries", "pg_cron")]))),
        }
        .build()
    });
    let plan = plan_in(&account(source()).context_with(vec![pages]), orders()).await.expect("planned");
    assert!(plan.warnings.join("\n").contains(PG_CRON), "{:?}", plan.warnings);
}

/// What RDS tells against the way online; the rest the databases tell.
#[tokio::test]
async fn a_plan_says_what_closes_the_way_online() {
    const ON: &[(&str, &str)] = &[("rds.logical_replication", "1")];
    for (engine, version, parameters, said) in [
        ("postgres", "16.4", ON, None),
        ("postgres", "15.7", ON, Some("15.7 is older than 16")),
        ("postgres", "17.2", &[], Some("set rds.logical_replication = 1")),
        ("mysql", "8.0.36", &[], Some("is of the engine mysql")),
    ] {
        let source = source().engine(engine).engine_version(version);
        let account = Account { parameters: set(parameters), ..account(source.clone()) };
        let closed = crate::online::obstacles(&account.context(), &source.build()).await.expect("read");
        assert_eq!(closed.is_empty(), said.is_none(), "{closed:?}");
        assert!(said.is_none_or(|said| closed[0].contains(said)), "{closed:?}");
    }
}
