//! The input of an execution, as a human or a pipeline wrote it.
//!
//! Anything at all may arrive here, so every problem is `InvalidInput` with the field's name and
//! what to change; nothing has been created yet.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use workflow::arn::Arn;
use workflow::error::{Error, invalid};
use workflow::ids::{InstanceId, InstanceReference};
use workflow::online::Login;
use workflow::options::{Cutover, Engine, OnFailure, Options, Snapshots, Way};

/// Longer than any that AWS gives out.
const ARN_LENGTH_MAX: usize = 512;
const MINUTES_PER_WAIT_DEFAULT: f64 = 24.0 * 60.0;
const MINUTES_PER_WAIT_MAX: f64 = 7.0 * 24.0 * 60.0;
/// Added by Step Functions when a parent execution starts this one (nested workflows).
const STARTED_BY_EXECUTION: &str = "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID";
/// A Fail state's cause is bounded (32,768 characters), and nobody reads a long one.
const SHOWN_CHARACTERS_MAX: usize = 80;
/// The longest value of any field: KeyId of KMS's DescribeKey. What AWS says about a value repeats it.
const TEXT_LENGTH_MAX: usize = 2048;

const FIELDS: &[&str] = &[
    "instance_id",
    "kms_key_id",
    "target_instance_id",
    "snapshots",
    "on_failure",
    "plan_only",
    "max_wait_minutes",
    "approval",
    "approval_timeout_minutes",
    "notify",
    "resume",
    "quarantine_security_group_id",
    "cutover",
    "writes_stopped",
    "accept_lost_writes",
    "isolation_security_group_id",
    "wait_for_initialization",
    "accept_stale_replicas",
    "switchover_timeout_seconds",
    "accept_stack_drift",
    "on_behalf_of",
    "database_secret_arn",
    "database_iam_user",
    "max_downtime_seconds",
    "engine",
    "window",
    "window_minutes",
    "compare_data",
];
/// These belong to one way alone.
const SNAPSHOT_FIELDS: &[&str] = &[
    "target_instance_id",
    "snapshots",
    "quarantine_security_group_id",
    "cutover",
    "writes_stopped",
    "accept_lost_writes",
    "isolation_security_group_id",
    "wait_for_initialization",
    "accept_stale_replicas",
];
const BLUE_GREEN_FIELDS: &[&str] = &["switchover_timeout_seconds", "accept_stack_drift"];
const ONLINE_FIELDS: &[&str] = &["max_downtime_seconds", "engine", "window", "window_minutes"];
/// These want a login to the databases.
const LOGIN_FIELDS: &[&str] = &["compare_data", "database_secret_arn", "database_iam_user"];
/// What the way by snapshot has and the way online has no use for.
const NOT_ONLINE_FIELDS: &[&str] = &[
    "target_instance_id",
    "quarantine_security_group_id",
    "cutover",
    "writes_stopped",
    "accept_lost_writes",
    "isolation_security_group_id",
    "on_behalf_of",
    "compare_data",
];
/// The fence, the drain and the comparison take seconds; two renames, each of which reboots, take minutes.
const DOWNTIME_SECONDS_DEFAULT: u64 = 900;
const DOWNTIME_SECONDS: std::ops::RangeInclusive<u64> = 10..=1_800;
const WINDOW_MINUTES_DEFAULT: f64 = 60.0;
/// "Default: 300", at least 30 (SwitchoverBlueGreenDeployment, API model); at most 3,600 (User Guide).
const SWITCHOVER_TIMEOUT_SECONDS_DEFAULT: u64 = 300;
const SWITCHOVER_TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 30..=3_600;
/// These mean something only for a cutover; without one they are a misunderstanding.
const CUTOVER_FIELDS: &[&str] = &[
    "writes_stopped",
    "accept_lost_writes",
    "isolation_security_group_id",
    "wait_for_initialization",
    "accept_stale_replicas",
];

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Input {
    pub(crate) instance: InstanceReference,
    /// Key id, key ARN, alias name or alias ARN; `None`: the stack's parameter.
    pub(crate) kms_key_id: Option<String>,
    pub(crate) target_instance_id: Option<InstanceId>,
    pub(crate) options: Options,
    /// The finished execution whose resources this one goes on with.
    pub(crate) resume: Option<String>,
    /// A CloudFormation stack may go on to describe the old instance.
    pub(crate) accept_stack_drift: bool,
}

