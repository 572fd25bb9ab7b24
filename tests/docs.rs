//! The documents agree with the product, with each other, and with the files that they lead to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use strum::VariantNames;

use crate::contract::{read, repository, states, template};

/// README is read in one sitting; what is looked up is in docs/.
const README_LINES_MAX: usize = 200;
const REGISTER: &str = "docs/aws-assumptions.md";
/// Errors that the state machines name, or people, and no function.
const NAMED_ELSEWHERE: [&str; 5] = ["ApprovalRejected", "ApprovalTimedOut", "StepFailed", "StepTimedOut", "UndoFailed"];

/// The files of the project as paths from its root, without what tools put there.
fn files() -> Vec<PathBuf> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let is_ours = name == ".github" || !name.starts_with('.');
            match path.is_dir() {
                true if is_ours && !["target", "node_modules", "__pycache__"].contains(&&*name) => {
                    collect(&path, found)
                }
                true => {}
                false => found.push(path),
            }
        }
    }
    let mut found = vec![];
    collect(&repository(), &mut found);
    found.iter().map(|path| path.strip_prefix(repository()).expect("below the root").to_owned()).collect()
}

fn is_document(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

/// The text of a document without its fenced blocks, where brackets are no links and `#` is no heading.
fn prose(path: &Path) -> String {
    let text = read(&path.to_string_lossy());
    text.split("\n```").step_by(2).collect()
}

/// The rows of the table whose first column is headed so, each as its cells.
fn table(path: &str, first_heading: &str) -> Vec<Vec<String>> {
    let start = format!("| {first_heading} |");
    let text = read(path);
    let lines = text.lines().skip_while(|line| !line.starts_with(&start)).skip(2);
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<_> = lines.take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty(), "{path} has no table that begins with {start}");
    rows
}

