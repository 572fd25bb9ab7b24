//! Every path that a state reads has been written on every way to it, and every state is on a way.
//!
//! A path that leads nowhere is States.Runtime, which nothing catches ("Handling errors in Step Functions
//! workflows", Step Functions Developer Guide). So each machine is walked with what is known to be there in place of
//! data: nothing at the start, since the input may be anything; less where ways meet, until nothing changes. What
//! functions answer is known from a table, and that is compared with the answers of end-to-end executions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aws_sdk_sfn::types::{ExecutionStatus, HistoryEvent};
use serde_json::{Map, Value, json};

use crate::cloud::{Cloud, Running, Setup};
use crate::contract::{error_names, names, state_machines, tasks};
use crate::cutover::{connections, undo_of};
use crate::fixtures::{fault, seed};
use crate::online;

/// What each answer of a function holds: paths, with a space between them.
struct Answer {
    /// As in `${…FunctionArn}`.
    function: &'static str,
    /// The constant parameter that tells the function's tasks apart.
    given: Option<(&'static str, &'static str)>,
    always: &'static str,
    /// What it holds besides where this field has that value.
    when: &'static [(&'static str, Literal, &'static str)],
}

#[derive(Clone, Copy)]
enum Literal {
    True,
    Text(&'static str),
}

const LOOK: &str = "ready status resource_id snapshot_database_time wait.wait_seconds wait.waited_seconds";
const TURN: &str = "ready wait.wait_seconds wait.waited_seconds";

const ANSWERS: &[Answer] = &[
    Answer {
        given: Some(("way", "blue_green")),
        ..answer(
            "Plan",
            "announcement applied availability_zone cleaned db_subnet_group_name deployment deployment_name instance_id \
             kms_key_arn lag loaded.ready loaded.wait.waited_seconds members options.approval options.approval_timeout_seconds \
             options.max_wait_seconds options.on_failure options.plan_only options.switchover_timeout_seconds owner \
             parameter_group proof protected security_group_id source.ready source.wait.wait_seconds source.wait.waited_seconds switched tags undo \
             verified warnings",
        )
    },
    Answer {
        given: Some(("way", "snapshot")),
        ..answer(
            "Plan",
            "announcement applied availability_zone cleaned compared db_subnet_group_name encrypted_instance_id \
             encrypted_snapshot_id fenced final_settings instance_id kms_key_arn no_encrypted_snapshot_id \
             options.approval options.approval_timeout_seconds options.cutover options.isolation_security_group_id \
             options.max_wait_seconds options.on_behalf_of options.on_failure options.plan_only \
             options.quarantine_security_group_id options.snapshots options.wait_for_initialization options.writes_stopped owner.source_resource_id proof \
             protected security_group_id settings source.ready source.wait.wait_seconds source.wait.waited_seconds source_renamed tags \
             target_renamed undo unencrypted_instance_id warnings writes",
        )
    },
    Answer {
        given: Some(("way", "online")),
        ..answer(
            "Plan",
            "announcement availability_zone cleaned created cut_over db_subnet_group_name encrypted_instance_id \
             encrypted_snapshot_id final_settings instance_id kms_key_arn nested_input no_encrypted_snapshot_id opened \
             options.approval options.approval_timeout_seconds options.cutover options.login \
             options.engine options.max_downtime_seconds options.max_wait_seconds options.on_failure options.plan_only \
             options.quarantine_security_group_id options.snapshots options.window options.window_seconds owner.execution owner.source_resource_id proof \
             protected replication replication_cleaned security_group_id source.ready source.wait.wait_seconds \
             source.wait.waited_seconds source_renamed tags \
             target_renamed undo unencrypted_instance_id verification warnings",
        )
    },
    Answer { given: Some(("task", "check_cutover")), ..answer("Plan", "") },
    // By the way of the item.
    Answer { given: Some(("task", "plan")), ..answer("Plan", "plan.ways") },
    Answer { given: Some(("task", "replication")), ..answer("PreflightDatabase", "databases warnings") },
    Answer { given: Some(("task", "comparison")), ..answer("PreflightDatabase", "") },
    answer("PublishSource", "slots"),
    answer("SeedTarget", "ready slots starts wait.wait_seconds"),
    answer("PrepareTarget", ""),
    answer("CreateReplication", TURN),
    answer("RunReplication", "ready slots starts wait.wait_seconds"),
    Answer { given: Some(("task", "following")), ..answer("VerifyData", "ready wait.wait_seconds") },
    Answer {
        given: Some(("task", "still")),
        when: &[("outcome", Literal::Text("failed"), "failure.cause failure.error")],
        ..answer("VerifyData", "outcome compared.tables compared.rows")
    },
    answer("CutOver", "ready fenced_at compared sequences wait.wait_seconds"),
    Answer { given: Some(("side", "target")), ..answer("OpenTarget", "downtime_seconds not_validated") },
    Answer { given: Some(("side", "old_source")), ..answer("OpenTarget", TURN) },
    answer("UndoDatabase", "ready"),
    answer("CreateSnapshot", LOOK),
    Answer {
        given: Some(("resource", "deployment")),
        ..answer("DescribeStatus", "ready targets wait.wait_seconds wait.waited_seconds")
    },
    answer("DescribeStatus", LOOK),
    answer("CreateDeployment", "ready targets wait.wait_seconds wait.waited_seconds"),
    answer("CopyEncrypted", LOOK),
    answer("Restore", LOOK),
    answer("ApplySettings", TURN),
    Answer {
        given: Some(("task", "instance")),
        when: &[("ready", Literal::True, "endpoint summary")],
        ..answer("Verify", TURN)
    },
    Answer {
        given: Some(("task", "members")),
        ..answer("Verify", "ready summary wait.wait_seconds wait.waited_seconds")
    },
    Answer {
        given: Some(("task", "switchover")),
        ..answer("Verify", "ready targets old_instances wait.wait_seconds wait.waited_seconds")
    },
    answer("SwitchOver", TURN),
    answer("FenceSource", TURN),
    answer("CheckWrites", TURN),
    answer("RenameInstance", TURN),
    answer("ProtectTarget", "ready notes wait.wait_seconds wait.waited_seconds"),
    answer("CleanUp", "ready target_instance_id old_instance deleted kept wait.wait_seconds wait.waited_seconds"),
    Answer {
        when: &[("ready", Literal::True, "failure.cause failure.error failure.subject")],
        ..answer("Undo", "ready whole wait.wait_seconds")
    },
    Answer {
        when: &[("recovery.action", Literal::Text("undo"), "error instance_id undo undo_error")],
        ..answer("ReadExecution", "recovery.action recovery.execution")
    },
    answer(
        "FindUnencrypted",
        "action approval.list approval.timeout_seconds bucket error found items_key left_out_key max_concurrency \
         plan_only plans prefix report results trigger",
    ),
    answer("ReportFleet", "message report subject worth_a_mail"),
];

/// What each item of the list holds that find-unencrypted leaves in the bucket.
const ITEM: &str = "input name plan.execution plan.input plan.way state_machine_arn";
/// What a nested execution of any way answers: DescribeExecution's fields ("Start workflow executions from a task
/// state", Step Functions Developer Guide), and in the output what the fleet asks for.
const NESTED: &str = "ExecutionArn Output.encrypted_instance_id Output.waited_seconds";
/// And what one of encrypt-instance answers that works on behalf of another, which is its whole state.
const HANDED_OVER: &str = "Output.target.resource_id Output.proof.endpoint Output.proof.summary \
                           Output.no_encrypted_snapshot.status Output.no_encrypted_snapshot.snapshot_database_time \
                           Output.encrypted_snapshot.status";

/// And one of verify-data.
const COMPARED: &str = "Output.tables Output.rows";

const fn answer(function: &'static str, always: &'static str) -> Answer {
    Answer { function, given: None, always, when: &[] }
}

impl Answer {
    /// Of the row and of each of its conditions.
    fn names(&self) -> impl Iterator<Item = String> {
        let row = format!("{} {:?}", self.function, self.given);
        let conditions: Vec<String> =
            self.when.iter().map(|(path, literal, _)| format!("{row} where {path} is {}", literal.value())).collect();
        std::iter::once(row).chain(conditions)
    }
}

impl Literal {
    fn value(self) -> Value {
        match self {
            Self::True => json!(true),
            Self::Text(text) => json!(text),
        }
    }
}

/// The row for what a Task calls; None for an integration with another service.
fn answer_to(task: &Map<String, Value>) -> Option<&'static Answer> {
    let function = task["Resource"].as_str()?.strip_prefix("${")?.strip_suffix("FunctionArn}")?;
    ANSWERS.iter().find(|answer| {
        answer.function == function
            && answer.given.is_none_or(|(name, value)| task.get("Parameters").is_some_and(|given| given[name] == value))
    })
}

