//! Renaming an instance: what it needs, and the call. Going forward and going back use the same.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::DbInstance;

use crate::error::Error;
use crate::ids::InstanceId;
use crate::status::{self, Class};

/// A name that an instance has just lost may be taken for a while yet [A9].
pub const NAME_RELEASE_SECONDS: u64 = 600;

/// Asks for the rename. It takes effect at once and reboots the instance ("Renaming a DB instance", RDS User Guide).
pub async fn request(client: &Client, instance: &DbInstance, to_id: &InstanceId) -> Result<(), Error> {
    let from_id = instance.db_instance_identifier().unwrap_or_default();
    let call = client
        .modify_db_instance()
        .db_instance_identifier(from_id)
        .new_db_instance_identifier(to_id.as_str())
        .apply_immediately(true);
    match call.send().await {
        Ok(_) => Ok(()),
        // It was there a moment ago. The SDK repeats a call whose answer got lost: the first one worked.
        Err(error) if error.as_service_error().is_some_and(|error| error.is_db_instance_not_found_fault()) => Ok(()),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_db_instance_already_exists_fault()) => {
            Err(Error::NameConflict(format!(
                "DB instance `{from_id}` cannot be renamed to `{to_id}`: somebody has taken that name meanwhile"
            )))
        }
        Err(error) => Err(Error::from_call(format!("rename DB instance `{from_id}` to `{to_id}`"), error)),
    }
}

/// Whether it can be renamed now; an error if it never will by itself.
pub fn is_possible(instance: &DbInstance) -> Result<bool, Error> {
    let status = instance.db_instance_status().unwrap_or_default();
    match status::instance(status) {
        // Storage is optimized for hours, during which the name answers nobody.
        _ if status::can_be_modified(status) => Ok(true),
        Class::Ready | Class::Pending { .. } => Ok(false),
        Class::Failed { remedy } => {
            let id = instance.db_instance_identifier().unwrap_or_default();
            Err(Error::InstanceFailed(format!("DB instance `{id}` is `{status}` and cannot be renamed: {remedy}")))
        }
    }
}