impl Input {
    pub(crate) fn parse(input: &Value, way: Way) -> Result<Self, Error> {
        let Value::Object(fields) = input else {
            return Err(invalid(
                "input",
                format!("is {}, not an object such as {{\"instance_id\": \"orders\"}}", kind(input)),
            ));
        };
        if let Some(unknown) =
            fields.keys().find(|name| !FIELDS.contains(&name.as_str()) && *name != STARTED_BY_EXECUTION)
        {
            return Err(invalid(shortened(unknown), unknown_field(unknown)));
        }
        refuse_other_ways(fields, way)?;
        // The machines themselves read it.
        flag(fields, "notify")?;
        let instance = text(fields, "instance_id")?
            .ok_or_else(|| invalid("instance_id", "is missing; it names the DB instance to encrypt"))?;
        let target = text(fields, "target_instance_id")?;
        let on_behalf_of = execution_arn(fields, "on_behalf_of")?;
        let cutover = match way == Way::Online || on_behalf_of.is_some() {
            true => Cutover::Rename,
            false => choice(fields, "cutover", Cutover::ALL)?,
        };
        if cutover == Cutover::None
            && let Some(field) = CUTOVER_FIELDS
                .iter()
                .find(|field| present(fields, field).is_some_and(|value| *value != Value::Bool(false)))
        {
            return Err(invalid(*field, "is only for a cutover; add \"cutover\": \"rename\", or leave it out"));
        }
        let snapshots = choice(fields, "snapshots", Snapshots::ALL)?;
        if cutover == Cutover::Rename && snapshots == Snapshots::DeleteAll {
            // Automated backups come after the second rename (the crate `settings`), the first of them in hours.
            return Err(invalid(
                "snapshots",
                "cannot be \"delete_all\" with a cutover: until the first backup afterwards is done, the encrypted \
                 snapshot is the only recovery point of the instance that serves; leave the field out, and delete that \
                 snapshot yourself once LatestRestorableTime appears (or at all, if there are no automated backups)",
            ));
        }
        Ok(Self {
            instance: InstanceReference::parse(instance).map_err(|problem| invalid("instance_id", problem))?,
            kms_key_id: key(fields)?,
            target_instance_id: target
                .map(InstanceId::parse)
                .transpose()
                .map_err(|problem| invalid("target_instance_id", problem))?,
            options: Options {
                snapshots,
                on_failure: choice(fields, "on_failure", OnFailure::ALL)?,
                plan_only: flag(fields, "plan_only")?,
                max_wait_seconds: seconds(fields, "max_wait_minutes", MINUTES_PER_WAIT_DEFAULT)?,
                cutover,
                writes_stopped: flag(fields, "writes_stopped")?,
                accept_lost_writes: flag(fields, "accept_lost_writes")?,
                isolation_security_group_id: security_group(fields, "isolation_security_group_id")?,
                quarantine_security_group_id: security_group(fields, "quarantine_security_group_id")?,
                wait_for_initialization: flag(fields, "wait_for_initialization")?,
                accept_stale_replicas: flag(fields, "accept_stale_replicas")?,
                approval: flag(fields, "approval")?,
                approval_timeout_seconds: seconds(fields, "approval_timeout_minutes", MINUTES_PER_WAIT_DEFAULT)?,
                switchover_timeout_seconds: whole_seconds(
                    fields,
                    "switchover_timeout_seconds",
                    SWITCHOVER_TIMEOUT_SECONDS_DEFAULT,
                    SWITCHOVER_TIMEOUT_SECONDS,
                )?,
                on_behalf_of,
                login: if way == Way::Online { Some(login_of_engine(fields)?) } else { None },
                max_downtime_seconds: whole_seconds(
                    fields,
                    "max_downtime_seconds",
                    DOWNTIME_SECONDS_DEFAULT,
                    DOWNTIME_SECONDS,
                )?,
                engine: choice(fields, "engine", Engine::ALL)?,
                compare_data: compare_data(fields, cutover)?,
                window: window(fields)?,
                window_seconds: seconds(fields, "window_minutes", WINDOW_MINUTES_DEFAULT)?,
            },
            resume: execution_arn(fields, "resume")?,
            accept_stack_drift: flag(fields, "accept_stack_drift")?,
        })
    }
}

