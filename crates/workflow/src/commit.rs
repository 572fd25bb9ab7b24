//! The commit point: from here on nothing of ours deletes the target.
//!
//! `clean-up` and `undo` delete only what carries this execution's tag, and the condition in their roles'
//! policies lets them delete nothing else. Taking the tag off is what cannot be taken back.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::DbInstance;

use crate::error::Error;
use crate::owner::{EXECUTION_TAG, execution_of};

/// Whether the target has passed it.
pub fn is_passed(target: &DbInstance) -> bool {
    execution_of(target.tag_list()).is_none()
}

/// Takes this execution's tag off the target.
pub async fn pass(client: &Client, target: &DbInstance) -> Result<(), Error> {
    let arn = target.db_instance_arn().unwrap_or_default();
    let call = client.remove_tags_from_resource().resource_name(arn).tag_keys(EXECUTION_TAG);
    let outcome = call.send().await;
    outcome.map_err(|error| Error::from_call(format!("remove the tag {EXECUTION_TAG} from {arn}"), error))?;
    Ok(())
}
