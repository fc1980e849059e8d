//! Every YAML of the texts is what it says that it is: a document, a part of one, or a file of ours.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::Parser;
use evenkeel_api::text::{Origin, interpolate, parse_documents};
use evenkeel_compose::{NoFile, Options, World, import};
use evenkeel_plan::instance::policy::HostPolicy;

use super::fences::Block;
use super::pages;

/// A world with one Compose file in it.
struct Single<'a>(&'a str);

impl World for Single<'_> {
    fn read(&self, path: &Path) -> Result<String, NoFile> {
        if path == Path::new("compose.yaml") { Ok(self.0.to_owned()) } else { Err(NoFile::Missing) }
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn directory(&self) -> PathBuf {
        "/srv/shop".into()
    }
}

/// What is wrong with a text, if anything is.
fn fault(text: &str) -> Option<String> {
    let begins = |key: &str| text.lines().any(|line| line.starts_with(key));
    if begins("apiVersion:") {
        return documents(text);
    }
    if begins("services:") {
        let options = Options {
            files: vec!["compose.yaml".into()],
            namespace: "shop".parse().ok(),
            ..Options::default()
        };
        let imported = import(&options, &Single(text));
        return imported
            .objects
            .iter()
            .any(|object| object.refused)
            .then(|| format!("{:?}", imported.findings));
    }
    if begins("namespaces:") {
        return serde_saphyr::from_str::<HostPolicy>(text).err().map(|error| error.to_string());
    }
    if begins("endpoints:") {
        return config(text).err();
    }
    // A part of a Service.
    let body: String = text.lines().map(|line| format!("  {line}\n")).collect();
    let image = if begins("image:") { "" } else { "  image: a\n" };
    documents(&format!(
        "apiVersion: evenkeel/v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\nspec:\n{image}{body}"
    ))
}

fn config(text: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, text).map_err(|error| error.to_string())?;
    let arguments = [OsStr::new("evenkeel"), OsStr::new("--config"), file.as_os_str(), OsStr::new("status")];
    let cli = crate::Cli::try_parse_from(arguments).map_err(|error| error.to_string())?;
    cli.settings.resolve().map(drop).map_err(|failure| failure.to_string())
}

fn documents(text: &str) -> Option<String> {
    // Variables are those of whoever applies it.
    let text = match interpolate(text, |_| Some("x".to_owned())) {
        Ok(text) => text,
        Err(error) => return Some(error.to_string()),
    };
    let found = parse_documents(&text, &Origin::file("text"));
    if found.is_empty() {
        return Some("there is no document".to_owned());
    }
    found.into_iter().find_map(|document| document.err().map(|error| error.to_string()))
}

/// What a script writes into files by itself, of those that are YAML.
fn written(block: &Block) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = block.text.lines();
    while let Some(line) = lines.next() {
        let Some((before, _)) = line.split_once("<<'EOF'") else { continue };
        let body: String =
            lines.by_ref().take_while(|line| *line != "EOF").map(|line| format!("{line}\n")).collect();
        if before.contains(".yaml") {
            found.push(body);
        }
    }
    found
}

#[test]
fn every_yaml_of_the_texts_is_valid() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (place, block) in pages().iter().flat_map(|page| page.blocks()) {
        let texts = match block.language.as_str() {
            "yaml" => vec![block.text.clone()],
            "sh" => written(&block),
            _ => Vec::new(),
        };
        for text in texts {
            seen += 1;
            wrong.extend(fault(&text).map(|fault| format!("{place}: {fault}")));
        }
    }
    assert!(seen > 10, "only {seen} were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
