//! What is generated from the code is what is committed: schemas and the tables of the documentation.
//! `hack/schema` writes both anew.

use std::path::{Path, PathBuf};

use evenkeel_api::access::Role;
use evenkeel_api::key::Controller;
use evenkeel_api::meta::Kind;
use evenkeel_api::text::{keys, schema, schema_of_all};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Compares a file with what it must be, or writes it when asked to.
fn same(path: &str, wanted: &str) {
    let file = root().join(path);
    if std::env::var_os("EVENKEEL_UPDATE_SCHEMAS").is_some() {
        std::fs::write(&file, wanted).expect("the file can be written");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == wanted, "{path} is not what the code says; run hack/schema and commit it");
}

#[test]
fn schemas() {
    for kind in Kind::ALL {
        let text = serde_json::to_string_pretty(&schema(kind)).unwrap() + "\n";
        same(&format!("api/schemas/{}.json", kind.to_string().to_lowercase()), &text);
    }
    same("api/schemas/evenkeel.json", &(serde_json::to_string_pretty(&schema_of_all()).unwrap() + "\n"));
}

#[test]
fn schemas_of_the_documentation() {
    let path = "docs/documents.md";
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    let wanted = Kind::ALL.into_iter().fold(text, |text, kind| {
        let (begin, end) = (format!("<!-- keys of {kind} -->\n"), "<!-- end of keys -->");
        let (before, after) = text.split_once(&begin).expect("every kind has a table");
        let (_, after) = after.split_once(end).expect("a table has an end");
        format!("{before}{begin}{}{end}{after}", keys::markdown(kind))
    });
    same(path, &wanted);
}

#[test]
fn rights_of_the_documentation() {
    let path = "docs/security.md";
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    let (begin, end) = ("<!-- rights -->\n", "<!-- end of rights -->");
    let (before, after) = text.split_once(begin).expect("there is a table");
    let (_, after) = after.split_once(end).expect("the table has an end");
    let hosts = Controller::ALL.map(|controller| Role::Host("h1".parse().unwrap(), controller));
    let roles = hosts.into_iter().chain(Controller::LEADING.map(Role::Lead));
    let people = [Role::Team("shop".parse().unwrap()), Role::Viewer, Role::Operator];
    let rows: String = roles.chain(people).map(|role| row(&role)).collect();
    same(path, &format!("{before}{begin}| role | changes | sees |\n|---|---|---|\n{rows}{end}{after}"));
}

fn row(role: &Role) -> String {
    let all = |write: bool| {
        let grants = role.grants();
        let keys =
            grants.iter().filter(|grant| grant.write == write).map(|grant| match grant.prefix.as_str() {
                "" => "all".to_owned(),
                prefix => format!("`{prefix}`"),
            });
        keys.collect::<Vec<_>>().join(" ")
    };
    format!("| `{role}` | {} | {} |\n", all(true), all(false))
}
