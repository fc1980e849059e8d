//! The known word that someone probably meant.

/// The candidate that is nearest to `word`, if any is near enough to be worth saying.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let word = snake(word);
    near(SYNONYMS.iter().find(|(from, _)| *from == word).map_or(word.as_str(), |(_, to)| *to), candidates)
}

/// The candidate that is nearest to a name as it was written, if any is near enough to be worth saying.
pub fn near<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= limit
                || (word.len() >= 3 && candidate.starts_with(word) && *distance <= word.len() + 2)
        })
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

/// Words of neighbouring tools for what has another name here.
const SYNONYMS: [(&str, &str); 8] = [
    ("env", "environment"),
    ("cmd", "command"),
    ("args", "command"),
    ("container_port", "target"),
    ("host_port", "published"),
    ("working_directory", "working_dir"),
    ("grace_period", "stop_grace_period"),
    ("count", "replicas"),
];

/// `stopGracePeriod` and `stop-grace-period` as `stop_grace_period`.
fn snake(word: &str) -> String {
    let mut snake = String::with_capacity(word.len() + 4);
    let mut before = '_';
    for c in word.chars() {
        if c.is_uppercase() && before.is_lowercase() {
            snake.push('_');
        }
        snake.extend(if c == '-' { '_' } else { c }.to_lowercase());
        before = c;
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["replicas", "image", "ports", "environment", "stop_grace_period", "host_ip"];
        for (word, near) in [
            ("replica", Some("replicas")),
            ("Image", Some("image")),
            ("prots", Some("ports")),
            ("env", Some("environment")),
            ("stopGracePeriod", Some("stop_grace_period")),
            ("hostIP", Some("host_ip")),
            ("banana", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known).as_deref(), near, "{word}");
        }
    }
}
