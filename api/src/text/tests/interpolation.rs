use super::*;

fn vars(name: &str) -> Option<String> {
    let value = match name {
        "EMPTY" => "",
        "N" => "3",
        "NAME" => "web",
        "PASS" => "a #b: 'c' \"d\" $e",
        "LINES" => "a\nb: c",
        "LIST" => "a, b",
        "BIND" => "127.0.0.1:80",
        _ => return None,
    };
    Some(value.to_owned())
}

#[test]
fn compose_forms() {
    for (text, becomes) in [
        ("a: $NAME", "a: web"),
        ("a: ${NAME}/x-$N", "a: web/x-3"),
        ("a: ${NAME:-b}", "a: web"),
        ("a: ${NONE:-b}", "a: b"),
        ("a: ${NONE-b}", "a: b"),
        ("a: ${EMPTY:-b}", "a: b"),
        ("a: x${EMPTY-b}", "a: x"),
        ("a: ${EMPTY-b}", "a: \"\""),
        ("a: ${NONE:-}", "a: \"\""),
        ("a: ${NAME:?no}", "a: web"),
        ("a: x${EMPTY?no}", "a: x"),
        ("a: ${NAME:+b}", "a: b"),
        ("a: x${EMPTY:+b}", "a: x"),
        ("a: ${EMPTY+b}", "a: b"),
        ("a: x${NONE+b}", "a: x"),
        ("a: ${NONE:-${NAME:-b}}", "a: web"),
        ("a: ${NONE:-$NAME-$N}", "a: web-3"),
        ("a: $$NAME $$", "a: $$NAME $$"),
        ("a: $2a$14$ 5$", "a: $2a$14$ 5$"),
        ("a: \"${BIND}:80\"", "a: \"127.0.0.1:80:80\""),
        ("a: '${NAME}'", "a: \"web\""),
        ("a: $PASS", "a: \"a #b: 'c' \\\"d\\\" $$e\""),
        ("a: $LINES", "a: \"a\\nb: c\""),
        ("a: [$LIST, $N]", "a: [\"a, b\", 3]"),
        ("a: ${NONE:-true}", "a: true"),
        ("# ${NONE} stays\na: $N # $NONE too\n", "# ${NONE} stays\na: 3 # $NONE too\n"),
        ("$N: $N", "$N: 3"),
        ("a: |\n  echo $N\n  echo $$N\n", "a: |\n  echo 3\n  echo $$N\n"),
        ("a: |-\n  $NAME", "a: |-\n  web"),
        ("a: &x $N\nb: *x\n", "a: &x 3\nb: *x\n"),
        ("a: $N\n---\nb: $NAME\n", "a: 3\n---\nb: web\n"),
        ("{\"a\": \"$PASS\"}", "{\"a\": \"a #b: 'c' \\\"d\\\" $$e\"}"),
        ("a: some\n  $NAME text", "a: \"some web text\""),
        ("", ""),
    ] {
        assert_eq!(interpolate(text, vars).as_deref(), Ok(becomes), "{text}");
    }
}

#[test]
fn problems_have_a_place() {
    for (text, says) in [
        ("a:\n  - b: x$NONE", "line 2, column 8: the variable NONE is not set"),
        ("a: ${NONE:?ask Ada}", "line 1, column 4: the variable NONE is missing: ask Ada"),
        ("a: ${EMPTY:?}", "the variable EMPTY is missing: it is required"),
        ("a: ${N", "no closing `}`"),
        ("a: ${}", "${} names no variable"),
        ("a: ${N!x}", "after N one of :- - :? ? :+ + is expected"),
        ("a: [", "this is no YAML"),
        ("a: 1\n---\nb: $NONE", "line 3, column 4"),
        ("a: |\n  $LINES\n", "does not fit here"),
    ] {
        let problem = interpolate(text, vars).unwrap_err().to_string();
        assert!(problem.contains(says), "{text}: {problem}");
    }
}

#[test]
fn a_value_is_never_structure() {
    let text = document("environment:\n  PASS: $PASS\n  LINES: '$LINES'\nports: [\"${BIND}:80\"]");
    let text = interpolate(&text, vars).unwrap();
    let Ok(Document { spec: DocumentSpec::Service(spec), .. }) = read(&text) else { panic!("{text}") };
    assert_eq!(spec.template.environment["PASS"], "a #b: 'c' \"d\" $e");
    assert_eq!(spec.template.environment["LINES"], "a\nb: c");
}