/// A field of another machine is a misunderstanding of what this one does.
fn refuse_other_ways(fields: &Map<String, Value>, way: Way) -> Result<(), Error> {
    const FOR_BLUE_GREEN: &str = "is for the state machine encrypt-blue-green; leave it out here";
    const FOR_A_LOGIN: &str = "is for \"compare_data\": true, or the state machine encrypt-online; leave it out here";
    const FOR_ONLINE: &str = "is for the state machine encrypt-online; leave it out here";
    let others: &[(&[&str], &str)] = match way {
        Way::Snapshot => &[
            (BLUE_GREEN_FIELDS, FOR_BLUE_GREEN),
            (ONLINE_FIELDS, FOR_ONLINE),
            (
                if flag(fields, "compare_data")? { &[] } else { &["database_secret_arn", "database_iam_user"] },
                FOR_A_LOGIN,
            ),
        ],
        Way::BlueGreen => &[
            (
                SNAPSHOT_FIELDS,
                "is for the state machine encrypt-instance: a blue/green deployment takes no snapshot of yours, loses \
                 no write, and gives the name by its switchover; leave it out here",
            ),
            (ONLINE_FIELDS, FOR_ONLINE),
            (
                LOGIN_FIELDS,
                "wants a login, and nobody logs in for a blue/green deployment: RDS itself replicates to green; compare \
                 afterwards, with the state machine verify-data; leave it out here",
            ),
        ],
        Way::Online => &[
            (BLUE_GREEN_FIELDS, FOR_BLUE_GREEN),
            (
                NOT_ONLINE_FIELDS,
                "is for the state machine encrypt-instance: replication loses no write, fences the source by itself, \
                 compares every row and always gives the name; leave it out here",
            ),
            (
                &["resume"],
                "is not for encrypt-online: a target that was kept follows the source no more, since no slot may be left \
                 behind to fill the source's storage; leave it out, and start anew",
            ),
        ],
    };
    for (names, why) in others {
        if let Some(field) = names.iter().find(|field| present(fields, field).is_some()) {
            return Err(invalid(*field, *why));
        }
    }
    Ok(())
}

/// The login for it. The copy holds what the source has only where nobody writes to that.
fn compare_data(fields: &Map<String, Value>, cutover: Cutover) -> Result<Option<Login>, Error> {
    const FIELD: &str = "compare_data";
    if !flag(fields, FIELD)? {
        return Ok(None);
    }
    if cutover == Cutover::Rename {
        return Err(invalid(
            FIELD,
            "is not for a cutover: its sessions would count as clients, and writes_stopped would not hold; encrypt-online \
             compares every row and renames, or leave \"cutover\" out and rename by hand",
        ));
    }
    if present(fields, "quarantine_security_group_id").is_some() {
        return Err(invalid(
            FIELD,
            "logs in to the target, which quarantine_security_group_id shuts off; leave one out",
        ));
    }
    login(fields).map(Some)
}

