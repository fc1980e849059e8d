use super::*;

fn key(path: &str) -> Origin {
    match path.parse() {
        Ok(Key::Document(object)) => Origin::Key(object),
        other => panic!("{path}: {other:?}"),
    }
}

const SPEC: &str = "apiVersion: evenkeel/v1\nspec: {image: a}\n";

#[test]
fn a_key_is_the_name() {
    let document = parse_document(SPEC, &key("services/shop/web")).unwrap();
    assert_eq!(document.object.to_string(), "Service shop/web");
    let same = format!("{SPEC}kind: Service\nmetadata: {{name: web, namespace: shop}}\n");
    assert!(parse_document(&same, &key("services/shop/web")).is_ok());
    for (more, says) in [
        ("kind: Network", "the document says Network, but its key services/shop/web is that of a Service"),
        (
            "metadata: {name: wbe}",
            "the document is named \"wbe\", but its key services/shop/web says \"web\"",
        ),
        ("metadata: {namespace: sop}", "the document's namespace is \"sop\", but its key"),
    ] {
        let error = parse_document(&format!("{SPEC}{more}\n"), &key("services/shop/web")).unwrap_err();
        assert!(error.problem.contains(says), "{more}: {error}");
        assert_eq!(error.line, 3);
        assert_eq!(error.origin, "services/shop/web");
    }
}

#[test]
fn a_file_needs_names() {
    for (more, says) in [
        ("", "`kind` is missing"),
        ("kind: Service", "`metadata.name` is missing"),
        (
            "kind: Service\nmetadata: {name: web}",
            "`metadata.namespace` is missing: a Service lives in a team's namespace",
        ),
        ("kind: Service\nmetadata: {name: w_b, namespace: shop}", "try \"w-b\""),
        ("kind: Service\nmetadata: {name: web, namespace: node}", "reserved"),
        ("kind: service", "no kind is called \"service\""),
        ("kind: Service\nmetadata: {naem: web}", "unknown key `naem`"),
        ("kind: Network\nmetadata: {name: lan, namespace: shop}", "a Network has no namespace"),
    ] {
        let error = read(&format!("{SPEC}{more}\n")).unwrap_err();
        assert!(error.problem.contains(says), "{more}: {error}");
    }
    let from = Origin::file_in("web.yaml", "shop".parse().unwrap());
    let document = parse_document(&format!("{SPEC}kind: Service\nmetadata: {{name: web}}\n"), &from).unwrap();
    assert_eq!(document.object.to_string(), "Service shop/web");
}

#[test]
fn what_is_no_document_is_told_what_it_is() {
    for (text, says) in [
        (
            "services: {web: {image: a}}",
            "this is a Compose file, and evenkeel takes one document a service; `evenkeel import FILE`",
        ),
        ("services: {web: {image: '${TAG}'}}", "`evenkeel import FILE` writes them"),
        ("image: a\nports: ['80:80']", "this is the body of a Compose service"),
        ("a: 1", "unknown key `a`"),
        ("kind: Service\nspec: {image: a}", "`apiVersion` is missing; write `apiVersion: evenkeel/v1`"),
        ("apiVersion: v1\nkind: Service", "another system's version"),
        ("apiVersion: evenkeel/v9\nkind: Service", "no version that this evenkeel knows"),
        ("apiVersion: evenkeel/v1\nkind: Host\nmetadata: {name: a}", "`spec` is missing"),
        ("apiVersion: evenkeel/v1\nkind: Host\nmetadata: {name: a}\nspec: 5", "`spec` takes a mapping"),
        ("apiVersion: evenkeel/v1\nkind: Host\nstatus: {}", "`status` is evenkeel's to write"),
        ("apiversion: evenkeel/v1", "unknown key `apiversion`"),
        ("- a", "a document is a mapping"),
        ("just text", "a document is a mapping"),
        ("", "there is no document"),
        ("# nothing\n---\n", "there is no document"),
        ("a: 1\n---\nb: 2", "a second document begins here"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.problem.contains(says), "{text}: {error}");
    }
}

#[test]
fn a_bad_document_hides_no_other() {
    let good = |name: &str| {
        format!(
            "apiVersion: evenkeel/v1\nkind: Host\nmetadata: {{name: {name}}}\nspec: {{address: 10.0.0.1}}\n"
        )
    };
    let text = format!(
        "{}---\na: [\n---\n# empty\n---\n{}--- {{kind: Host}}\n---\n{}",
        good("a"),
        good("b"),
        good("c_d")
    );
    let read = parse_documents(&text, &Origin::file("all.yaml"));
    let shown: Vec<String> = read
        .iter()
        .map(|document| match document {
            Ok(document) => format!("{} line {}", document.object, document.line),
            Err(error) => format!("error line {} column {}", error.line, error.column),
        })
        .collect();
    assert_eq!(
        shown,
        [
            "Host a line 1",
            "error line 6 column 4",
            "Host b line 10",
            "error line 14 column 5",
            "error line 18 column 18"
        ]
    );
    let Ok(document) = &read[2] else { panic!() };
    assert_eq!(document.source, good("b"));
}

#[test]
fn sizes_have_bounds() {
    let long = document(&format!("labels: {{a: {}}}", "b".repeat(MAX_BYTES)));
    assert!(read(&long).unwrap_err().problem.contains("at most 256 fit"));
    let many = format!("{}---\n{long}", document(""));
    let found = parse_documents(&many, &Origin::file("x"));
    assert!(found[0].is_ok() && found[1].is_err());
    let deep = document(&format!("x-a: {}{}", "[".repeat(100), "]".repeat(100)));
    assert!(read(&deep).unwrap_err().problem.contains("nested too deeply"));
    let mut bomb = "x-a: &a [b, b, b, b, b, b, b, b, b]\n".to_owned();
    for (name, of) in ["b", "c", "d", "e", "f", "g"].iter().zip(["a", "b", "c", "d", "e", "f"]) {
        bomb.push_str(&format!("x-{name}: &{name} [{}]\n", vec![format!("*{of}"); 9].join(", ")));
    }
    assert!(read(&document(&bomb)).unwrap_err().problem.contains("unfolds to too many parts"));
}

#[test]
fn texts_of_other_editors_are_read() {
    assert!(read(&format!("\u{feff}{}", document("tty: true"))).is_ok());
    assert!(read(&document("tty: true").replace('\n', "\r\n")).is_ok());
    let error = read(&document("tty: true\nprots: []").replace('\n', "\r\n")).unwrap_err();
    assert_eq!((error.line, error.column, error.source_line.as_deref()), (7, 3, Some("  prots: []")));
    for deep in ["[", "{a: ", "- ", "? ", "&a *a "] {
        let _ = read(&deep.repeat(40_000));
    }
}

#[test]
fn bytes_that_are_no_text_have_a_place() {
    let mut bytes = document("tty: true").into_bytes();
    bytes.extend(b"  # \xff\n");
    let error = parse_document_bytes(&bytes, &Origin::file("web.yaml")).unwrap_err();
    assert_eq!((error.line, error.column), (7, 5));
    assert!(error.problem.contains("no UTF-8"));
}
