//! Two cutovers of one source, under whatever target names, would take each other's name and security groups.

use aws_sdk_rds::types::DbInstance;
use serde_json::Value;
use workflow::Error;
use workflow::ids::{InstanceReference, Names};

use crate::Context;
use crate::executions::{Others, describe, input_of, is_plan_only};

/// The later of two gives way: it is refused before it has touched the source.
pub(crate) fn refuse_beside_another(source: &DbInstance, others: &Others) -> Result<(), Error> {
    let Some(earlier) = others.earlier.iter().find(|other| cuts_over(&other.input, source)) else { return Ok(()) };
    Err(Error::CutoverInProgress(format!(
        "the execution {} began earlier, still runs, and is to give the name of `{}` to another instance: wait for its \
         end, or stop it and wait until it is undone; then start again",
        earlier.arn,
        source.db_instance_identifier().unwrap_or_default()
    )))
}

/// Names an undo of an earlier one, which can be about to put back the source's name and groups.
pub(crate) async fn undo(context: &Context, source: &DbInstance, others: &Others) -> Result<Option<String>, Error> {
    for undo in &others.undos {
        let undone = describe(context, &undo.of).await?.map(|execution| input_of(&execution));
        if undone.is_some_and(|input| cuts_over(&input, source)) {
            return Ok(Some(format!(
                "{} still looks after what {} left, and can put back the name and the security groups of `{}`",
                undo.arn,
                undo.of,
                source.db_instance_identifier().unwrap_or_default()
            )));
        }
    }
    Ok(None)
}

/// Whether an execution of this input renames this source. An instance can be named by its identifier, its ARN
/// or its resource id, and half-way through a cutover the source has its other name already.
///
/// Read loosely: the other may have been started under another version of the input's rules.
fn cuts_over(input: &Value, source: &DbInstance) -> bool {
    let text = |field| input.get(field).and_then(Value::as_str);
    // One that logs in to replicate always does.
    let logs_in = text("database_secret_arn").or(text("database_iam_user")).is_some();
    let replicates = logs_in && input.get("compare_data") != Some(&Value::Bool(true));
    let is_cutover = text("cutover") == Some("rename") || replicates;
    if !is_cutover || is_plan_only(input) {
        return false;
    }
    match text("instance_id").map(InstanceReference::parse) {
        Some(Ok(InstanceReference::Id(id) | InstanceReference::Arn { id, .. })) => {
            let renamed = Names::derive(&id, None).unencrypted_instance_id;
            let name = source.db_instance_identifier();
            [id, renamed].iter().any(|id| Some(id.as_str()) == name)
        }
        Some(Ok(InstanceReference::ResourceId(resource_id))) => Some(resource_id.as_str()) == source.dbi_resource_id(),
        // It is about to be refused.
        Some(Err(_)) | None => false,
    }
}
