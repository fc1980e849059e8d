//! An authority of the cluster as it is kept: who signs, who will sign, and who did. All of them are trusted, so
//! that one can follow another without a host or a person that is not believed meanwhile.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel_cluster::{Authority, Pair};

use super::book::{told, write};
use crate::failure::Failure;

/// See the module.
#[derive(Debug)]
pub struct Signers {
    folder: PathBuf,
    /// What its files are called.
    file: &'static str,
    /// Its name in certificates.
    name: String,
    now: Authority,
    next: Option<Authority>,
    /// The certificate alone: it signs nothing any more. Its key stays beside it while it is trusted, for a person who must go
    /// back by hand.
    before: Option<String>,
}

impl Signers {
    /// A new one.
    ///
    /// # Errors
    /// It cannot be made or kept.
    pub fn create(folder: &Path, file: &'static str, name: &str, at: Duration) -> Result<Self, Failure> {
        let now = Authority::create(name, at).map_err(Failure::chain)?;
        let (folder, name) = (folder.to_owned(), name.to_owned());
        let made = Self { folder, file, name, now, next: None, before: None };
        keep(&made.folder, file, &made.now.pair)?;
        Ok(made)
    }

    /// The one that is kept. Nothing is written, also where an exchange was cut off: whoever only reads may do so while another
    /// command exchanges.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(folder: &Path, file: &'static str, name: &str) -> Result<Self, Failure> {
        let authority = |file: &str| -> Result<Option<Authority>, Failure> {
            let (cert, key) = (read(folder, &format!("{file}.crt"))?, read(folder, &format!("{file}.key"))?);
            let pair = cert.zip(key).map(|(cert, key)| Pair { cert, key });
            pair.map(|pair| Authority::restore(name, pair)).transpose().map_err(Failure::chain)
        };
        let missing = || told(&folder.join(format!("{file}.crt")), "it, or its key, is not there");
        let mut found = Self {
            folder: folder.to_owned(),
            file,
            name: name.to_owned(),
            now: authority(file)?.ok_or_else(missing)?,
            next: authority(&format!("{file}-next"))?,
            before: read(folder, &format!("{file}-before.crt"))?,
        };
        // It is in the middle of `exchange`: the key is another one already.
        if let Some(next) = found.next.take_if(|next| next.pair.key == found.now.pair.key) {
            found.now = next;
        }
        Ok(found)
    }

    /// Keeps what an exchange that was cut off left half done, as [`Signers::open`] took it: for who holds the book.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn go_on(&self) -> Result<(), Failure> {
        if self.next.is_none() && self.next_files().iter().any(|path| path.exists()) {
            return self.keep_now();
        }
        Ok(())
    }

    /// Who signs for hosts.
    pub fn signer(&self) -> &Authority {
        &self.now
    }

    /// Who signs for people: theirs shall outlive the change, as nobody goes round to them a second time.
    pub fn lasting(&self) -> &Authority {
        self.next.as_ref().unwrap_or(&self.now)
    }

    /// The certificates of all of them, that of who signs first.
    pub fn trusted(&self) -> String {
        let next = self.next.as_ref().map(|next| next.pair.cert.as_str());
        let all = [Some(self.now.pair.cert.as_str()), next, self.before.as_deref()];
        all.into_iter().flatten().collect()
    }

    /// Whether one will follow that signs nothing for hosts yet.
    pub fn has_next(&self) -> bool {
        self.next.is_some()
    }

    /// Whether one is trusted still that signs nothing any more.
    pub fn has_before(&self) -> bool {
        self.before.is_some()
    }

    /// Makes the one that will follow, if there is none.
    ///
    /// # Errors
    /// It cannot be made or kept.
    pub fn prepare(&mut self, at: Duration) -> Result<(), Failure> {
        if self.next.is_none() {
            let next = Authority::create(&self.name, at).map_err(Failure::chain)?;
            keep(&self.folder, &format!("{}-next", self.file), &next.pair)?;
            self.next = Some(next);
        }
        Ok(())
    }

    /// Lets the one that follows sign.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn exchange(&mut self) -> Result<(), Failure> {
        let Some(next) = self.next.take() else { return Ok(()) };
        keep(&self.folder, &format!("{}-before", self.file), &self.now.pair)?;
        self.before = Some(self.now.pair.cert.clone());
        self.now = next;
        self.keep_now()
    }

    /// Who signs is kept as such, and no more as the one that follows.
    fn keep_now(&self) -> Result<(), Failure> {
        keep(&self.folder, self.file, &self.now.pair)?;
        self.next_files().iter().try_for_each(|path| remove(path))
    }

    /// Where the one that follows is kept.
    fn next_files(&self) -> [PathBuf; 2] {
        ["crt", "key"].map(|end| self.folder.join(format!("{}-next.{end}", self.file)))
    }

    /// Trusts nobody any more who does not sign.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn forget(&mut self) -> Result<(), Failure> {
        self.before = None;
        remove(&self.folder.join(format!("{}-before.key", self.file)))?;
        remove(&self.folder.join(format!("{}-before.crt", self.file)))
    }
}

