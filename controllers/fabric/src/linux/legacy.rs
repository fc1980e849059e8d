//! The engine's chains where its iptables is the old one. Our own table is nftables' there too; only the
//! accept rules must stand beside the engine's.

use evenkeel_plan::network::firewall::COMMENT;
use evenkeel_plan::network::state::{Accepts, Backend, Chain, EngineRules, Jump, Pair};

use super::chain_name;
use super::nft::{last_words, program};
use crate::fabric::FabricError;

const IPTABLES: &str = "iptables-legacy";
/// Lists the old tables that are in use; absent where the kernel has none loaded.
const TABLES: &str = "/proc/net/ip_tables_names";

/// Whether the engine's chains are in the old tables. By the exit code: words differ between versions.
pub async fn engine_lives_there() -> bool {
    let used = tokio::fs::read_to_string(TABLES).await.unwrap_or_default();
    used.lines().any(|table| table == "filter") && matches!(lines("filter", "DOCKER-USER").await, Ok(Some(_)))
}

/// A chain's rules as iptables prints them; `None`: there is no such chain.
async fn lines(table: &'static str, chain: &'static str) -> Result<Option<Vec<String>>, FabricError> {
    let output = program(IPTABLES, &["-w", "5", "-t", table, "-S", chain], "").await?;
    if !output.status.success() {
        return Ok(None);
    }
    let rules = String::from_utf8_lossy(&output.stdout);
    Ok(Some(rules.lines().filter(|line| line.starts_with("-A ")).map(str::to_owned).collect()))
}

fn is_ours(line: &str) -> bool {
    let mut words = line.split(' ').skip_while(|word| *word != "--comment");
    words.nth(1).map(|word| word.trim_matches('"')) == Some(COMMENT)
}

fn pair(line: &str) -> Option<Pair> {
    let words: Vec<&str> = line.split(' ').collect();
    let after = |flag: &str| words.iter().position(|word| *word == flag).and_then(|n| words.get(n + 1));
    Some(Pair { from: after("-s")?.parse().ok()?, to: after("-d")?.parse().ok()? })
}

fn accepts(lines: &[String]) -> Accepts {
    let mut found = Accepts { pairs: Vec::new(), first: true };
    let mut foreign = false;
    for line in lines {
        if !is_ours(line) {
            foreign = true;
            continue;
        }
        found.first &= !foreign;
        found.pairs.extend(pair(line));
    }
    found
}

/// What the engine's chains hold.
pub async fn engine() -> Result<EngineRules, FabricError> {
    let forward = lines("filter", "FORWARD").await?.unwrap_or_default();
    let first = forward.iter().find_map(|line| line.split("-j ").nth(1).filter(|t| t.starts_with("DOCKER")));
    Ok(EngineRules {
        backend: Backend::Legacy,
        forward: accepts(&lines("filter", "DOCKER-USER").await?.unwrap_or_default()),
        raw: accepts(&lines("raw", "PREROUTING").await?.unwrap_or_default()),
        jump: if first.is_some_and(|t| t == "DOCKER-USER") { Jump::Fine } else { Jump::Missing },
        present: lines("nat", "DOCKER").await?.is_some(),
    })
}

async fn iptables(table: &str, arguments: &[&str]) -> Result<(), FabricError> {
    let mut all = vec!["-w", "5", "-t", table];
    all.extend_from_slice(arguments);
    let output = program(IPTABLES, &all, "").await?;
    if output.status.success() {
        return Ok(());
    }
    Err(FabricError::Program { program: IPTABLES, why: last_words(&output) })
}

/// Put our accept rules into a chain, before all others: the new ones first, so that there is no gap.
pub async fn accept(chain: Chain, pairs: &[Pair]) -> Result<(), FabricError> {
    let (table, name) = chain_name(chain);
    let old: Vec<String> = lines(table, name).await?.unwrap_or_default();
    for pair in pairs.iter().rev() {
        let (from, to) = (pair.from.to_string(), pair.to.to_string());
        let rule =
            ["-I", name, "-s", &from, "-d", &to, "-m", "comment", "--comment", COMMENT, "-j", "ACCEPT"];
        iptables(table, &rule).await?;
    }
    // By number from the end, so that those before keep theirs.
    for (n, _) in old.iter().enumerate().filter(|(_, line)| is_ours(line)).rev() {
        iptables(table, &["-D", name, &(n + 1 + pairs.len()).to_string()]).await?;
    }
    Ok(())
}

/// Let `FORWARD` lead to `DOCKER-USER` before all else.
pub async fn jump() -> Result<(), FabricError> {
    iptables("filter", &["-I", "FORWARD", "-j", "DOCKER-USER"]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_rules_are_read() {
        let lines = [
            "-A DOCKER-USER -s 10.88.0.0/15 -d 10.88.0.0/15 -m comment --comment evenkeel -j ACCEPT",
            "-A DOCKER-USER -j RETURN",
        ]
        .map(str::to_owned);
        let pool = "10.88.0.0/15".parse().unwrap();
        assert_eq!(accepts(&lines), Accepts { pairs: vec![Pair { from: pool, to: pool }], first: true });
        assert!(!is_ours("-A DOCKER-USER -m comment --comment other -j ACCEPT"));
    }
}
