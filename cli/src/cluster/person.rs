//! What a person has of a cluster: a folder with settings and an identity, which can be moved as it is.

use std::path::Path;

use evenkeel_sessions::Identity;

use super::book::{Book, write};
use crate::failure::Failure;

/// Makes a person's folder.
///
/// # Errors
/// It cannot be written.
pub fn settle(folder: &Path, book: &Book, user: &str) -> Result<(), Failure> {
    let me = book.person(user)?;
    write(&folder.join("ca.crt"), 0o644, &book.authority())?;
    write(&folder.join("me.crt"), 0o644, &me.cert)?;
    write(&folder.join("me.key"), 0o600, &me.key)?;
    settings(folder, book)
}

/// Whether that user's identity is in a folder, as of the authorities of now.
pub fn has(folder: &Path, book: &Book, user: &str) -> bool {
    let [ca, cert, key] = ["ca.crt", "me.crt", "me.key"].map(|name| folder.join(name));
    let trusted = std::fs::read_to_string(&ca).is_ok_and(|trusted| trusted == book.authority());
    trusted && key.exists() && Identity { ca, cert, key }.name().is_ok_and(|name| name == user)
}

/// Writes where etcd is into a person's folder; files are named relative to it.
///
/// # Errors
/// It cannot be written.
pub fn settings(folder: &Path, book: &Book) -> Result<(), Failure> {
    let text = format!(
        "endpoints: [{}]\nprefix: {}\nca: ca.crt\ncert: me.crt\nkey: me.key\n",
        book.endpoints(None).iter().map(|url| format!("\"{url}\"")).collect::<Vec<_>>().join(", "),
        book.facts.prefix,
    );
    write(&folder.join("config.yaml"), 0o644, &text)
}