/// When the outage may begin; it must end within, so that it has to be the shorter one.
fn window(fields: &Map<String, Value>) -> Result<Option<String>, Error> {
    let lasts_seconds = seconds(fields, "window_minutes", WINDOW_MINUTES_DEFAULT)?;
    let downtime_seconds = whole_seconds(fields, "max_downtime_seconds", DOWNTIME_SECONDS_DEFAULT, DOWNTIME_SECONDS)?;
    let Some(opens) = text(fields, "window")? else {
        return match present(fields, "window_minutes") {
            Some(_) => Err(invalid("window_minutes", "is only for a window; add \"window\", or leave it out")),
            None => Ok(None),
        };
    };
    if lasts_seconds <= downtime_seconds {
        let problem =
            format!("must be longer than the outage, for which max_downtime_seconds allows {downtime_seconds} s");
        return Err(invalid("window_minutes", problem));
    }
    let lasts = Duration::from_secs(lasts_seconds - downtime_seconds);
    window::look(opens, lasts, SystemTime::now()).map_err(|problem| invalid("window", problem))?;
    Ok(Some(opens.to_owned()))
}

/// AWS DMS's endpoints want a password that a later step knows again.
fn login_of_engine(fields: &Map<String, Value>) -> Result<Login, Error> {
    let login = login(fields)?;
    if matches!(login, Login::IamUser(_)) && choice(fields, "engine", Engine::ALL)? == Engine::Dms {
        return Err(invalid("database_iam_user", "is not for \"engine\": \"dms\"; give database_secret_arn"));
    }
    Ok(login)
}

fn login(fields: &Map<String, Value>) -> Result<Login, Error> {
    Login::parse(text(fields, "database_secret_arn")?, text(fields, "database_iam_user")?)
}

fn whole_seconds(
    fields: &Map<String, Value>,
    name: &str,
    default: u64,
    legal: std::ops::RangeInclusive<u64>,
) -> Result<u64, Error> {
    let Some(value) = present(fields, name) else { return Ok(default) };
    value.as_u64().filter(|seconds| legal.contains(seconds)).ok_or_else(|| {
        invalid(name, format!("must be a whole number of seconds from {} to {}", legal.start(), legal.end()))
    })
}

fn key(fields: &Map<String, Value>) -> Result<Option<String>, Error> {
    let Some(key) = text(fields, "kms_key_id")? else { return Ok(None) };
    if key.is_empty() || key.chars().any(char::is_whitespace) {
        return Err(invalid("kms_key_id", "is not a key id, a key ARN, an alias name (alias/…) or an alias ARN"));
    }
    Ok(Some(key.to_owned()))
}

fn seconds(fields: &Map<String, Value>, name: &str, default_minutes: f64) -> Result<u64, Error> {
    let minutes = match present(fields, name) {
        None => default_minutes,
        Some(value) => value
            .as_f64()
            .ok_or_else(|| invalid(name, format!("is {}, not a number of minutes such as 90 or 0.5", kind(value))))?,
    };
    if !(minutes > 0.0 && minutes <= MINUTES_PER_WAIT_MAX) {
        let problem = format!("is {minutes}; it must be above 0 and at most {MINUTES_PER_WAIT_MAX} (7 days)");
        return Err(invalid(name, problem));
    }
    Ok((minutes * 60.0).ceil() as u64)
}

fn security_group(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, Error> {
    let Some(group) = text(fields, name)? else { return Ok(None) };
    let is_id = group.strip_prefix("sg-").is_some_and(|rest| {
        !rest.is_empty() && rest.len() <= 40 && rest.chars().all(|character| character.is_ascii_alphanumeric())
    });
    if !is_id {
        return Err(invalid(name, format!("`{}` is not the id of a security group (sg-…)", shortened(group))));
    }
    Ok(Some(group.to_owned()))
}

fn execution_arn(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, Error> {
    let Some(arn) = text(fields, name)? else { return Ok(None) };
    let execution = named(arn, "states", "execution").and_then(|execution| execution.split_once(':'));
    if execution.is_none_or(|(machine, id)| machine.is_empty() || id.is_empty() || id.contains(':')) {
        let problem = format!("`{}` is not the ARN of an execution (arn:aws:states:…)", shortened(arn));
        return Err(invalid(name, problem));
    }
    Ok(Some(arn.to_owned()))
}

/// What an ARN of that type names, if it is one.
fn named<'a>(arn: &'a str, service: &str, resource_type: &str) -> Option<&'a str> {
    let parsed = Arn::parse(arn).filter(|_| arn.len() <= ARN_LENGTH_MAX)?;
    parsed.name_of(service, resource_type).filter(|name| !name.contains(char::is_whitespace))
}

