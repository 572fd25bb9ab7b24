//! How a task works: every row, every error an end. DMS's own defaults go on without what they could not carry.

use serde_json::json;

/// `schema`: where DMS keeps its own tables at the target [A106].
pub(crate) fn task(schema: &str) -> String {
    const STOP: &str = "STOP_TASK";
    json!({
        // In the limited mode long values are cut off.
        "TargetMetadata": {"SupportLobs": true, "FullLobMode": true, "LobChunkSize": 64},
        "FullLoadSettings": {"TargetTablePrepMode": "TRUNCATE_BEFORE_LOAD"},
        "Logging": {"EnableLogging": true},
        "ControlTablesSettings": {"ControlSchema": schema},
        "ValidationSettings": {"EnableValidation": true},
        // FullLoadIgnoreConflicts stays on: what changes while its table is loaded is in the load already.
        "ErrorBehavior": {
            "DataErrorPolicy": STOP,
            "DataErrorEscalationPolicy": STOP,
            "DataTruncationErrorPolicy": STOP,
            "TableErrorPolicy": STOP,
            "TableErrorEscalationPolicy": STOP,
            "ApplyErrorInsertPolicy": STOP,
            "ApplyErrorUpdatePolicy": STOP,
            "ApplyErrorDeletePolicy": STOP,
            "ApplyErrorEscalationPolicy": STOP,
            "ApplyErrorFailOnTruncationDdl": true,
            "FailOnNoTablesCaptured": true,
            "FailOnTransactionConsistencyBreached": true,
        },
    })
    .to_string()
}

/// All tables of a database; DMS leaves PostgreSQL's own out.
pub(crate) fn all_tables() -> String {
    json!({"rules": [{
        "rule-type": "selection",
        "rule-id": "1",
        "rule-name": "all",
        "object-locator": {"schema-name": "%", "table-name": "%"},
        "rule-action": "include",
    }]})
    .to_string()
}
