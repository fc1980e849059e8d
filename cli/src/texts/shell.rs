//! Scripts as the shell reads them, as far as the texts go: which commands they run, and with which words.

/// What stands before a command and is none.
const KEYWORDS: [&str; 9] = ["do", "if", "then", "else", "until", "while", "!", "sudo", "exec"];

/// The simple commands of a script, as words; what is fed to them is left out.
pub fn scripts(text: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut until: Option<String> = None;
    for line in text.replace("\\\n", " ").lines() {
        if let Some(end) = &until {
            if line.trim() == end {
                until = None;
            }
            continue;
        }
        until = line.split_once("<<").map(|(_, end)| {
            end.split_whitespace().next().unwrap_or_default().trim_matches(['\'', '"', '-']).to_owned()
        });
        commands.extend(words(line));
    }
    commands
}

fn words(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut command, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '$') if chars.next_if_eq(&'(').is_some() => {
                // What it says stands in its place, whatever that is.
                commands.extend(words(&enclosed(&mut chars)));
                word.get_or_insert_default().push('x');
            }
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => command.extend(word.take()),
            (None, '<') if chars.next_if_eq(&'(').is_some() => {
                commands.extend(words(&enclosed(&mut chars)));
                word.get_or_insert_default().push('x');
            }
            (None, ';' | '|' | '&' | '(' | ')') => {
                command.extend(word.take());
                commands.push(std::mem::take(&mut command));
            }
            (None, '<' | '>') => {
                // A number before it is the stream's; what follows is a file.
                word.take_if(|word| word.parse::<u8>().is_ok());
                command.extend(word.take());
                while chars.next_if(|c| matches!(c, '<' | '>' | '&') || c.is_whitespace()).is_some() {}
                while chars.next_if(|c| !c.is_whitespace() && *c != ';').is_some() {}
            }
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    command.extend(word);
    commands.push(command);
    commands
}

/// All up to the bracket that closes the one that was just opened.
fn enclosed(chars: &mut impl Iterator<Item = char>) -> String {
    let mut depth = 1;
    chars
        .take_while(|c| {
            depth += match c {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            depth > 0
        })
        .collect()
}

/// What a command runs, past words of the shell, variables, and a host that ssh goes to.
pub fn run(command: &[String]) -> Vec<String> {
    let is_none = |word: &String| KEYWORDS.contains(&word.as_str()) || is_variable(word);
    let Some(at) = command.iter().position(|word| !is_none(word)) else { return Vec::new() };
    let command = &command[at..];
    if command[0] != "ssh" {
        return command.to_vec();
    }
    let beyond = command.iter().skip(1).skip_while(|word| word.starts_with('-')).skip(1);
    match beyond.cloned().collect::<Vec<_>>().as_slice() {
        [one] => run(&words(one).swap_remove(0)),
        more => run(more),
    }
}

fn is_variable(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty()
    })
}

/// The arguments of `evenkeel`, if that is what a command runs; the lab's alias, too.
pub fn ours(command: &[String]) -> Option<Vec<String>> {
    let command = run(command);
    match command.first()?.as_str() {
        "evenkeel" | "keel" => Some(command[1..].to_vec()),
        "hack/lab" => {
            let at = command.iter().position(|word| word == "keel")?;
            Some(command[at + 1..].to_vec())
        }
        _ => None,
    }
}

#[test]
fn scripts_are_read_as_the_shell_does() {
    let script = "A=1 evenkeel apply -f a.yaml --wait   # all of it\ncat >x <<'EOF'\nevenkeel nonsense\nEOF\n\
                  evenkeel import c.yaml 2>report >s.yaml && evenkeel \\\n  status | head\nalias keel='hack/lab keel'\n\
                  until evenkeel wait shop/web; do evenkeel events; done\nif ! keel status; then exit; fi\n\
                  for host in $(evenkeel host list); do echo \"of $(evenkeel explain $(hostname))\"; done\n\
                  ssh -t h2 evenkeel host join -; ssh h2 'evenkeel doctor --here' <x\n\
                  source <(evenkeel completion bash)\n";
    let found: Vec<String> =
        scripts(script).iter().filter_map(|command| ours(command)).map(|words| words.join(" ")).collect();
    assert_eq!(
        found,
        [
            "apply -f a.yaml --wait",
            "import c.yaml",
            "status",
            "wait shop/web",
            "events",
            "status",
            "host list",
            "explain x",
            "host join -",
            "doctor --here",
            "completion bash",
        ]
    );
}
