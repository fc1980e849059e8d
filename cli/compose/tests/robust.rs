//! Whatever is written, an import ends, says what is wrong, and writes only what is valid.

mod common;

use common::{Memory, check, run};
use evenkeel_compose::{Options, Severity, import};
use proptest::prelude::*;

const SAMPLE: &str = include_str!("golden/shop/compose.yaml");
const STACK: &str = include_str!("golden/stack/compose.yaml");

fn all(text: &str) {
    let world = Memory::with(&[("compose.yaml", text), ("db.env", "A=1\n")]).and("TAG", "1");
    let options = Options { files: vec!["compose.yaml".into()], ..Options::default() };
    let imported = import(&options, &world);
    check(&imported);
    assert!(imported.imported() > 0 || imported.count(Severity::Refused) > 0, "{text}");
}

/// Pieces that a reader stumbles over.
const SHARDS: &[&str] = &[
    "&a",
    "*a",
    "<<: *a",
    "<<: [*a, *b]",
    "---\n",
    "- ",
    ": ",
    "? ",
    "|\n",
    ">-\n",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "#",
    "!reset ",
    "!override ",
    "!!str ",
    "\t",
    "\n",
    "\n  ",
    "\r\n",
    "\u{feff}",
    "\0",
    "é",
    "$",
    "${",
    "${X:-",
    "$$",
    "~",
    "null",
    "-1",
    "1e999",
    "0x",
    ".nan",
    "x-",
    "\\",
    "\u{2028}",
    "\u{85}",
    "services:\n",
    "  web:\n",
    "image: a",
    "include: ",
    "extends: ",
    "compose.yaml",
    "networks:\n",
    "volumes:\n",
    "default",
    "./x:/y",
    "a:/b:roz",
    "0440",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_shards_never_panic(shards in proptest::collection::vec(proptest::sample::select(SHARDS), 0..60)) {
        all(&shards.concat());
    }

    #[test]
    fn damaged_files_never_panic(
        stack in any::<bool>(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), 0usize..6, proptest::sample::select(SHARDS)), 1..6),
    ) {
        let mut chars: Vec<char> = if stack { STACK } else { SAMPLE }.chars().collect();
        for (at, remove, shard) in edits {
            let at = at.index(chars.len());
            let end = (at + remove).min(chars.len());
            chars.splice(at..end, shard.chars());
        }
        all(&chars.into_iter().collect::<String>());
    }

    #[test]
    fn random_values_never_panic(
        key in proptest::sample::select(include_str!("../../../api/src/text/tests/compose-keys.txt").lines().collect::<Vec<_>>()),
        value in "[a-z0-9:/=.~${}\\[\\], \"-]{0,20}",
    ) {
        let mut body = "services:\n  web:\n    image: a\n".to_owned();
        for (depth, step) in key.split('.').enumerate() {
            body.push_str(&format!("{}{step}:\n", "  ".repeat(depth + 2)));
        }
        all(&format!("{} {value}", body.trim_end()));
    }

    #[test]
    fn texts_come_through_as_they_are(value in "\\PC{0,40}|[ -~\\n\\t]{0,40}") {
        let quoted = format!("\"{}\"", value.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect::<String>());
        let quoted = quoted.replace("\\U00000024", "$$");
        let text = format!("services:\n  web:\n    image: a\n    restart: always\n    environment:\n      V: {quoted}\n");
        let imported = run(&Memory::with(&[("compose.yaml", &text)]), &["compose.yaml"], &[]);
        let documents = evenkeel_api::text::parse_documents(
            &imported.documents(),
            &evenkeel_api::text::Origin::file("x"),
        );
        let [Ok(document)] = documents.as_slice() else {
            return Err(TestCaseError::fail(format!("{documents:?}")));
        };
        let evenkeel_api::text::DocumentSpec::Service(spec) = &document.spec else {
            return Err(TestCaseError::fail("no service"));
        };
        prop_assert_eq!(&spec.template.environment["V"], &value);
    }
}

/// The only refusal of a file, or all that was told.
fn refusal(files: &[(&str, &str)]) -> String {
    let imported = run(&Memory::with(files), &["compose.yaml"], &[]);
    let told: Vec<String> = imported
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Refused)
        .map(ToString::to_string)
        .collect();
    told.join("\n")
}

#[test]
fn bombs_are_refused() {
    let mut bomb = "x-a: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..10 {
        bomb.push_str(&format!("x-{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", ")));
    }
    bomb.push_str("services: {web: {image: a, command: *a9}}\n");
    let deep = format!("services: {{web: {{command: {}x{}}}}}", "[".repeat(5000), "]".repeat(5000));
    let nested_lists = format!("services: {}x{}", "[".repeat(60), "]".repeat(60));
    let long = format!("services: {{web: {{image: '{}'}}}}", "a".repeat(1_100_000));
    for (text, said) in [
        (bomb.as_str(), "unfold to too many parts"),
        (deep.as_str(), "recursion limit"),
        (nested_lists.as_str(), "nested too deeply"),
        (long.as_str(), "more than 1024 KiB"),
        ("a: &a [*a]", "this alias stands within its own anchor"),
        ("a: *b", "an anchor that the file does not define"),
        ("a: 1\na: 2", "compose.yaml:2:1: refused: the key `a` is written twice"),
        ("a: {<<: 1}", "`<<` takes a mapping"),
        ("[1]: 2", "a key must be text"),
        ("- a", "a Compose file is a mapping"),
        ("", "there is nothing in this file"),
        ("a: 1", "there are no `services`"),
        ("apiVersion: evenkeel/v1\nkind: Service", "a document already"),
    ] {
        let refusal = refusal(&[("compose.yaml", text)]);
        assert!(refusal.contains(said), "{said}: {refusal}");
    }
}

#[test]
fn circles_are_refused() {
    let circle = refusal(&[
        ("compose.yaml", "include: [a/b.yaml]\nservices: {web: {image: a, restart: always}}"),
        ("a/b.yaml", "include: [../compose.yaml]\nservices: {db: {image: a, restart: always}}"),
    ]);
    assert!(
        circle.starts_with("a/b.yaml:1:11: refused: include: compose.yaml is included in a circle"),
        "{circle}"
    );
    let extends = refusal(&[
        ("compose.yaml", "services: {web: {extends: {file: b.yaml, service: web}, image: a}}"),
        ("b.yaml", "services: {web: {extends: {file: compose.yaml, service: web}}}"),
    ]);
    assert!(
        extends.contains("compose.yaml:1:18: refused: services.web: `extends` goes in a circle"),
        "{extends}"
    );
}

#[test]
fn what_is_missing_is_named() {
    let imported = import(
        &Options { files: vec!["gone.yaml".into()], env_files: vec!["no.env".into()], ..Options::default() },
        &Memory::default(),
    );
    assert_eq!(common::report(&imported), "no.env: refused: there is no such file\n");
    let imported = import(
        &Options { files: vec!["gone.yaml".into()], ..Options::default() },
        &Memory::with(&[(".env", "A=1\n'")]),
    );
    assert_eq!(common::report(&imported), ".env:2:1: refused: this is no line of the form NAME=value\n");
}
