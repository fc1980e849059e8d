//! docs/compose.md, «An example: from one machine to hosts»: charts/notes, from its Compose file to an answer.

use evenkeel_tests::lab::{case, eventually};

use super::desk::{Desk, section};
use super::the_copy;

const PAGE: &str = "docs/compose.md";
const HEADING: &str = "An example: from one machine to hosts";

#[test]
fn a_compose_project_comes_to_hosts_as_the_page_says() {
    case(|lab| {
        let mut desk = Desk::new(lab, PAGE, HEADING);
        let chart = |name: &str| {
            let path = lab.checkout(&format!("charts/notes/{name}"));
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let blocks = section(lab, PAGE, HEADING);
        let mut yaml = blocks.iter().filter(|block| block.language == "yaml").map(|block| &block.text);
        let (images, policy) = (yaml.next().expect("the images"), yaml.next().expect("the policy"));
        std::fs::write(desk.file("compose.yaml"), chart("compose.yaml")).expect("a file");
        std::fs::write(desk.file("images.yaml"), images).expect("a file");

        // «It ends with exit code 3: there are decisions», each in the report and above what it is about.
        let imported = desk.next_done();
        assert_eq!(imported.code, 3, "{imported:?}");
        let here = desk.file("uploads").display().to_string();
        let written = std::fs::read_to_string(desk.file("notes.yaml")).expect("what is imported");
        assert_eq!(written.replace(&here, "/srv/shop/uploads"), chart("imported.yaml"));

        std::fs::write(desk.file("notes.yaml"), chart("notes.yaml")).expect("a file");
        desk.next();
        let printed = std::fs::read_to_string(desk.file("policy.yaml")).expect("what the hosts must allow");
        assert!(printed.ends_with(policy.as_str()), "the page has another policy than\n{printed}");

        let said = desk.next();
        let (host, _) = the_copy(lab, "notes/web");
        assert!(said.contains(&host), "`get copies` does not say that it is on {host}:\n{said}");
        // Nothing checks it, so it may not listen yet.
        let ask = desk.next_text().replace("10.0.0.11", &lab.address(&host));
        let greeting = eventually(10, "it answers on its host", || desk.shell(&ask).result());
        assert!(greeting.starts_with("1 "), "{greeting}");
        desk.is_done();
        // What who applied gave, in place of what the file keeps out.
        let database = desk.shell(&ask.replace(":8090/", ":8090/env/DATABASE")).ok();
        assert_eq!(database, "postgres://notes:change-me@db/notes");
        lab.settled("notes/load", 1, 30);
        lab.take_from_hosts();
    });
}