/// The key first: see [`Signers::open`].
pub fn keep(folder: &Path, name: &str, pair: &Pair) -> Result<(), Failure> {
    write(&folder.join(format!("{name}.key")), 0o600, &pair.key)?;
    write(&folder.join(format!("{name}.crt")), 0o644, &pair.cert)
}

fn read(folder: &Path, name: &str) -> Result<Option<String>, Failure> {
    let path = folder.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(told(&path, error)),
    }
}

fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(told(path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_795_982_400);

    fn open(folder: &Path) -> Signers {
        Signers::open(folder, "clients", "a").unwrap()
    }

    #[test]
    fn one_authority_follows_another_and_both_are_trusted_meanwhile() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path();
        let mut signers = Signers::create(folder, "clients", "a", NOW).unwrap();
        let old = signers.signer().pair.cert.clone();
        let old_key = signers.signer().pair.key.clone();
        assert_eq!((signers.trusted(), signers.lasting().pair.cert.clone()), (old.clone(), old.clone()));
        signers.prepare(NOW).unwrap();
        let new = signers.lasting().pair.cert.clone();
        // Each step is found again as it was left, and one that is done again changes nothing.
        signers.prepare(NOW).unwrap();
        let again = open(folder);
        assert_eq!((again.trusted(), again.signer().pair.cert.clone()), (format!("{old}{new}"), old.clone()));
        assert_eq!(again.lasting().pair.cert, new);
        signers.exchange().unwrap();
        signers.exchange().unwrap();
        let mut again = open(folder);
        assert_eq!(
            (again.trusted(), again.signer().pair.clone()),
            (format!("{new}{old}"), signers.signer().pair.clone())
        );
        assert_eq!((again.has_next(), again.has_before()), (false, true));
        // No key is lost before nobody needs it any more.
        assert_eq!(read(folder, "clients-before.key").unwrap(), Some(old_key));
        again.forget().unwrap();
        again.forget().unwrap();
        assert_eq!((open(folder).trusted(), fs::read_dir(folder).unwrap().count()), (new, 2));
    }

    #[test]
    fn an_exchange_that_was_cut_off_is_gone_on_with() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path();
        let mut signers = Signers::create(folder, "clients", "a", NOW).unwrap();
        let old = signers.signer().pair.cert.clone();
        signers.prepare(NOW).unwrap();
        let new = signers.lasting().pair.clone();
        // It came as far as the key.
        write(&folder.join("clients-before.crt"), 0o644, &old).unwrap();
        write(&folder.join("clients.key"), 0o600, &new.key).unwrap();
        let files = || {
            let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            paths.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect::<BTreeMap<_, _>>()
        };
        let cut_off = files();
        let again = open(folder);
        let expected = (new.clone(), format!("{}{old}", new.cert));
        assert_eq!((again.signer().pair.clone(), again.trusted()), expected);
        // Who reads changes nothing: the exchange may go on in another command this very moment.
        assert!(!again.has_next() && files() == cut_off);
        again.go_on().unwrap();
        assert_eq!(read(folder, "clients.crt").unwrap(), Some(new.cert.clone()));
        assert!(again.next_files().iter().all(|path| !path.exists()));
        assert_eq!((open(folder).signer().pair.clone(), open(folder).trusted()), expected);
    }

    #[test]
    fn there_is_nothing_to_go_on_with_before_an_exchange() {
        let home = tempfile::tempdir().unwrap();
        let mut signers = Signers::create(home.path(), "clients", "a", NOW).unwrap();
        signers.prepare(NOW).unwrap();
        let again = open(home.path());
        again.go_on().unwrap();
        assert!(again.has_next() && open(home.path()).has_next());
    }
}
