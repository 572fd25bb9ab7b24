//! Puts the names back after a failure around the two renames.
//!
//! The commit point is the request for the second rename. Whether that was made is not asked of the
//! state, whose replies may be lost, but of the target: it has the name or is being renamed, or,
//! once no abandoned call can land any more, it never had it and never served a client.

use aws_sdk_rds::Client;
use workflow::Error;
use workflow::describe::{find_by_resource_id, has_pending_modifications, pending_identifier};
use workflow::ids::InstanceId;
use workflow::status::{self, Class};
use workflow::wait;

use crate::{Restored, may_be_renamed, request};

/// Names go back whatever it takes; only after this a human must look.
const DEADLINE_SECONDS: u64 = 48 * 60 * 60;
/// Longer than a function may run (60 s, see the template): until then its call can still land.
const LATE_CALL_SECONDS: u64 = 70;

pub(crate) async fn turn(
    client: &Client,
    source_resource_id: &str,
    target_resource_id: Option<&str>,
    instance_id: &InstanceId,
    previous: Restored,
) -> Result<Restored, Error> {
    let what = format!("the name `{instance_id}` is not back at DB instance {source_resource_id}");
    let mut restored = Restored { committed: false, ..previous };
    restored.turn.ready = false;
    if let Some(target) = target_resource_id {
        // Not seen: it is between two names, or gone. Only a target that is seen, or a source that is
        // seen under the name, settles who has it.
        if let Some(target) = find_by_resource_id(client, target).await?
            && [target.db_instance_identifier(), pending_identifier(&target)].contains(&Some(instance_id.as_str()))
        {
            restored.committed = true;
            restored.turn.ready = true;
            return Ok(restored);
        }
    }
    if !restored.late_call_is_over {
        restored.late_call_is_over = true;
        restored.turn.wait = wait::sleep(Some(&restored.turn.wait), LATE_CALL_SECONDS, DEADLINE_SECONDS)
            .map_err(|_| Error::WaitTimedOut(what.clone()))?;
        return Ok(restored);
    }
    let source = find_by_resource_id(client, source_resource_id).await?;
    restored.turn.status = source.as_ref().and_then(|source| source.db_instance_status()).map(str::to_owned);
    let steady = match source {
        None => false,
        Some(source) if source.db_instance_identifier() == Some(instance_id.as_str()) => {
            let status = source.db_instance_status().unwrap_or_default();
            // Its own life goes on: a backup that started meanwhile is not ours to wait for.
            !has_pending_modifications(&source)
                && (status::serves_clients(status) || matches!(status::instance(status), Class::Failed { .. }))
        }
        Some(source) => {
            if may_be_renamed(&source)? && pending_identifier(&source).is_none() {
                request(client, &source, instance_id).await?;
            }
            false
        }
    };
    restored.turn = restored.turn.end(steady, &what, DEADLINE_SECONDS)?;
    Ok(restored)
}
