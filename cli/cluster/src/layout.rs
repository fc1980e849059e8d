//! Which files make a machine a host of a cluster: `evenkeel-host` and `evenkeel-etcd` (charts/host) read them.

use std::fmt::Write as _;

use crate::ticket::{Member, Ticket};

/// Where controllers find what is theirs; they see nothing else of `/etc`.
const ETC: &str = "/etc/evenkeel";
/// Where etcd finds what is its own; no controller sees it.
const ETCD_ETC: &str = "/etc/evenkeel-etcd";
/// Where backups find who they are; no controller sees it.
const BACKUP_ETC: &str = "/etc/evenkeel-backup";
const SBIN: &str = "/usr/local/sbin";

/// A file to write as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where.
    pub path: String,
    /// With which rights.
    pub mode: u32,
    /// What stands in it.
    pub text: String,
}

impl File {
    fn new(path: String, mode: u32, text: impl Into<String>) -> Self {
        Self { path, mode, text: text.into() }
    }

    /// For the owner alone.
    fn secret(path: String, text: &str) -> Self {
        Self::new(path, 0o600, text)
    }

    fn public(path: String, text: impl Into<String>) -> Self {
        Self::new(path, 0o644, text)
    }

    fn program(path: String, text: &str) -> Self {
        Self::new(path, 0o755, text)
    }
}

/// The programs and units of the host bundle, the same for all hosts.
pub fn bundle() -> Vec<File> {
    let program = |name: &str, text: &str| File::program(format!("{SBIN}/{name}"), text);
    vec![
        program("evenkeel-host", include_str!("../../../charts/host/evenkeel-host")),
        program("evenkeel-etcd", include_str!("../../../charts/host/evenkeel-etcd")),
        program("evenkeel-backup", include_str!("../../../charts/host/evenkeel-backup")),
        program("evenkeel-setup", include_str!("../../../charts/host/evenkeel-setup")),
        program("evenkeel-firewall", include_str!("../../../charts/host/evenkeel-firewall")),
        File::public(
            "/etc/systemd/system/evenkeel-firewall.service".to_owned(),
            include_str!("../../../charts/host/evenkeel-firewall.service"),
        ),
    ]
}

/// What a host allows services, unless its owner has said so already.
pub fn policy() -> File {
    File::public(format!("{ETC}/policy.yaml"), include_str!("../../../charts/host/policy.yaml"))
}

/// What makes a host the one that its ticket names.
pub fn files(ticket: &Ticket) -> Vec<File> {
    let mut files = vec![File::public(format!("{ETC}/cluster.env"), cluster_env(ticket))];
    for (name, pair) in &ticket.identities {
        // A folder each: a container sees its own alone.
        let folder = format!("{ETC}/tls/{name}");
        files.push(File::public(format!("{folder}/ca.crt"), &ticket.authority));
        files.push(File::public(format!("{folder}/client.crt"), &pair.cert));
        files.push(File::secret(format!("{folder}/client.key"), &pair.key));
    }
    if let Some(member) = &ticket.etcd {
        files.extend(etcd(ticket, member));
    }
    if let Some(root) = &ticket.backup {
        let tls = |name: &str| format!("{BACKUP_ETC}/tls/{name}");
        files.push(File::public(tls("ca.crt"), &ticket.authority));
        files.push(File::public(tls("client.crt"), &root.cert));
        files.push(File::secret(tls("client.key"), &root.key));
    }
    files
}

fn etcd(ticket: &Ticket, member: &Member) -> [File; 7] {
    let tls = |name: &str| format!("{ETCD_ETC}/tls/{name}");
    [
        File::public(format!("{ETCD_ETC}/etcd.env"), etcd_env(ticket, member)),
        File::public(tls("ca.crt"), &ticket.authority),
        File::public(tls("server.crt"), &member.server.cert),
        File::secret(tls("server.key"), &member.server.key),
        File::public(tls("peer-ca.crt"), &member.authority),
        File::public(tls("peer.crt"), &member.peer.cert),
        File::secret(tls("peer.key"), &member.peer.key),
    ]
}

/// Where a host keeps what its controllers were told when they started last: `cluster.env` is written before that.
pub const STARTED_WITH: &str = "/etc/evenkeel/cluster.env.started";

const HEAD: &str = "# Made by `evenkeel host join`, which writes it anew; what you set yourself belongs into";

/// What controllers of a host are told of the cluster.
pub fn cluster_env(ticket: &Ticket) -> String {
    settings(
        &format!("{HEAD} host.env beside it.\n"),
        &[
            ("EVENKEEL_ENDPOINTS", ticket.endpoints.join(",")),
            ("EVENKEEL_PREFIX", ticket.prefix.clone()),
            ("EVENKEEL_IMAGE", ticket.image.clone()),
            ("EVENKEEL_HOST", ticket.host.to_string()),
            ("EVENKEEL_ADDRESS", ticket.address.to_string()),
            ("EVENKEEL_LEAD", ticket.lead.to_string()),
            ("EVENKEEL_SEPARATE", ticket.is_separate().to_string()),
            ("EVENKEEL_IDENTITIES", format!("{ETC}/tls")),
        ],
    )
}