/// A field that is absent or `null`, which many templating tools write for "not given".
fn present<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Error> {
    let Some(value) = present(fields, name) else { return Ok(None) };
    let text = value.as_str().ok_or_else(|| invalid(name, format!("is {}, not a string", kind(value))))?;
    if text.len() > TEXT_LENGTH_MAX {
        return Err(invalid(
            name,
            format!("has {} bytes, and no legal value has more than {TEXT_LENGTH_MAX}", text.len()),
        ));
    }
    Ok(Some(text))
}

fn flag(fields: &Map<String, Value>, name: &str) -> Result<bool, Error> {
    let Some(value) = present(fields, name) else { return Ok(false) };
    value.as_bool().ok_or_else(|| invalid(name, format!("is {}; it must be true or false", kind(value))))
}

/// One of a few words; without the field the first, which is the default.
fn choice<T: Copy>(fields: &Map<String, Value>, name: &str, words: &[(&str, T)]) -> Result<T, Error> {
    let asked = match present(fields, name) {
        None => return Ok(words[0].1),
        Some(value) => value.as_str(),
    };
    let found = words.iter().find(|(word, _)| asked == Some(word)).map(|(_, meaning)| *meaning);
    found.ok_or_else(|| {
        let known: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        invalid(name, format!("must be one of {}", known.join(", ")))
    })
}

