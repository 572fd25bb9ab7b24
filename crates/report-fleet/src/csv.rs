//! The report for spreadsheets (RFC 4180).

use crate::Line;

const HEADINGS: &str = "outcome,instance_id,resource_id,engine,class,allocated_gib,way,encrypted_instance_id,reason,\
                        minutes,phases,detail,order,execution\r\n";

pub(crate) fn of(lines: &[Line]) -> String {
    HEADINGS.to_owned() + &lines.iter().map(row).collect::<String>()
}

fn row(line: &Line) -> String {
    let outcome: &str = line.outcome.into();
    let [gib, minutes] = [line.allocated_gib.to_string(), line.minutes.to_string()];
    let phases: Vec<String> = line.phases.iter().map(|(phase, minutes)| format!("{phase} {minutes}")).collect();
    let (phases, order) = (phases.join("; "), if line.order > 0 { line.order.to_string() } else { String::new() });
    let cells = [
        outcome,
        &line.instance_id,
        &line.resource_id,
        &line.engine,
        &line.class,
        &gib,
        &line.way,
        &line.encrypted_instance_id,
        &line.reason,
        &minutes,
        &phases,
        &line.detail,
        &order,
        &line.execution,
    ];
    cells.map(cell).join(",") + "\r\n"
}

/// In quotes where need be. A text that a spreadsheet would take for a formula gets an apostrophe in front.
pub(crate) fn cell(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