fn etcd_env(ticket: &Ticket, member: &Member) -> String {
    settings(
        &format!("{HEAD} local.env beside it.\n"),
        &[
            ("ETCD_IMAGE", member.image.clone()),
            ("ETCD_NAME", ticket.host.to_string()),
            ("ETCD_ADDRESS", ticket.address.to_string()),
            ("ETCD_CLUSTER", member.cluster.clone()),
            ("ETCD_TOKEN", member.token.clone()),
            ("ETCD_STATE", if member.joins { "existing" } else { "new" }.to_owned()),
        ],
    )
}

fn settings(head: &str, settings: &[(&str, String)]) -> String {
    let mut text = head.to_owned();
    for (name, value) in settings {
        // In quotes that leave everything as it is: a shell reads it. Writing to a String cannot fail.
        let _ = writeln!(text, "{name}='{}'", value.replace('\'', r"'\''"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::pki::Pair;

    fn pair(name: &str) -> Pair {
        Pair { cert: format!("cert of {name}"), key: format!("key of {name}") }
    }

    fn ticket(identities: &[&str], etcd: bool) -> Ticket {
        let member = Member {
            image: "r/etcd:3".to_owned(),
            cluster: "h1=https://10.0.0.11:2380".to_owned(),
            token: "t".to_owned(),
            joins: false,
            restore: None,
            server: pair("server"),
            peer: pair("peer"),
            authority: "peers".to_owned(),
        };
        Ticket {
            host: "h1".parse().unwrap(),
            address: "10.0.0.11".parse().unwrap(),
            endpoints: vec!["https://10.0.0.11:2379".to_owned(), "https://10.0.0.12:2379".to_owned()],
            prefix: "/evenkeel/v1".to_owned(),
            image: "r/it's:1".to_owned(),
            lead: true,
            authority: "clients".to_owned(),
            identities: identities.iter().map(|name| ((*name).to_owned(), pair(name))).collect(),
            backup: etcd.then(|| pair("root")),
            etcd: etcd.then_some(member),
        }
    }

    fn by_path(ticket: &Ticket) -> BTreeMap<String, File> {
        files(ticket).into_iter().map(|file| (file.path.clone(), file)).collect()
    }

    #[test]
    fn keys_are_the_owners_alone_and_nothing_of_etcd_is_where_controllers_look() {
        let files = by_path(&ticket(&["all"], true));
        for (path, file) in &files {
            assert_eq!(file.mode, if path.ends_with(".key") { 0o600 } else { 0o644 }, "{path}");
            let inside = path.starts_with("/etc/evenkeel/");
            assert_eq!(inside, !path.contains("etcd") && !path.contains("backup"), "{path}");
        }
        assert_eq!(files["/etc/evenkeel/tls/all/client.key"].text, "key of all");
        assert_eq!(files["/etc/evenkeel-etcd/tls/ca.crt"].text, "clients");
        assert_eq!(files["/etc/evenkeel-etcd/tls/peer-ca.crt"].text, "peers");
        assert_eq!(files["/etc/evenkeel-backup/tls/client.key"].text, "key of root");
    }

    #[test]
    fn each_controller_has_a_folder_of_its_own_if_it_is_alone() {
        let files = by_path(&ticket(&["dns", "host"], false));
        let folders: BTreeSet<_> =
            files.keys().filter_map(|path| path.split_once("/tls/")).map(|(_, rest)| rest).collect();
        assert_eq!(
            folders.into_iter().collect::<Vec<_>>(),
            [
                "dns/ca.crt",
                "dns/client.crt",
                "dns/client.key",
                "host/ca.crt",
                "host/client.crt",
                "host/client.key"
            ]
        );
        assert!(files["/etc/evenkeel/cluster.env"].text.contains("EVENKEEL_SEPARATE='true'\n"));
    }

    #[test]
    fn settings_read_as_they_were_written_whatever_is_in_them() {
        let text = &by_path(&ticket(&["all"], true))["/etc/evenkeel/cluster.env"].text;
        assert!(text.contains("EVENKEEL_IMAGE='r/it'\\''s:1'\n"), "{text}");
        assert!(text.contains("EVENKEEL_ENDPOINTS='https://10.0.0.11:2379,https://10.0.0.12:2379'\n"));
        assert!(text.contains("EVENKEEL_SEPARATE='false'\n"));
    }

    #[test]
    fn a_ticket_survives_being_pasted_and_other_words_are_none() {
        let ticket = ticket(&["all"], true);
        let word = ticket.encode();
        assert!(Ticket::decode(&format!(" {word}\n")).unwrap() == ticket);
        // A terminal takes some four thousand characters of a line, and may end it in its own way.
        assert!(word.lines().all(|line| line.len() <= 80));
        assert!(Ticket::decode(&word.replace('\n', "\r\n")).unwrap() == ticket);
        for wrong in ["", "evenkeel1:", "evenkeel1:%", "evenkeel1:e30=", "e30=", &word[..word.len() / 2]] {
            let error = Ticket::decode(wrong).unwrap_err().to_string();
            assert!(error.contains("evenkeel host ticket"), "{wrong}: {error}");
        }
        // Keys are not for logs.
        assert!(!format!("{ticket:?} {:?}", ticket.etcd).contains("key of"));
    }
}