// --- What is known to be there -----------------------------------------------------

type Place = Vec<String>;

/// Less than there is, never more.
#[derive(Clone, Debug, Default, PartialEq)]
struct Known {
    /// None: it may be anything. Some: it is an object with these fields and maybe others.
    fields: Option<BTreeMap<String, Known>>,
    /// What it holds besides once the value at a place in it turns out to be that one.
    promises: BTreeMap<(Place, String), Known>,
}

impl Known {
    fn object() -> Self {
        Self { fields: Some(BTreeMap::new()), ..Self::default() }
    }

    fn literal(value: &Value) -> Self {
        let Value::Object(fields) = value else { return Self::default() };
        let fields = fields.iter().map(|(name, value)| (name.clone(), Self::literal(value)));
        Self { fields: Some(fields.collect()), ..Self::default() }
    }

    /// An object with these paths.
    fn with(paths: &str) -> Self {
        let mut known = Self::object();
        for path in paths.split_whitespace() {
            known.learn(&place(path), &Self::default());
        }
        known
    }

    fn answered(answer: &Answer) -> Self {
        let mut known = Self::with(answer.always);
        for (path, literal, besides) in answer.when {
            known.promises.insert((place(path), literal.value().to_string()), Self::with(besides));
        }
        known
    }

    fn get(&self, place: &[String]) -> Option<&Self> {
        let Some((name, rest)) = place.split_first() else { return Some(self) };
        self.fields.as_ref()?.get(name)?.get(rest)
    }

