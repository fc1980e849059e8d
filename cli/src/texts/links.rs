//! Every link of the texts leads somewhere, and the book has every page.

use std::collections::BTreeSet;
use std::path::Path;

use super::{checkout, pages};

/// What a heading is called in links: as GitHub and mdbook do.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut inside = false;
    let headings = text.lines().filter(|line| {
        inside ^= line.starts_with("```");
        !inside && line.starts_with('#')
    });
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// Where the links of a line lead.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in pages() {
        let folder = checkout().join(&page.name).parent().map(Path::to_path_buf).unwrap_or_default();
        for (line, text) in page.prose() {
            for target in targets(text).filter(|target| !target.contains("://")) {
                let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
                let found = match file {
                    "" => Some(page.text.clone()),
                    file if folder.join(file).is_dir() => Some(String::new()),
                    file => std::fs::read_to_string(folder.join(file)).ok(),
                };
                let there = found.is_some_and(|text| anchor.is_empty() || anchors(&text).contains(anchor));
                if !there {
                    wrong.push(format!("{}:{line}: {target}", page.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn the_book_has_every_page_of_docs() {
    let pages = pages();
    let summary =
        pages.iter().find(|page| page.name == "docs/SUMMARY.md").expect("the book's table of contents");
    let listed: BTreeSet<&str> = summary.prose().flat_map(|(_, line)| targets(line)).collect();
    let missing: Vec<&str> = pages
        .iter()
        .filter_map(|page| page.name.strip_prefix("docs/"))
        .filter(|name| *name != "SUMMARY.md" && !listed.contains(name))
        .collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md lacks {missing:?}");
}
