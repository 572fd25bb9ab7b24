//! Whether the security groups of the input can be given to an instance in the source's VPC. RDS itself says so
//! only when it is asked to do it, hours later.

use std::collections::BTreeMap;

use aws_sdk_rds::types::DbInstance;
use workflow::Error;
use workflow::error::invalid;
use workflow::options::Options;

use crate::Context;
use crate::look_ups::{in_time, not_looked_for};

/// Refuses a group that cannot serve its purpose; returns what could not be looked for, which is safe to go on
/// without: RDS refuses such a group, and what was made is undone.
pub(crate) async fn refuse(context: &Context, source: &DbInstance, options: &Options) -> Result<Vec<String>, Error> {
    let asked = [
        ("isolation_security_group_id", &options.isolation_security_group_id),
        ("quarantine_security_group_id", &options.quarantine_security_group_id),
    ];
    let asked: Vec<(&str, &str)> =
        asked.iter().filter_map(|(field, group)| Some((*field, group.as_deref()?))).collect();
    if asked.is_empty() {
        return Ok(vec![]);
    }
    let mut own = source.vpc_security_groups().iter().filter_map(|group| group.vpc_security_group_id());
    if let Some((field, group)) = asked.iter().find(|(_, group)| own.any(|own| own == *group)) {
        let problem = format!("`{group}` is a group of the source already, so it keeps nobody out; choose another");
        return Err(invalid(*field, problem));
    }
    let groups: Vec<&str> = asked.iter().map(|(_, group)| *group).collect();
    let vpcs = match in_time(context, context.ec2.vpcs_of(&groups)).await {
        Ok(vpcs) => vpcs,
        Err(why) => {
            let what = format!("whether the security groups {} exist in the source's VPC", groups.join(", "));
            return Ok(vec![not_looked_for(&what, why)]);
        }
    };
    for (field, group) in asked {
        if let Some(problem) = problem(group, source, &vpcs) {
            return Err(invalid(field, problem));
        }
    }
    Ok(vec![])
}

fn problem(group: &str, source: &DbInstance, vpcs: &BTreeMap<String, String>) -> Option<String> {
    let own = source.db_subnet_group().and_then(|group| group.vpc_id())?;
    match vpcs.get(group) {
        None => {
            Some(format!("there is no security group `{group}` in this account and Region; name one of the VPC {own}"))
        }
        Some(vpc) if vpc != own => {
            Some(format!("`{group}` belongs to the VPC {vpc}, but the source is in {own}; name a group of that VPC"))
        }
        Some(_) => None,
    }
}
