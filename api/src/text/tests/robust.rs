use proptest::prelude::*;

use super::*;
use crate::service::ServiceSpec;

const DOCUMENT: &str = include_str!("robust.yaml");

fn all(text: &str) {
    for document in parse_documents(text, &Origin::file("x")) {
        match document {
            Ok(document) => assert!(!document.source.is_empty()),
            Err(error) => {
                assert!(error.line >= 1 && error.column >= 1 && !error.problem.is_empty());
                assert!(error.line <= text.lines().count().max(1) as u64 + 1, "{error}");
                let _ = (error.to_string(), error.one_line());
            }
        }
    }
    let _ = parse_document(text, &Origin::file("x"));
    let _ = interpolate(text, |name| (name.len() > 3).then(|| name.to_lowercase()));
}

#[test]
fn the_sample_is_good() {
    for document in parse_documents(DOCUMENT, &Origin::file("robust.yaml")) {
        document.unwrap_or_else(|error| panic!("{error}"));
    }
    assert_eq!(interpolate(DOCUMENT, |_| None).as_deref(), Ok(DOCUMENT));
}

/// Pieces that a parser stumbles over.
const SHARDS: &[&str] = &[
    "&a",
    "*a",
    "<<: *a",
    "---\n",
    "...\n",
    "- ",
    ": ",
    "? ",
    "|",
    ">",
    "|-\n",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "#",
    "!!",
    "!t ",
    "%",
    "@",
    "`",
    "\t",
    "\n",
    "\r\n",
    "\u{feff}",
    "\0",
    "é",
    "$",
    "${",
    "}",
    "$$",
    "~",
    "null",
    "-1",
    "1e999",
    "9223372036854775808",
    "0x",
    ".nan",
    "x-",
    ",",
    "\\",
    "\u{2028}",
    "\u{85}",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_document_bytes(&bytes, &Origin::file("x"));
        let _ = parse_documents_bytes(&bytes, &Origin::file("x"));
    }

    #[test]
    fn random_shards_never_panic(shards in proptest::collection::vec(proptest::sample::select(SHARDS), 0..60)) {
        all(&shards.concat());
    }

    #[test]
    fn damaged_documents_never_panic(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), 0usize..6, proptest::sample::select(SHARDS)), 1..6),
    ) {
        let mut chars: Vec<char> = DOCUMENT.chars().collect();
        for (at, remove, shard) in edits {
            let at = at.index(chars.len());
            let end = (at + remove).min(chars.len());
            chars.splice(at..end, shard.chars());
        }
        all(&chars.into_iter().collect::<String>());
    }

    #[test]
    fn random_values_never_panic(
        key in proptest::sample::select(include_str!("compose-keys.txt").lines().collect::<Vec<_>>()),
        value in "[a-z0-9:/=.~${}\\[\\], \"-]{0,20}",
    ) {
        let mut body = String::new();
        for (depth, step) in key.split('.').enumerate() {
            body.push_str(&format!("{}{step}:\n", "  ".repeat(depth)));
        }
        all(&document(&format!("{} {value}", body.trim_end())));
    }

    #[test]
    fn what_is_read_reads_itself(
        ports in proptest::collection::vec((1u16..60000, 1u16..60000), 0..4),
        environment in proptest::collection::btree_map("[A-Z]{1,4}", "[ -~]{0,9}", 0..4),
        replicas in 0u32..5,
        ratio in 0.0f64..1.0,
        memory in 1u64..1_000_000_000,
    ) {
        let quoted: Vec<String> = environment
            .iter()
            .map(|(name, value)| format!("{name}: {}", serde_json::to_string(&value.replace('$', "$$")).unwrap()))
            .collect();
        let ports: std::collections::BTreeMap<u16, u16> = ports.into_iter().collect();
        let ports: Vec<String> = ports.iter().map(|(from, to)| format!("'{from}:{to}'")).collect();
        let body = format!(
            "environment: {{{}}}\nports: [{}]\nmem_limit: {memory}\ndeploy: {{replicas: {replicas}, update_config: {{max_failure_ratio: {ratio}}}}}",
            quoted.join(", "),
            ports.join(", "),
        );
        let spec = service(&body).map_err(TestCaseError::fail)?;
        prop_assert_eq!(&spec.template.environment, &environment);
        let json = serde_json::to_string(&spec).unwrap();
        prop_assert_eq!(serde_json::from_str::<ServiceSpec>(&json).unwrap(), spec);
    }
}
