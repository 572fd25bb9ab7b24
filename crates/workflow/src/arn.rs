//! Amazon Resource Names, taken apart.

/// `arn:<partition>:<service>:<region>:<account>:<resource>` (IAM User Guide, "Identify AWS resources with Amazon
/// Resource Names"); the resource may hold further colons.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Arn<'a> {
    pub service: &'a str,
    pub region: &'a str,
    pub account: &'a str,
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next();
        let ("arn", _partition) = (next()?, next()?) else { return None };
        let arn = Self { service: next()?, region: next()?, account: next()?, resource: next()? };
        (!arn.service.is_empty() && !arn.resource.is_empty()).then_some(arn)
    }

    /// The name of a resource of that type: `orders` of `db:orders`.
    pub fn name_of(self, service: &str, resource_type: &str) -> Option<&'a str> {
        let name = self.resource.strip_prefix(resource_type)?.strip_prefix(':')?;
        (self.service == service && !name.is_empty()).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_is_taken_apart_whatever_its_partition_and_resource() {
        let arn = Arn::parse("arn:aws-cn:states:cn-north-1:123456789012:execution:machine:name").expect("an ARN");
        let expected = Arn {
            service: "states",
            region: "cn-north-1",
            account: "123456789012",
            resource: "execution:machine:name",
        };
        assert_eq!(arn, expected);
        assert_eq!(arn.name_of("states", "execution"), Some("machine:name"));
        assert_eq!(arn.name_of("states", "stateMachine"), None);
        assert_eq!(arn.name_of("rds", "execution"), None);
    }

    #[test]
    fn what_lacks_a_part_is_none() {
        for text in [
            "",
            "orders",
            "arn:aws:rds",
            "arn:aws:rds:r:1",
            "arn:aws:rds:r:1:",
            "arn:aws::r:1:db:orders",
            "arm:aws:rds:r:1:db:orders",
        ] {
            assert_eq!(Arn::parse(text), None, "{text}");
        }
        assert_eq!(Arn::parse("arn:aws:rds:r:1:db:").and_then(|arn| arn.name_of("rds", "db")), None);
    }
}
