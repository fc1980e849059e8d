//! What may stand where a person is typing: walks the command as clap knows it. Pure; names of the cluster's
//! objects are only asked for here.

use clap::{Arg, Command};
use evenkeel_api::meta::Kind;

use crate::words;

/// What may come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choices {
    /// Words, each whole.
    pub words: Vec<String>,
    /// Names of objects of the cluster.
    pub names: Option<Names>,
}

/// Names of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Services, as `shop/web`.
    Services,
    /// The same, to be followed by a number of copies.
    Scaled,
    /// Hosts.
    Hosts,
    /// Namespaces.
    Namespaces,
    /// Services and hosts.
    Objects,
    /// All objects of a kind.
    Of(Kind),
    /// Services, and copies.
    Copies,
}

/// What may stand in the place of the last of `words`, which follow the command's own name.
pub fn choices(root: &Command, words: &[String]) -> Choices {
    let Some((word, before)) = words.split_last() else { return Choices::default() };
    let place = Place::after(root, before);
    let mut found = place.choices(word);
    found.words.retain(|choice| choice.starts_with(word.as_str()));
    found.words.sort();
    found.words.dedup();
    found
}

/// Where the words before have led.
struct Place<'a> {
    root: &'a Command,
    command: &'a Command,
    /// The arguments without a name that were given.
    given: Vec<&'a str>,
    /// An option that waits for its value.
    option: Option<&'a Arg>,
    /// Nothing is an option any more.
    plain: bool,
}

impl<'a> Place<'a> {
    fn after(root: &'a Command, before: &'a [String]) -> Self {
        let mut place = Self { root, command: root, given: Vec::new(), option: None, plain: false };
        for word in before {
            place.pass(word);
        }
        place
    }

    fn pass(&mut self, word: &'a str) {
        if self.option.take().is_some() {
            return;
        }
        if self.plain || !word.starts_with('-') || word == "-" {
            match self.command.find_subcommand(word).filter(|_| self.given.is_empty() && !self.plain) {
                Some(below) => self.command = below,
                None => self.given.push(word),
            }
        } else if word == "--" {
            self.plain = true;
        } else if !word.contains('=') {
            self.option = self.named(word).filter(|arg| arg.get_action().takes_values());
        }
    }

    /// The option that a word names: here, or one of those that all commands take.
    fn named(&self, word: &str) -> Option<&'a Arg> {
        let is = |arg: &&Arg| match word.strip_prefix("--") {
            Some(long) => arg.get_long() == Some(long),
            None => arg
                .get_short()
                .is_some_and(|short| word.strip_prefix('-') == Some(short.to_string().as_str())),
        };
        let command = self.command;
        command
            .get_arguments()
            .find(is)
            .or_else(|| self.root.get_arguments().filter(|arg| arg.is_global_set()).find(is))
    }

    fn choices(&self, word: &str) -> Choices {
        if let Some(option) = self.option {
            return self.values(option);
        }
        if let Some((name, _)) = word.split_once('=').filter(|_| word.starts_with("--") && !self.plain) {
            let mut found = self.named(name).map(|option| self.values(option)).unwrap_or_default();
            found.words.iter_mut().for_each(|value| *value = format!("{name}={value}"));
            // Names that the cluster tells would have to be given so, too: only without.
            found.names = None;
            return found;
        }
        if word.starts_with('-') && !self.plain {
            return Choices { words: self.options(), names: None };
        }
        let below = self
            .command
            .get_subcommands()
            .filter(|below| self.given.is_empty() && !below.is_hide_set() && below.get_name() != "help");
        let mut words: Vec<String> = below.map(|below| below.get_name().to_owned()).collect();
        let positionals: Vec<&Arg> = self.command.get_positionals().collect();
        let arg = positionals
            .get(self.given.len())
            .or(positionals.last().filter(|last| takes_more(last, self.given.len())));
        let values = arg.map(|arg| self.values(arg)).unwrap_or_default();
        words.extend(values.words);
        Choices { words, names: values.names }
    }

    fn options(&self) -> Vec<String> {
        let own =
            self.command.get_arguments().chain(self.root.get_arguments().filter(|arg| arg.is_global_set()));
        let shown = own.filter(|arg| !arg.is_hide_set());
        shown.filter_map(|arg| arg.get_long()).chain(["help"]).map(|long| format!("--{long}")).collect()
    }

    fn values(&self, arg: &Arg) -> Choices {
        let possible = arg.get_possible_values();
        let mut words: Vec<String> = possible
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| value.get_name().to_owned())
            .collect();
        let names = match (self.command.get_name(), arg.get_id().as_str()) {
            ("scale", "services") => Some(Names::Scaled),
            (_, "service" | "services") => Some(Names::Services),
            (_, "target") => Some(Names::Copies),
            (_, "host" | "hosts" | "skip" | "without") => Some(Names::Hosts),
            (_, "namespace") => Some(Names::Namespaces),
            (_, "name" | "what" | "object") if arg.is_positional() => self.objects(arg),
            _ => None,
        };
        words.extend(self.kinds(arg).iter().map(|kind| (*kind).to_owned()));
        Choices { words, names }
    }

    /// The names of objects, of the kind that was said before if one was.
    fn objects(&self, arg: &Arg) -> Option<Names> {
        match (self.given.as_slice(), arg.get_id().as_str()) {
            ([], "what") => Some(Names::Objects),
            ([], "object") => Some(Names::Services),
            ([first, ..], _) => match words::kind(first) {
                Ok(kind) => Some(Names::Of(kind)),
                Err(_) if self.command.get_name() == "get" => Some(Names::Services),
                // Only of services there may be several without it.
                Err(_) => Some(Names::Services).filter(|_| self.command.get_name() == "delete"),
            },
            _ => None,
        }
    }

    /// Kinds, where one may be said.
    fn kinds(&self, arg: &Arg) -> &'static [&'static str] {
        match (self.command.get_name(), arg.get_id().as_str()) {
            ("get", "kind") => &["services", "networks", "healthchecks", "hosts", "copies"],
            ("schema", "kind") => &["service", "network", "healthcheck", "host"],
            (_, "object") if self.given.is_empty() => &["service", "network", "healthcheck", "host"],
            (_, "what") if self.given.is_empty() && arg.is_positional() => {
                &["service", "copy", "name", "host"]
            }
            _ => &[],
        }
    }
}