    /// Puts a value there, as ResultPath does; false if what should hold it may be no object.
    fn set(&mut self, place: &[String], value: Self) -> bool {
        let Some((name, rest)) = place.split_first() else {
            *self = value;
            return true;
        };
        self.promises.retain(|(promise, _), _| !promise.starts_with(place) && !place.starts_with(promise));
        let Some(fields) = &mut self.fields else { return false };
        match rest {
            // A new field is an object.
            [_, ..] => fields.entry(name.clone()).or_insert_with(Self::object).set(rest, value),
            [] => {
                fields.insert(name.clone(), value);
                true
            }
        }
    }

    /// It is there, and has at least this.
    fn learn(&mut self, place: &[String], value: &Self) {
        if let Some((name, rest)) = place.split_first() {
            let fields = self.fields.get_or_insert_default();
            return fields.entry(name.clone()).or_default().learn(rest, value);
        }
        for (name, field) in value.fields.iter().flatten() {
            self.learn(std::slice::from_ref(name), field);
        }
    }

    /// The value there is that one.
    fn learn_value(&mut self, place: &[String], literal: &Value) {
        for depth in 0..place.len() {
            let (holder, rest) = place.split_at(depth);
            let promise = (rest.to_vec(), literal.to_string());
            let besides = self.get(holder).and_then(|holder| holder.promises.get(&promise)).cloned();
            if let Some(besides) = besides {
                self.learn(holder, &besides);
            }
        }
    }

    /// What holds whichever of the two it is.
    fn common(&self, other: &Self) -> Self {
        let fields = self.fields.as_ref().zip(other.fields.as_ref()).map(|(ours, theirs)| in_both(ours, theirs));
        Self { fields, promises: in_both(&self.promises, &other.promises) }
    }
}

fn in_both<Key: Clone + Ord>(ours: &BTreeMap<Key, Known>, theirs: &BTreeMap<Key, Known>) -> BTreeMap<Key, Known> {
    let common = |(key, known): (&Key, &Known)| Some((key.clone(), known.common(theirs.get(key)?)));
    ours.iter().filter_map(common).collect()
}

// --- Paths and templates -------------------------------------------------------------

/// Amazon States Language, "Appendix B: List of Intrinsic Functions".
const INTRINSICS: &str = "States.Array States.ArrayContains States.ArrayGetItem States.ArrayLength \
    States.ArrayPartition States.ArrayRange States.ArrayUnique States.Base64Decode States.Base64Encode States.Format \
    States.Hash States.JsonMerge States.JsonToString States.MathAdd States.MathRandom States.StringSplit \
    States.StringToJson States.UUID";

/// "Accessing execution data from the Context object" (Step Functions Developer Guide), but for what is there in some
/// states only.
const CONTEXT: &str = "Execution.Id Execution.Input Execution.Name Execution.RoleArn Execution.StartTime \
    State.EnteredTime State.Name State.RetryCount StateMachine.Id StateMachine.Name";

/// The fields of a state that this check understands.
const FIELDS: &str = "Branches Catch Cause CausePath Choices Comment Default End Error ErrorPath InputPath \
    ItemProcessor ItemReader ItemSelector ItemsPath Label MaxConcurrency MaxConcurrencyPath Next OutputPath Parameters \
    Resource Result ResultPath ResultSelector ResultWriter Retry Seconds SecondsPath TimeoutSeconds TimeoutSecondsPath \
    ToleratedFailureCount ToleratedFailureCountPath ToleratedFailurePercentage ToleratedFailurePercentagePath Type";

fn is_word_of(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|one| one == word)
}

/// The place that a JSONPath leads to, as far as names and indexes go: `$['a'].b[0]`, and of `$.a[*].b` only `a`.
fn place(path: &str) -> Place {
    let mut place = vec![];
    let mut rest = path;
    while !rest.is_empty() {
        let (name, after) = if let Some(quoted) = rest.strip_prefix("['") {
            quoted.split_once("']").unwrap_or((quoted, ""))
        } else if let Some(index) = rest.strip_prefix('[') {
            index.split_once(']').unwrap_or((index, ""))
        } else {
            let name = rest.strip_prefix('.').unwrap_or(rest);
            name.split_at(name.find(['.', '[']).unwrap_or(name.len()))
        };
        let is_one = !name.is_empty() && !name.contains(['*', '?', ':', ',', '@']);
        if !is_one {
            break;
        }
        place.push(name.to_owned());
        rest = after;
    }
    place
}

