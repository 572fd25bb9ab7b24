//! What an instance belongs to, and whether it is in force: RDS names a group, a role or a directory as
//! soon as it was asked for, and says by a status what has become of it.

use aws_sdk_rds::types::DbInstance;

/// What a membership's status means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Force {
    InForce,
    /// In force after the next reboot.
    NeedsReboot,
    OnItsWay,
    Leaving,
    Failed,
}

/// A group, role or directory of an instance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Membership {
    /// The field of DescribeDBInstances.
    pub field: &'static str,
    pub name: String,
    /// AWS's word.
    pub status: String,
}

impl Membership {
    pub fn force(&self) -> Force {
        force(Some(&self.status))
    }
}

/// ``VpcSecurityGroups: `sg-1` is adding``
impl std::fmt::Display for Membership {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: `{}` is {}", self.field, self.name, self.status)
    }
}

/// The one table of these statuses, from the API reference of DBParameterGroupStatus, OptionGroupMembership,
/// VpcSecurityGroupMembership, DBInstanceRole and DomainMembership, and "Understanding Domain membership"
/// (RDS User Guide). What it does not know is on its way, until the deadline of whoever waits.
fn force(status: Option<&str>) -> Force {
    match status {
        None | Some("active" | "ACTIVE" | "in-sync" | "joined" | "kerberos-enabled") => Force::InForce,
        Some("pending-reboot") => Force::NeedsReboot,
        Some(status) if status == "INVALID" || status.contains("fail") => Force::Failed,
        Some(status) if status.contains("remov") || status.contains("disabl") => Force::Leaving,
        Some(_) => Force::OnItsWay,
    }
}

/// Whether the instance has it, or will: what failed or leaves is no setting of the instance.
pub(super) fn stays(status: Option<&str>) -> bool {
    !matches!(force(status), Force::Leaving | Force::Failed)
}

/// The (name, status) pairs of a field.
pub(super) type Read = fn(&DbInstance) -> Vec<(String, Option<&str>)>;

pub(super) fn parameter_groups(instance: &DbInstance) -> Vec<(String, Option<&str>)> {
    let groups = instance.db_parameter_groups().iter();
    groups.map(|group| (text(group.db_parameter_group_name()), group.parameter_apply_status())).collect()
}

pub(super) fn option_groups(instance: &DbInstance) -> Vec<(String, Option<&str>)> {
    let groups = instance.option_group_memberships().iter();
    groups.map(|group| (text(group.option_group_name()), group.status())).collect()
}

pub(super) fn security_groups(instance: &DbInstance) -> Vec<(String, Option<&str>)> {
    let groups = instance.vpc_security_groups().iter();
    groups.map(|group| (text(group.vpc_security_group_id()), group.status())).collect()
}

pub(super) fn roles(instance: &DbInstance) -> Vec<(String, Option<&str>)> {
    instance.associated_roles().iter().map(|role| (text(role.role_arn()), role.status())).collect()
}

pub(super) fn domains(instance: &DbInstance) -> Vec<(String, Option<&str>)> {
    let domains = instance.domain_memberships().iter();
    domains.map(|domain| (text(domain.fqdn().or(domain.domain())), domain.status())).collect()
}

fn text(name: Option<&str>) -> String {
    name.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_status_is_in_force_on_its_way_or_lost() {
        for (expected, statuses) in [
            (Force::InForce, "active ACTIVE in-sync joined kerberos-enabled"),
            (Force::NeedsReboot, "pending-reboot"),
            (
                Force::OnItsWay,
                "adding PENDING applying pending-apply pending-maintenance-apply pending-join joining \
                 pending-maintenance-join enabling-kerberos pending-enable-kerberos something-new",
            ),
            (
                Force::Leaving,
                "removing pending-removal pending-maintenance-removal disabling-kerberos pending-disable-kerberos",
            ),
            (Force::Failed, "failed INVALID enable-kerberos-failed"),
        ] {
            for status in statuses.split_whitespace() {
                assert_eq!(force(Some(status)), expected, "{status}");
            }
        }
        assert_eq!(force(None), Force::InForce, "what RDS says nothing about");
    }
}