/// Whether an argument takes another value after so many.
fn takes_more(arg: &Arg, given: usize) -> bool {
    arg.get_num_args().is_some_and(|range| range.max_values() > given)
        || matches!(arg.get_action(), clap::ArgAction::Append)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn asked(line: &str) -> Choices {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut command = crate::Cli::command();
        command.build();
        choices(&command, &words)
    }

    #[test]
    fn what_may_come_follows_from_what_stands_before() {
        for (line, words) in [
            ("roll", "rollback rollout"),
            ("rollout re", "resume retry"),
            ("apply --w", "--wait"),
            ("apply -f x --ti", "--timeout"),
            ("-o j", "json"),
            ("get -o ", "json table yaml"),
            ("get --output=y", "--output=yaml"),
            ("wait shop/web --for ro", "rollout"),
            ("wait --for ", "gone ready rollout"),
            ("completion ", "bash fish zsh"),
            ("get h", "healthchecks hosts"),
            ("describe h", "healthcheck host"),
            ("delete net", "network"),
            ("delete network lan n", ""),
            ("explain h", "host"),
            ("schema n", "network"),
            ("apply -- --w", ""),
            ("nothing --w", ""),
        ] {
            let expected: Vec<&str> = words.split(' ').filter(|word| !word.is_empty()).collect();
            assert_eq!(asked(line).words, expected, "{line}");
        }
    }

    #[test]
    fn names_are_asked_for_where_objects_are_named() {
        for (line, names) in [
            ("rollout pause ", Some(Names::Services)),
            ("restart ", Some(Names::Services)),
            ("wait shop/web ", Some(Names::Services)),
            ("scale shop/web=3 ", Some(Names::Scaled)),
            ("host drain ", Some(Names::Hosts)),
            ("get services -n ", Some(Names::Namespaces)),
            ("explain ", Some(Names::Objects)),
            ("logs -f ", Some(Names::Copies)),
            ("exec -it ", Some(Names::Copies)),
            ("port-forward ", Some(Names::Copies)),
            ("top ", Some(Names::Services)),
            ("exec shop/web -- ", None),
            ("describe ", Some(Names::Services)),
            ("describe host ", Some(Names::Of(Kind::Host))),
            ("describe network ", Some(Names::Of(Kind::Network))),
            ("describe shop/web ", None),
            ("get net ", Some(Names::Of(Kind::Network))),
            ("get -n shop healthchecks ", Some(Names::Of(Kind::HealthCheck))),
            ("get copies ", Some(Names::Services)),
            ("delete shop/web ", Some(Names::Services)),
            ("delete hc shop/a ", Some(Names::Of(Kind::HealthCheck))),
            ("events check ", Some(Names::Of(Kind::HealthCheck))),
            ("explain host ", Some(Names::Of(Kind::Host))),
            ("apply -f x -n ", Some(Names::Namespaces)),
            ("doctor h1 ", Some(Names::Hosts)),
            ("upgrade --skip ", Some(Names::Hosts)),
            ("host ticket ", None),
            ("user remove ", None),
            ("restart shop/web ", None),
            ("apply -f ", None),
            ("status ", None),
        ] {
            assert_eq!(asked(line).names, names, "{line}");
        }
    }

    #[test]
    fn no_line_is_too_odd() {
        for line in ["", " ", "-", "--", "-- ", "=", "--=", "-o", "é -", "get --output= ", "host host host "]
        {
            asked(line);
        }
        assert_eq!(choices(&crate::Cli::command(), &[]), Choices::default());
    }
}