/// What a link can name of a document: its headings, as GitHub writes them.
fn anchors(document: &Path) -> BTreeSet<String> {
    let text = prose(document);
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |letter: &char| letter.is_alphanumeric() || " -_".contains(*letter);
    headings.map(|heading| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

fn without_dots(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut walked, component| {
        match component {
            Component::ParentDir => drop(walked.pop()),
            other => walked.push(other),
        }
        walked
    })
}

#[test]
fn readme_is_read_in_one_sitting() {
    let lines = read("README.md").lines().count();
    assert!(lines < README_LINES_MAX, "README.md has {lines} lines: what is looked up belongs into docs/");
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_of_it() {
    let mut broken = vec![];
    for document in files().into_iter().filter(|path| is_document(path)) {
        let text = prose(&document);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        for link in links.filter(|link| !link.starts_with("https://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = document.parent().expect("a folder");
            let target = if file.is_empty() { document.clone() } else { without_dots(&folder.join(file)) };
            let leads_there =
                repository().join(&target).exists() && (anchor.is_empty() || anchors(&target).contains(anchor));
            if !leads_there {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_page_of_docs_is_in_the_readme() {
    let readme = read("README.md");
    for page in files().into_iter().filter(|path| path.starts_with("docs")) {
        assert!(readme.contains(&format!("]({})", page.display())), "README.md does not lead to {}", page.display());
    }
}

#[test]
fn every_parameter_of_the_template_is_in_the_readme() {
    let rows = table("README.md", "Parameter");
    let explained: BTreeSet<_> =
        rows.iter().flat_map(|row| row[0].split(", ")).map(|name| name.trim_matches('`').to_owned()).collect();
    let parameters = template()["Parameters"].as_mapping().expect("parameters").clone();
    let known: BTreeSet<_> = parameters.keys().map(|name| name.as_str().expect("a name").to_owned()).collect();
    assert_eq!(explained, known);
}

#[test]
fn every_error_is_explained_and_no_other() {
    let rows = table("docs/when-it-fails.md", "Error");
    let explained: Vec<_> = rows.iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    let known: BTreeSet<_> =
        workflow::Error::VARIANTS.iter().copied().chain(NAMED_ELSEWHERE).map(str::to_owned).collect();
    let differing: Vec<_> = known.symmetric_difference(&explained.iter().cloned().collect()).cloned().collect();
    assert!(differing.is_empty(), "in the code or in the table, and not in both: {differing:?}");
    assert_eq!(explained.len(), known.len(), "an error is explained twice");
    for row in rows {
        assert!(row.len() == 4 && row.iter().all(|cell| !cell.is_empty()), "{row:?}");
    }
}

#[test]
fn every_reason_to_leave_an_instance_out_is_explained() {
    let rows = table("docs/fleet.md", "Reason");
    let explained: BTreeSet<_> =
        rows.iter().flat_map(|row| row[0].split(", ")).map(|name| name.trim_matches('`')).collect();
    // Only the report knows it.
    let known: BTreeSet<_> = find_unencrypted::Reason::VARIANTS.iter().copied().chain(["already_started"]).collect();
    assert_eq!(explained, known);
}

fn state_names() -> BTreeSet<String> {
    states().iter().map(|(place, _)| place.rsplit('/').next().expect("a name").to_owned()).collect()
}

#[test]
fn every_state_is_in_the_pictures() {
    let page = read("docs/machines.md");
    let drawn: BTreeSet<&str> = page.split(|letter: char| !letter.is_alphanumeric()).collect();
    for state in state_names() {
        assert!(drawn.contains(&*state), "docs/machines.md does not show {state}");
    }
}

#[test]
fn every_state_that_the_reference_is_compared_with_exists() {
    let names = state_names();
    for row in table("docs/reference.md", "Reference") {
        for state in row[2].split([',', '…']).map(str::trim) {
            assert!(names.contains(state), "docs/reference.md: {state} is no state of a machine");
        }
    }
}

/// The numbers between `[A` and `]`.
fn cited_in(text: &str) -> BTreeSet<u32> {
    let ends = text.split("[A").skip(1).filter_map(|rest| rest.split_once(']'));
    ends.filter_map(|(number, _)| number.parse().ok()).collect()
}

/// Where the register says that a file relies on something: its crate, or what else it belongs to.
fn place(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    match &parts[..] {
        [first, step, ..] if first == "crates" => format!("`{step}`"),
        [first, second, _, ..] if first == "tests" => format!("`{first}/{second}`"),
        [first, _] if first == "tests" => "`tests`".to_owned(),
        _ => format!("`{}`", path.display()),
    }
}

#[test]
fn every_assumption_about_aws_says_what_relies_on_it() {
    let mut relying: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for path in files().into_iter().filter(|path| !is_document(path) && !path.ends_with("tests/docs.rs")) {
        // What is no text cites nothing.
        let text = fs::read_to_string(repository().join(&path)).unwrap_or_default();
        for number in cited_in(&text) {
            relying.entry(number).or_default().insert(place(&path));
        }
    }
    // All at once, so that whoever moves code sees every cell to change.
    let mut problems = vec![];
    let mut last = 0;
    for row in table(REGISTER, "#") {
        let number: u32 = row[0].strip_prefix('A').and_then(|number| number.parse().ok()).expect("a number");
        // With gaps, so that branches can be given numbers of their own.
        assert!(last < number, "{REGISTER}: A{number} stands after A{last}");
        last = number;
        assert!(row.len() == 5 && row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        let places = relying.remove(&number).unwrap_or_default().into_iter().collect::<Vec<_>>().join(", ");
        let is_open = places.is_empty() && row[3].starts_with("not yet: ");
        if row[3] != places && !is_open {
            problems.push(format!("A{number} is relied on in {places:?}, {REGISTER} says {:?}", row[3]));
        }
    }
    problems.extend(relying.iter().map(|(number, places)| format!("[A{number}] is not in {REGISTER}: {places:?}")));
    assert!(problems.is_empty(), "{problems:#?}");
}
