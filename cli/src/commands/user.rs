//! `evenkeel user`: who may do what, one certificate a person.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use evenkeel_api::access::Role;
use evenkeel_api::name::Namespace;
use evenkeel_etcd::rights::{Access, Admin, Rights};

use super::init::OPERATOR;
use crate::cluster::book::Book;
use crate::cluster::generations::person_of;
use crate::cluster::{person, rights, whose};
use crate::config::Settings;
use crate::failure::Failure;
use crate::output::{say, table};

/// What about people.
#[derive(Debug, Args)]
pub struct User {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(after_help = "\
Examples:
  evenkeel user list")]
    /// Everyone, and what they may do
    List,
    /// Make an identity for a person, in a folder to hand over; or change what they may do, if there is one
    Add(Add),
    #[command(after_help = "\
Examples:
  evenkeel user remove ann

`evenkeel user add ann …` gives them a new one.")]
    /// A person's certificate does nothing any more
    Remove {
        /// Their name
        name: Namespace,
    },
}

/// Whom, and what they may do.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  evenkeel user add ann --team shop --team pay     changes documents of these namespaces, sees all
  evenkeel user add joe --viewer                   sees all
  evenkeel user add eve --operator                 changes all documents, releases brakes, recovers

The folder goes to ~/.config/evenkeel on the person's machine; whoever has it is that person.")]
struct Add {
    /// Their name: lower-case letters, digits and '-'
    name: Namespace,
    /// A namespace whose documents they change; may be given again
    #[arg(long = "team", value_name = "NAMESPACE")]
    teams: Vec<Namespace>,
    /// They see all and change nothing
    #[arg(long)]
    viewer: bool,
    /// They change all documents
    #[arg(long)]
    operator: bool,
    /// The folder to make [default: ./NAME]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

impl User {
    /// Does it.
    ///
    /// # Errors
    /// This is not where the cluster was made, or etcd does not answer.
    pub async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let mut book = whose::need_book(settings)?;
        let admin = Admin::new(&book.root()).map_err(Failure::new)?;
        match &self.verb {
            Verb::List => list(&admin).await,
            Verb::Add(add) => add.run(&mut book, &admin).await,
            Verb::Remove { name } => {
                let rights = admin.read().await?;
                if !is_there(&rights, name) {
                    return Err(Failure::new(format!("there is no user {name}: see `evenkeel user list`")));
                }
                if book.facts.generations.person(name) == OPERATOR {
                    return Err(Failure::new(
                        "operator is whoever has the cluster's authorities, here: that is not taken from them",
                    ));
                }
                // At once, also while another command holds the book: whoever changes it next learns from etcd of it.
                admin.apply(&book.facts.generations.retire_person(name, &rights)).await?;
                say!("{name} may do nothing any more");
                if let Ok(mut held) = whose::need_book_to_change(settings) {
                    rights::catch_up(&admin, &mut held).await?;
                }
                Ok(())
            }
        }
    }
}

/// Whether that person may do anything.
fn is_there(rights: &Rights, name: &Namespace) -> bool {
    rights.users.iter().any(|(user, roles)| person_of(user).as_ref() == Some(name) && !roles.is_empty())
}

impl Add {
    async fn run(&self, book: &mut Book, admin: &Admin) -> Result<(), Failure> {
        let teams = self.teams.iter().cloned().map(Role::Team);
        let others = [(self.viewer, Role::Viewer), (self.operator, Role::Operator)];
        let others = others.into_iter().filter(|(wanted, _)| *wanted).map(|(_, role)| role);
        let roles: BTreeSet<Role> = teams.chain(others).collect();
        if roles.is_empty() {
            return Err(Failure::new(format!(
                "what may {} do? say --team NAMESPACE, --viewer or --operator",
                self.name
            )));
        }
        let folder = self.to.clone().unwrap_or_else(|| Path::new(".").join(self.name.to_string()));
        // What is learned is not kept, as nobody holds the book here: who changes it learns the same.
        book.facts.generations.learn(&admin.read().await?);
        let user = loop {
            let user = book.facts.generations.person(&self.name);
            let access = Access::from([(user.clone(), roles.clone())]);
            rights::ensure_anew(admin, &access, &book.facts.generations).await?;
            // Taken out in this very moment, they would be back with what they had.
            if !book.facts.generations.learn(&admin.read().await?) {
                break user;
            }
        };
        if person::has(&folder, book, &user) {
            say!(
                "{} has an identity in {} already; what it may do is as you said now",
                self.name,
                folder.display()
            );
            return Ok(());
        }
        person::settle(&folder, book, &user)?;
        say!("{}: hand it over; it goes to ~/.config/evenkeel", folder.display());
        Ok(())
    }
}

async fn list(admin: &Admin) -> Result<(), Failure> {
    let rights = admin.read().await?;
    let people = rights.users.iter().filter(|(_, roles)| !roles.is_empty());
    let people = people.filter_map(|(user, roles)| Some((person_of(user)?, roles)));
    let rows = people
        .map(|(name, roles)| {
            let roles: Vec<_> = roles
                .iter()
                .map(|role| role.trim_start_matches("evenkeel.").replacen("team.", "team ", 1))
                .collect();
            vec![name.to_string(), roles.join(", ")]
        })
        .collect();
    table(&["USER", "MAY"], rows, "no users");
    Ok(())
}
