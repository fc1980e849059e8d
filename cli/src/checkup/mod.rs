//! What `evenkeel doctor` looks at; `evenkeel_doctor` judges it.

pub mod disk;
pub mod here;
pub mod settings;
pub mod store;
pub mod there;

use std::path::Path;

use evenkeel_doctor::certificate;
use evenkeel_doctor::facts::Shown;

/// The certificate in a file, and what makes a new one.
pub fn shown(path: &Path, mend: &str) -> Shown {
    let until = std::fs::read_to_string(path).map_err(|error| error.to_string());
    let until = until.and_then(|text| {
        certificate::read(&text).map(|found| found.until.as_secs()).map_err(|error| error.to_string())
    });
    Shown { path: path.display().to_string(), until, mend: mend.to_owned(), authority: false }
}

/// The same, of one that signs the others.
pub fn shown_authority(path: &Path) -> Shown {
    Shown { authority: true, ..shown(path, store::AUTHORITY) }
}