fn unknown_field(name: &str) -> String {
    let (distance, nearest) = FIELDS
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&shortened(name).to_lowercase(), known), known))
        .min()
        .unwrap_or((usize::MAX, &FIELDS[0]));
    // Half of the letters right is a slip; less is another word.
    if distance * 2 <= nearest.len() {
        format!("is not a field of the input; did you mean `{nearest}`?")
    } else {
        format!("is not a field of the input; these are: {}", FIELDS.join(", "))
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= SHOWN_CHARACTERS_MAX {
        return text.to_owned();
    }
    text.chars().take(SHOWN_CHARACTERS_MAX).chain(['…']).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn problem(input: Value) -> String {
        let error = Input::parse(&input, Way::Snapshot).expect_err("refused");
        assert_eq!(error.name(), "InvalidInput");
        error.to_string()
    }

    #[test]
    fn the_instance_alone_is_enough() {
        let input = Input::parse(&json!({"instance_id": "soa-04-005"}), Way::Snapshot).expect("legal");
        assert_eq!(input.instance, InstanceReference::Id(InstanceId::parse("soa-04-005").expect("legal")));
        assert_eq!(input.options.snapshots, Snapshots::DeleteUnencrypted);
        assert_eq!(input.options.on_failure, OnFailure::Undo);
        assert!(!input.options.plan_only);
        assert_eq!(input.options.max_wait_seconds, 86_400);
    }

    #[test]
    fn what_an_outage_would_fail_of_is_refused_before_anything_begins() {
        let secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds-encrypt/orders-a1B2c3";
        let parse = |more: Value| {
            let mut input = json!({"instance_id": "orders", "database_secret_arn": secret});
            input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            Input::parse(&input, Way::Online).map(|input| (input.options.window, input.options.window_seconds))
        };
        let every_hour = json!("cron(0 * * * ? *)");
        assert_eq!(parse(json!({})).expect("legal"), (None, 3_600));
        let found = parse(json!({"window": every_hour, "window_minutes": 90})).expect("legal");
        assert_eq!(found, (every_hour.as_str().map(str::to_owned), 5_400));
        for (fields, said) in [
            (json!({"window": "tonight"}), "`window`: `tonight` is neither a time"),
            (json!({"window": "2020-01-01T02:00:00Z"}), "`window`: was open at 2020-01-01"),
            (json!({"window": "2099-01-01T02:00:00Z"}), "in more than 7 days"),
            (json!({"window_minutes": 90}), "`window_minutes`: is only for a window"),
            (json!({"window": every_hour, "window_minutes": 15}), "must be longer than the outage"),
            (json!({"resume": "an execution"}), "follows the source no more"),
        ] {
            let error = parse(fields).expect_err(said);
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn rows_are_compared_by_a_login_and_where_no_session_counts_as_a_client() {
        let secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds-encrypt/orders-a1B2c3";
        let input = json!({"instance_id": "a", "compare_data": true, "database_secret_arn": secret});
        let options = Input::parse(&input, Way::Snapshot).expect("legal").options;
        assert_eq!(
            (&options.compare_data, options.is_replicated()),
            (&Some(Login::SecretArn(secret.to_owned())), false)
        );
        for (more, said) in [
            (json!({"database_secret_arn": null}), "`database_secret_arn`: is missing"),
            (json!({"compare_data": false}), "is for \"compare_data\": true"),
            (
                json!({"compare_data": null, "database_secret_arn": null, "database_iam_user": "x"}),
                "is for \"compare_data\"",
            ),
            (json!({"cutover": "rename", "accept_lost_writes": true}), "is not for a cutover"),
            (json!({"quarantine_security_group_id": "sg-0a1"}), "shuts off"),
        ] {
            let mut input = input.clone();
            input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            let said_of_it = problem(input);
            assert!(said_of_it.contains(said), "{said_of_it}");
        }
    }

    #[test]
    fn what_is_not_an_object_is_named() {
        for input in [json!([]), json!("x"), json!(null), json!(1), json!(true)] {
            assert!(problem(input).starts_with("`input`: is "));
        }
    }

    #[test]
    fn a_bad_field_is_named_with_its_remedy() {
        for (input, said) in [
            (json!({}), "`instance_id`: is missing"),
            (json!({"instance_id": 5}), "`instance_id`: is a number"),
            (json!({"instance_id": ""}), "`instance_id`: is empty"),
            (json!({"instance_id": "Orders"}), "`orders`"),
            (json!({"instance_id": "a", "kms_key": "k"}), "did you mean `kms_key_id`?"),
            (json!({"instance_id": "a", "plan_only": "yes"}), "`plan_only`: is a string; it must be true or false"),
            (json!({"instance_id": "a", "notify": "no"}), "`notify`: is a string; it must be true or false"),
            (json!({"instance_id": "a", "snapshots": "drop"}), "\"delete_unencrypted\", \"delete_all\", \"keep\""),
            (json!({"instance_id": "a", "on_failure": 1}), "\"undo\", \"keep\""),
            (json!({"instance_id": "a", "max_wait_minutes": 0}), "above 0"),
            (json!({"instance_id": "a", "max_wait_minutes": 10081}), "7 days"),
            (json!({"instance_id": "a", "max_wait_minutes": "90"}), "not a number of minutes"),
            (json!({"instance_id": "a", "kms_key_id": "a key"}), "`kms_key_id`"),
            (json!({"instance_id": "a", "cutover": "swap"}), "\"none\", \"rename\""),
            (json!({"instance_id": "a", "writes_stopped": true}), "add \"cutover\": \"rename\""),
            (
                json!({"instance_id": "a", "cutover": "rename", "isolation_security_group_id": "default"}),
                "not the id of a security group",
            ),
            (
                json!({"instance_id": "a", "quarantine_security_group_id": "sg-0_1"}),
                "`quarantine_security_group_id`: `sg-0_1` is not the id of a security group",
            ),
            (
                json!({"instance_id": "a", "cutover": "rename", "snapshots": "delete_all"}),
                "`snapshots`: cannot be \"delete_all\" with a cutover",
            ),
            (json!({"instance_id": "a", "resume": "yesterday"}), "not the ARN of an execution"),
            (json!({"instance_id": "a", "approval_timeout_minutes": -1}), "`approval_timeout_minutes`: is -1"),
            (json!({"instance_id": "a", "target_instance_id": "-a"}), "`target_instance_id`"),
        ] {
            let problem = problem(input);
            assert!(problem.contains(said), "{problem} does not say {said}");
        }
    }

    #[test]
    fn a_field_that_resembles_nothing_gets_the_whole_list() {
        assert!(problem(json!({"instance_id": "a", "zzzzzzzzzz": 1})).contains("these are: instance_id, "));
    }

    #[test]
    fn a_cause_stays_short_whatever_the_input_is() {
        let long = "x".repeat(250_000);
        assert!(problem(json!({"instance_id": long})).len() < 1000);
        // These would be looked up, and repeated in what is said about them.
        let resource_id = format!("db-{}", "X".repeat(250_000));
        assert!(problem(json!({"instance_id": resource_id})).len() < 1000);
        let arn = format!("arn:aws:rds:{long}:123456789012:db:orders");
        assert!(problem(json!({"instance_id": arn})).len() < 1000);
        assert!(problem(json!({"instance_id": "a", long: 1})).len() < 1000);
    }

    #[test]
    fn a_quarantine_needs_no_cutover() {
        let input = Input::parse(&json!({"instance_id": "a", "quarantine_security_group_id": "sg-0a1"}), Way::Snapshot)
            .expect("legal");
        assert_eq!(input.options.quarantine_security_group_id.as_deref(), Some("sg-0a1"));
        assert_eq!(input.options.cutover, Cutover::None);
    }

    #[test]
    fn a_field_of_the_other_way_is_refused_by_its_name() {
        let refused = |way: Way, field: &str, value: Value| {
            let error = Input::parse(&json!({"instance_id": "a", field: value}), way).expect_err(field).to_string();
            error.starts_with(&format!("`{field}`: is for the state machine"))
        };
        for field in SNAPSHOT_FIELDS {
            assert!(refused(Way::BlueGreen, field, json!("rename")), "{field}");
        }
        for field in BLUE_GREEN_FIELDS {
            assert!(refused(Way::Snapshot, field, json!(true)), "{field}");
        }
    }

    #[test]
    fn a_switchover_gets_the_time_that_rds_can_give_it() {
        let timeout = |value: Value| {
            let input = json!({"instance_id": "a", "switchover_timeout_seconds": value});
            Input::parse(&input, Way::BlueGreen).map(|input| input.options.switchover_timeout_seconds).ok()
        };
        for (value, seconds) in [
            (json!(null), Some(300)),
            (json!(30), Some(30)),
            (json!(3600), Some(3600)),
            (json!(29), None),
            (json!(3601), None),
            (json!(60.5), None),
            (json!("60"), None),
        ] {
            assert_eq!(timeout(value.clone()), seconds, "{value}");
        }
    }

    #[test]
    fn a_nested_execution_may_name_its_parent() {
        assert!(Input::parse(&json!({"instance_id": "a", STARTED_BY_EXECUTION: "arn"}), Way::Snapshot).is_ok());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,80}".prop_map(Value::from),
            "[a-z-]{0,70}".prop_map(Value::from),
        ];
        let name = prop_oneof![proptest::sample::select(FIELDS.to_vec()).prop_map(str::to_owned), "\\PC{0,20}"];
        leaf.prop_recursive(3, 24, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name.clone(), inner, 0..8)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_input_is_parsed_or_named(input in any_json()) {
            for way in [Way::Snapshot, Way::BlueGreen] {
                if let Err(error) = Input::parse(&input, way) {
                    prop_assert_eq!(error.name(), "InvalidInput");
                    prop_assert!(error.to_string().len() < 1000);
                }
            }
        }
    }
}