/// What an intrinsic function is given: its paths, functions and plain values, without texts in quotes.
fn words(call: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut characters) = (false, call.chars());
    while let Some(character) = characters.next() {
        match character {
            '\\' if quoted => _ = characters.next(),
            '\'' => quoted = !quoted,
            _ if quoted => {}
            '(' | ')' | ',' | ' ' => words.push(String::new()),
            _ => words.last_mut().expect("a word").push(character),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A machine, or the part of it that a Map or a Parallel runs.
struct Walk<'a> {
    place: String,
    states: &'a Map<String, Value>,
    /// What `$$` leads to.
    context: Known,
    /// What is known when a state is entered, by where from.
    entries: BTreeMap<&'a str, BTreeMap<&'a str, Known>>,
    /// Paths that may lead nowhere, with their states.
    missing: BTreeSet<(String, String)>,
    problems: BTreeSet<String>,
}

/// What is wrong with a machine, in words.
fn problems(file: &str, definition: &Value) -> BTreeSet<String> {
    Walk::through(file.to_owned(), definition, Known::default(), Known::with(CONTEXT))
}

impl<'a> Walk<'a> {
    fn through(place: String, definition: &'a Value, input: Known, context: Known) -> BTreeSet<String> {
        let states = definition["States"].as_object().expect("States");
        let start = definition["StartAt"].as_str().expect("StartAt");
        let entries = BTreeMap::from([(start, BTreeMap::from([("the start", input)]))]);
        let mut walk = Self { place, states, context, entries, missing: BTreeSet::new(), problems: BTreeSet::new() };
        let mut changed = VecDeque::from([start]);
        while let Some(name) = changed.pop_front() {
            let Some(state) = states.get(name) else { continue };
            let entries = walk.entries[name].values().cloned();
            let known = entries.reduce(|known, other| known.common(&other)).expect("an entry");
            for (next, known) in walk.step(name, state, &known) {
                let entries = walk.entries.entry(next).or_default();
                let known = entries.get(name).map_or(known.clone(), |before| before.common(&known));
                if entries.insert(name, known.clone()) != Some(known) {
                    changed.push_back(next);
                }
            }
        }
        walk.report()
    }

    fn report(mut self) -> BTreeSet<String> {
        for (name, path) in &self.missing {
            let lacks = |known: &Known| path.starts_with("$$") || known.get(&place(&path[1..])).is_none();
            let from: Vec<_> = self.entries[name.as_str()].iter().filter(|(_, known)| lacks(known)).collect();
            let from: Vec<_> = from.into_iter().map(|(from, _)| *from).collect();
            self.problems.insert(format!(
                "{}/{name} reads {path}, which can be missing after {}",
                self.place,
                from.join(", ")
            ));
        }
        for (name, entries) in self.entries.iter().filter(|(name, _)| !self.states.contains_key(**name)) {
            let from: Vec<_> = entries.keys().copied().collect();
            self.problems.insert(format!("{}/{name} does not exist after {}", self.place, from.join(", ")));
        }
        for name in self.states.keys().filter(|name| !self.entries.contains_key(name.as_str())) {
            self.problems.insert(format!("{}/{name} is on no way", self.place));
        }
        self.problems
    }

    fn problem(&mut self, state: &str, what: &str) {
        self.problems.insert(format!("{}/{state} {what}", self.place));
    }

    /// The states that come after this one, each with what is known then.
    fn step(&mut self, name: &'a str, state: &'a Value, raw: &Known) -> Vec<(&'a str, Known)> {
        let fields = state.as_object().expect("a state");
        for field in fields.keys().filter(|field| !is_word_of(FIELDS, field)) {
            self.problem(name, &format!("has {field}, which this check does not know"));
        }
        let input = self.narrowed(name, fields.get("InputPath"), raw);
        for (field, path) in fields.iter().filter(|(field, _)| field.ends_with("Path")) {
            if !is_word_of("InputPath OutputPath ResultPath", field) {
                self.evaluated(name, path.as_str().expect("a path"), &input);
            }
        }
        let mut next = vec![];
        match state["Type"].as_str().expect("Type") {
            "Choice" => {
                let mut otherwise = input;
                let context = self.context.clone();
                for rule in state["Choices"].as_array().expect("Choices") {
                    let known = self.tested(name, rule, &otherwise, true);
                    next.push((&rule["Next"], known));
                    otherwise = self.tested(name, rule, &otherwise, false);
                    // What a rule found there is forgotten after it.
                    self.context = context.clone();
                }
                next.push((&state["Default"], otherwise));
            }
            "Wait" => next.push((&state["Next"], input)),
            "Succeed" | "Fail" => {}
            _ => {
                let result = self.result(name, state, &input);
                let selector = fields.get("ResultSelector");
                let result = selector.map_or(result.clone(), |selector| self.filled(name, selector, &result));
                next.push((&state["Next"], self.placed(name, fields.get("ResultPath"), raw, result)));
            }
        }
        for (_, known) in &mut next {
            *known = self.narrowed(name, fields.get("OutputPath"), known);
        }
        for catch in state["Catch"].as_array().into_iter().flatten() {
            // A time-out can come without a Cause, and none of the functions' own errors.
            let is_own = names(&catch["ErrorEquals"]).iter().all(|error| error_names().contains(error));
            let error = Known::with(if is_own { "Error Cause" } else { "Error" });
            next.push((&catch["Next"], self.placed(name, catch.get("ResultPath"), raw, error)));
        }
        next.into_iter().filter_map(|(next, known)| Some((next.as_str()?, known))).collect()
    }

    fn result(&mut self, name: &str, state: &'a Value, input: &Known) -> Known {
        let context = self.context.clone();
        if state["Resource"].as_str().is_some_and(|resource| resource.ends_with(".waitForTaskToken")) {
            self.context.learn(&place("Task.Token"), &Known::default());
        }
        let parameters = match state.get("Parameters") {
            Some(template) => self.filled(name, template, input),
            None => input.clone(),
        };
        let result = match state["Type"].as_str().expect("Type") {
            "Pass" => state.get("Result").map_or(parameters, Known::literal),
            "Task" => match answer_to(state.as_object().expect("a state")) {
                Some(answer) => Known::answered(answer),
                None if state["Resource"].as_str().is_some_and(|name| name.ends_with(":startExecution.sync:2")) => {
                    let machine = &state["Parameters"]["StateMachineArn"];
                    Known::with(match machine.as_str() {
                        Some("${EncryptInstanceStateMachineArn}") => HANDED_OVER,
                        Some("${VerifyDataStateMachineArn}") => COMPARED,
                        _ => NESTED,
                    })
                }
                None => Known::default(),
            },
            "Parallel" => {
                for (number, branch) in state["Branches"].as_array().expect("Branches").iter().enumerate() {
                    self.enter(format!("{name}[{number}]"), branch, parameters.clone());
                }
                Known::default()
            }
            "Map" => {
                for field in ["ItemReader", "ResultWriter"] {
                    self.filled(name, &state[field]["Parameters"], input);
                }
                self.context.learn(&place("Map.Item.Index"), &Known::default());
                self.context.learn(&place("Map.Item.Value"), &Known::default());
                let item = match state.get("ItemSelector") {
                    Some(selector) => self.filled(name, selector, input),
                    None if state.get("ItemReader").is_some() => Known::with(ITEM),
                    None => Known::default(),
                };
                self.enter(name.to_owned(), &state["ItemProcessor"], item);
                Known::default()
            }
            _ => Known::default(),
        };
        self.context = context;
        result
    }

    fn enter(&mut self, name: String, definition: &'a Value, input: Known) {
        let place = format!("{}/{name}", self.place);
        self.problems.extend(Walk::through(place, definition, input, self.context.clone()));
    }

    /// What a path or an intrinsic function gives.
    fn evaluated(&mut self, name: &str, expression: &str, known: &Known) -> Known {
        if expression.starts_with('$') {
            return self.read(name, expression, known);
        }
        for word in words(expression) {
            let is_plain = serde_json::from_str::<Value>(&word).is_ok();
            if word.starts_with('$') {
                self.read(name, &word, known);
            } else if !is_plain && !is_word_of(INTRINSICS, &word) {
                self.problem(name, &format!("has {word}, which is neither a path nor an intrinsic function"));
            }
        }
        Known::default()
    }

    fn read(&mut self, name: &str, path: &str, known: &Known) -> Known {
        let found = match path.strip_prefix("$$") {
            Some(path) => self.context.get(&place(path)),
            None => known.get(&place(&path[1..])),
        };
        if found.is_none() {
            self.missing.insert((name.to_owned(), path.to_owned()));
        }
        found.cloned().unwrap_or_default()
    }

    /// What a template gives whose paths are followed.
    fn filled(&mut self, name: &str, template: &Value, known: &Known) -> Known {
        match template {
            Value::Object(fields) => {
                let filled = fields.iter().map(|(field, value)| match field.strip_suffix(".$") {
                    Some(field) => (field.to_owned(), self.evaluated(name, value.as_str().expect("a path"), known)),
                    None => (field.clone(), self.filled(name, value, known)),
                });
                Known { fields: Some(filled.collect()), ..Known::default() }
            }
            Value::Array(values) => {
                for value in values {
                    self.filled(name, value, known);
                }
                Known::default()
            }
            _ => Known::default(),
        }
    }

    /// As InputPath and OutputPath do it.
    fn narrowed(&mut self, name: &str, path: Option<&Value>, known: &Known) -> Known {
        match path {
            None => known.clone(),
            Some(Value::String(path)) => self.read(name, path, known),
            Some(_) => Known::object(),
        }
    }

    /// As ResultPath does it.
    fn placed(&mut self, name: &str, path: Option<&Value>, raw: &Known, result: Known) -> Known {
        let Some(path) = path else { return result };
        let mut output = raw.clone();
        if let Some(path) = path.as_str()
            && !output.set(&place(&path[1..]), result)
        {
            self.problem(name, &format!("puts its result to {path}, where there may be no object to hold it"));
        }
        output
    }

    /// What is known once a rule of a Choice held, or did not.
    fn tested(&mut self, name: &str, rule: &Value, known: &Known, outcome: bool) -> Known {
        // Of an And all have held, or the first one that did not is the last one that was looked at; of an Or
        // the other way round.
        for (list, all) in [("And", true), ("Or", false)] {
            let Some(rules) = rule[list].as_array() else { continue };
            let (mut every, mut any) = (known.clone(), None);
            for rule in rules {
                let last = self.tested(name, rule, &every, !all);
                any = Some(any.map_or(last.clone(), |any: Known| any.common(&last)));
                every = self.tested(name, rule, &every, all);
            }
            return if outcome == all { every } else { any.expect("a rule") };
        }
        if let Some(rule) = rule.get("Not") {
            return self.tested(name, rule, known, !outcome);
        }
        let mut known = known.clone();
        let path = rule["Variable"].as_str().expect("Variable");
        let variable = place(&path[1..]);
        for (operator, operand) in rule.as_object().expect("a rule") {
            match operator.as_str() {
                "Variable" | "Next" | "Comment" => {}
                "IsPresent" if operand == outcome => match path.strip_prefix("$$") {
                    Some(path) => self.context.learn(&place(path), &Known::default()),
                    None => known.learn(&variable, &Known::default()),
                },
                "IsPresent" => {}
                _ => {
                    self.read(name, path, &known);
                    if operator.ends_with("Path") {
                        self.read(name, operand.as_str().expect("a path"), &known);
                    }
                    if outcome && ["BooleanEquals", "StringEquals"].contains(&operator.as_str()) {
                        known.learn_value(&variable, operand);
                    }
                }
            }
        }
        known
    }
}

// --- The answers of executions -----------------------------------------------------

#[tokio::test]
async fn executions_show_every_row_of_the_table() {
    let running = Running::start(&Setup { storage: "files", time_scale: 0.002, ..Setup::default() });
    let cloud = Cloud::connect(&running).await;
    let mut shown = BTreeSet::new();
    let cutover = json!({
        "cutover": "rename",
        "writes_stopped": true,
        "wait_for_initialization": true,
        "isolation_security_group_id": "sg-0f00ba44",
    });
    let denied = json!({"call": 3, "action": {"type": "error", "code": "AccessDenied", "status": 403}});
    // One that succeeds, one that undoes its first rename, and one that is stopped between the renames.
    for name in ["whole", "undone", "stopped"] {
        seed(&cloud, name, json!({}));
        connections(&cloud, name, 0.0).await;
        match name {
            "undone" => fault(&cloud, name, "ModifyDBInstance", denied.clone()),
            "stopped" => cloud.stop_in(&[(cloud.state_machine(), "RenameTarget")]),
            _ => {}
        }
        let mut input = cutover.clone();
        input["instance_id"] = json!(name);
        let outcome = cloud.encrypt(input).await;
        shown.extend(assert_answers_hold(&outcome.execution, &cloud.history(&outcome.execution).await));
        if outcome.status != ExecutionStatus::Succeeded {
            let undo = undo_of(&cloud, &outcome.execution).await;
            shown.extend(assert_answers_hold(&undo.execution, &cloud.history(&undo.execution).await));
        }
    }
    seed(&cloud, "members", json!({"Engine": "mariadb", "BackupRetentionPeriod": 1}));
    let cloud = cloud.by_blue_green();
    let outcome = cloud.encrypt(json!({"instance_id": "members"})).await;
    outcome.succeeded();
    shown.extend(assert_answers_hold(&outcome.execution, &cloud.history(&outcome.execution).await));
    let fleet = cloud.encrypt_fleet(json!({"plan_only": true})).await;
    fleet.succeeded();
    for child in cloud.map_children(&fleet.execution).await {
        shown.extend(assert_answers_hold(&child, &cloud.history(&child).await));
    }
    shown.extend(assert_answers_hold(&fleet.execution, &cloud.history(&fleet.execution).await));
    shown.extend(online::executions_that_show_all().await);
    let all: BTreeSet<String> = ANSWERS.iter().flat_map(Answer::names).collect();
    assert_eq!(all.difference(&shown).collect::<Vec<_>>(), Vec::<&String>::new(), "shown: {shown:#?}");
}

/// The file of the machine, whose resource's name is in the execution's.
fn machine_of(execution: &str) -> String {
    let is_named = |file: &&String| {
        let words = file.trim_end_matches(".asl.json").split('-');
        let resource: String = words.map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        execution.contains(&format!("{resource}StateMachine"))
    };
    let files: Vec<String> = state_machines().into_iter().map(|(file, _)| file).collect();
    files.iter().find(is_named).unwrap_or_else(|| panic!("{execution} is of no machine of ours")).clone()
}

/// That the functions have answered as the table says; returns the rows and conditions that this shows.
pub(crate) fn assert_answers_hold(execution: &str, history: &[HistoryEvent]) -> BTreeSet<String> {
    let machine = machine_of(execution);
    let mut shown = BTreeSet::new();
    let mut state = "";
    for event in history {
        state = event.state_entered_event_details().map_or(state, |details| details.name());
        let Some(details) = event.task_succeeded_event_details() else { continue };
        let Some((_, function)) = details.resource().split_once(":function:") else { continue };
        let task = tasks().into_iter().find(|(place, task)| {
            let called = answer_to(task).map(|answer| format!("{}Function", answer.function));
            place.starts_with(&machine)
                // The local cloud's history has no states of a Parallel's branches.
                && (place.ends_with(&format!("/{state}")) || place.contains(&format!("/{state}/")))
                && function.split('-').any(|word| called.as_deref() == Some(word))
        });
        let answer = task.as_ref().and_then(|(_, task)| answer_to(task));
        let answer = answer.unwrap_or_else(|| panic!("no row says what {function} answers to {state}"));
        let output: Value = serde_json::from_str(details.output().expect("an output")).expect("JSON");
        let known = Known::literal(&output);
        let expect = |paths: &str| {
            let missing: Vec<_> = paths.split_whitespace().filter(|path| known.get(&place(path)).is_none()).collect();
            assert!(missing.is_empty(), "{function} did not answer {missing:?} to {state}: {output:#}");
        };
        expect(answer.always);
        let mut names = answer.names();
        shown.extend(names.next());
        for ((path, literal, besides), name) in answer.when.iter().zip(names) {
            let value = output.pointer(&format!("/{}", path.replace('.', "/")));
            if value == Some(&literal.value()) {
                expect(besides);
                shown.insert(name);
            }
        }
    }
    shown
}

#[test]
fn every_path_is_written_on_every_way_to_its_reader() {
    let problems: Vec<String> =
        state_machines().iter().flat_map(|(file, definition)| problems(file, definition)).collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

/// What is wrong with a machine of these states, of which `First` is the first.
fn wrong_with(states: Value) -> Vec<String> {
    problems("machine", &json!({"StartAt": "First", "States": states})).into_iter().collect()
}

fn pass(parameters: Value, next: &str) -> Value {
    json!({"Type": "Pass", "Parameters": parameters, "Next": next})
}

fn is_true(path: &str, next: &str) -> Value {
    json!({"Variable": path, "BooleanEquals": true, "Next": next})
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_field_that_was_taken_out_or_misspelt_is_missed() {
    let machine = |written: Value, read: &str| {
        wrong_with(json!({
            "First": pass(written, "Last"),
            "Last": {"Type": "Fail", "Error": "Bad", "CausePath": read},
        }))
    };
    assert_eq!(machine(json!({"a": {"b.$": "$"}}), "$.a.b"), NOTHING);
    assert_eq!(machine(json!({"a": {"c": 1}}), "$.a['c']"), NOTHING);
    let missed = ["machine/Last reads $.a.b, which can be missing after First"];
    assert_eq!(machine(json!({"a": {}}), "$.a.b"), missed);
    assert_eq!(machine(json!({"a": {"bb": 1}}), "$.a.b"), missed);
    assert_eq!(machine(json!({"a": null}), "$.a.b"), missed);
    assert_eq!(machine(json!({"a": [1]}), "$.a[0]"), ["machine/Last reads $.a[0], which can be missing after First"]);
}

#[test]
fn an_input_may_be_anything() {
    let first = |fields: Value| {
        let mut state = json!({"Type": "Pass", "End": true});
        state.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        wrong_with(json!({"First": state}))
    };
    assert_eq!(first(json!({"Parameters": {"all.$": "$", "id.$": "$$.Execution.Id"}})), NOTHING);
    assert_eq!(
        first(json!({"Parameters": {"a.$": "$.a", "b.$": "$$.Execution.Input.b"}})),
        [
            "machine/First reads $$.Execution.Input.b, which can be missing after the start",
            "machine/First reads $.a, which can be missing after the start",
        ]
    );
    assert_eq!(
        first(json!({"Result": 1, "ResultPath": "$.a"})),
        ["machine/First puts its result to $.a, where there may be no object to hold it"]
    );
}

#[test]
fn every_way_has_to_write() {
    let machine = |first: Value, other: Value| {
        let choice = json!({"Type": "Choice", "Choices": [is_true("$.asked", "One")], "Default": "Other"});
        wrong_with(json!({
            "First": pass(json!({"asked": true}), "IsAsked"),
            "IsAsked": choice,
            "One": {"Type": "Pass", "Result": first, "ResultPath": "$.a", "Next": "Wait"},
            "Other": {"Type": "Pass", "Result": other, "ResultPath": "$.a", "Next": "Wait"},
            "Wait": {"Type": "Wait", "SecondsPath": "$.a.seconds", "Next": "Done"},
            "Done": {"Type": "Succeed"},
        }))
    };
    assert_eq!(machine(json!({"seconds": 1, "b": 2}), json!({"seconds": 2})), NOTHING);
    let missed = ["machine/Wait reads $.a.seconds, which can be missing after Other"];
    assert_eq!(machine(json!({"seconds": 1}), json!({"b": 2})), missed);
}

#[test]
fn a_loop_does_not_write_for_its_first_pass() {
    let machine = |first: Value| {
        wrong_with(json!({
            "First": pass(first, "Look"),
            "Look": {
                "Type": "Task",
                "Resource": "${DescribeStatusFunctionArn}",
                "Parameters": {"previous.$": "$.look"},
                "ResultPath": "$.look",
                "Next": "IsReady",
            },
            "IsReady": {"Type": "Choice", "Choices": [is_true("$.look.ready", "Done")], "Default": "Wait"},
            "Wait": {"Type": "Wait", "SecondsPath": "$.look.wait.wait_seconds", "Next": "Look"},
            "Done": {"Type": "Succeed"},
        }))
    };
    assert_eq!(machine(json!({"look": null})), NOTHING);
    assert_eq!(machine(json!({})), ["machine/Look reads $.look, which can be missing after First"]);
}

#[test]
fn a_failure_brings_its_name_and_perhaps_a_cause() {
    let machine = |result_path: &str, choices: Value| {
        wrong_with(json!({
            "First": {
                "Type": "Task",
                "Resource": "${PlanFunctionArn}",
                "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": result_path, "Next": "IsSaid"}],
                "Next": "Done",
            },
            "Done": {"Type": "Succeed"},
            "IsSaid": {"Type": "Choice", "Choices": choices, "Default": "Timeout"},
            "Said": {"Type": "Fail", "ErrorPath": "$.Error", "CausePath": "$.Cause"},
            "Timeout": {"Type": "Fail", "ErrorPath": "$.Error", "Cause": "It took too long."},
        }))
    };
    let present = json!({"Variable": "$.Cause", "IsPresent": true});
    let with_next = |rule: Value| {
        let mut rule = rule;
        rule["Next"] = json!("Said");
        json!([rule])
    };
    assert_eq!(machine("$", with_next(present.clone())), NOTHING);
    assert_eq!(machine("$", with_next(json!({"Not": {"Variable": "$.Cause", "IsPresent": false}}))), NOTHING);
    assert_eq!(
        machine("$", with_next(json!({"And": [present, {"Variable": "$.Cause", "StringMatches": "*"}]}))),
        NOTHING
    );
    let missed = "machine/Said reads $.Cause, which can be missing after IsSaid";
    let either = json!({"Or": [present, {"Variable": "$.Error", "StringEquals": "Bad"}]});
    assert_eq!(machine("$", with_next(either)), [missed]);
    assert_eq!(machine("$", with_next(json!({"Not": present}))), [missed]);
    assert_eq!(
        machine("$.error", with_next(present))[..1],
        ["machine/First puts its result to $.error, where there may be no object to hold it"]
    );
}

#[test]
fn an_answer_holds_more_once_it_is_known_which_one_it_is() {
    let machine = |choice: Value| {
        wrong_with(json!({
            "First": {
                "Type": "Task",
                "Resource": "${UndoFunctionArn}",
                "Next": "IsUndone",
            },
            "IsUndone": {"Type": "Choice", "Choices": [choice], "Default": "First"},
            "Failed": {"Type": "Fail", "ErrorPath": "$.failure.error", "CausePath": "$.failure.cause"},
        }))
    };
    assert_eq!(machine(is_true("$.ready", "Failed")), NOTHING);
    assert_eq!(machine(json!({"Variable": "$.ready", "BooleanEquals": false, "Next": "Failed"})).len(), 2);
}

#[test]
fn a_state_on_no_way_or_a_way_to_no_state_is_found() {
    let island = json!({
        "First": {"Type": "Succeed"},
        "Here": {"Type": "Pass", "Next": "There"},
        "There": {"Type": "Pass", "Next": "Here"},
    });
    assert_eq!(wrong_with(island), ["machine/Here is on no way", "machine/There is on no way"]);
    assert_eq!(wrong_with(json!({"First": pass(json!({}), "Lsat")})), ["machine/Lsat does not exist after First"]);
}

#[test]
fn what_intrinsic_functions_are_given_is_read() {
    let machine = |expression: &str| {
        wrong_with(json!({"First": pass(json!({"text.$": expression}), "Last"), "Last": {"Type": "Succeed"}}))
    };
    assert_eq!(machine(r"States.Format('it\'s {} ($.a)', States.JsonToString($), 1, null)"), NOTHING);
    assert_eq!(
        machine("States.Format('{}', States.JsonToString($.a))"),
        ["machine/First reads $.a, which can be missing after the start"]
    );
    assert_eq!(
        machine("States.Formt('{}', $)"),
        ["machine/First has States.Formt, which is neither a path nor an intrinsic function"]
    );
}

#[test]
fn maps_and_parallels_are_walked_with_what_they_are_given() {
    let inner =
        json!({"StartAt": "Inner", "States": {"Inner": {"Type": "Wait", "SecondsPath": "$.seconds", "End": true}}});
    let machine = |fields: Value| {
        let mut state = json!({"Type": "Map", "ItemsPath": "$.items", "ItemProcessor": inner, "End": true});
        state.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        wrong_with(json!({"First": pass(json!({"items": [], "seconds": 1}), "Each"), "Each": state}))
    };
    assert_eq!(machine(json!({"ItemSelector": {"seconds.$": "$.seconds", "item.$": "$$.Map.Item.Value"}})), NOTHING);
    assert_eq!(machine(json!({})), ["machine/Each/Inner reads $.seconds, which can be missing after the start"]);
    assert_eq!(
        machine(json!({"ItemBatcher": {}, "ItemSelector": {"seconds": 1}})),
        ["machine/Each has ItemBatcher, which this check does not know"]
    );
    assert_eq!(
        wrong_with(json!({"First": {"Type": "Parallel", "Branches": [inner], "End": true}})),
        ["machine/First[0]/Inner reads $.seconds, which can be missing after the start"]
    );
}
