//! Two texts beside each other, as `diff -u` shows them. Pure.

/// Lines around a change that are shown with it.
const CONTEXT: usize = 3;

/// Beyond so many pairs of lines a change is shown as a whole: the table of all pairs would be too large.
const LARGEST: usize = 16_000_000;

/// One line of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// In both.
    Same(&'a str),
    /// Only in the old text.
    Gone(&'a str),
    /// Only in the new text.
    New(&'a str),
}

/// What differs, with three lines around it; empty where nothing does. Each line without its end.
pub fn unified(old: &str, new: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (lines(old), lines(new));
    let all = compare(&old, &new);
    let mut shown = Vec::new();
    for hunk in hunks(&all) {
        let before = &all[..hunk.start];
        let count =
            |part: &[Line<'_>], other: fn(&Line<'_>) -> bool| part.iter().filter(|line| !other(line)).count();
        let is_new = |line: &Line<'_>| matches!(line, Line::New(_));
        let is_gone = |line: &Line<'_>| matches!(line, Line::Gone(_));
        let range =
            |before: usize, len: usize| format!("{},{len}", if len == 0 { before } else { before + 1 });
        let part = &all[hunk];
        shown.push(format!(
            "@@ -{} +{} @@",
            range(count(before, is_new), count(part, is_new)),
            range(count(before, is_gone), count(part, is_gone)),
        ));
        shown.extend(part.iter().map(|line| match line {
            Line::Same(text) => format!(" {text}"),
            Line::Gone(text) => format!("-{text}"),
            Line::New(text) => format!("+{text}"),
        }));
    }
    shown
}

/// Lines with their ends but for the line feed, so that a carriage return that comes or goes is seen; a last line
/// without an end is told from one that has it.
fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.split('\n').collect();
    match lines.last() {
        Some(&"") => drop(lines.pop()),
        _ => lines.push("\\ no newline at the end"),
    }
    lines
}

/// All lines of both, in order: the longest common sequence is what stays.
fn compare<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&old_rest[..old_rest.len() - tail], &new_rest[..new_rest.len() - tail]);
    let mut all: Vec<Line<'a>> = old[..head].iter().map(|line| Line::Same(line)).collect();
    if a.len().saturating_mul(b.len()) > LARGEST {
        all.extend(a.iter().map(|line| Line::Gone(line)));
        all.extend(b.iter().map(|line| Line::New(line)));
    } else {
        middle(a, b, &mut all);
    }
    all.extend(old[old.len() - tail..].iter().map(|line| Line::Same(line)));
    all
}

fn middle<'a>(a: &[&'a str], b: &[&'a str], all: &mut Vec<Line<'a>>) {
    // longest[i][j]: of what a[i..] and b[j..] have in common.
    let width = b.len() + 1;
    let mut longest = vec![0_u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i * width + j] = match a[i] == b[j] {
                true => longest[(i + 1) * width + j + 1] + 1,
                false => longest[(i + 1) * width + j].max(longest[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        let gone =
            j == b.len() || (i < a.len() && longest[(i + 1) * width + j] >= longest[i * width + j + 1]);
        if i < a.len() && j < b.len() && a[i] == b[j] {
            all.push(Line::Same(a[i]));
            (i, j) = (i + 1, j + 1);
        } else if gone {
            all.push(Line::Gone(a[i]));
            i += 1;
        } else {
            all.push(Line::New(b[j]));
            j += 1;
        }
    }
}

/// The parts that are shown: changes with what is around them, together where that meets.
fn hunks(all: &[Line<'_>]) -> Vec<std::ops::Range<usize>> {
    let mut hunks: Vec<std::ops::Range<usize>> = Vec::new();
    for (n, _) in all.iter().enumerate().filter(|(_, line)| !matches!(line, Line::Same(_))) {
        let (start, end) = (n.saturating_sub(CONTEXT), (n + CONTEXT + 1).min(all.len()));
        match hunks.last_mut() {
            Some(last) if start <= last.end => last.end = end,
            _ => hunks.push(start..end),
        }
    }
    hunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_shown_with_what_is_around_it() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\n";
        for (new, shown) in [
            (old.to_owned(), vec![]),
            (old.replace("b\n", "B\n"), vec!["@@ -1,5 +1,5 @@", " a", "-b", "+B", " c", " d", " e"]),
            (
                old.replace("a\n", "").replace("k\n", "k\nl\n"),
                vec!["@@ -1,4 +1,3 @@", "-a", " b", " c", " d", "@@ -9,3 +8,4 @@", " i", " j", " k", "+l"],
            ),
            (
                old.replace("c\n", "").replace("f\n", "F\n"),
                vec!["@@ -1,9 +1,8 @@", " a", " b", "-c", " d", " e", "-f", "+F", " g", " h", " i"],
            ),
        ] {
            assert_eq!(unified(old, &new), shown, "{new}");
        }
        assert_eq!(unified("", "a\nb\n"), ["@@ -0,0 +1,2 @@", "+a", "+b"]);
        assert_eq!(unified("a\n", ""), ["@@ -1,1 +0,0 @@", "-a"]);
        assert_eq!(unified("a\n", "a"), ["@@ -1,1 +1,2 @@", " a", "+\\ no newline at the end"]);
        assert_eq!(unified("a\r\n", "a\n"), ["@@ -1,1 +1,1 @@", "-a\r", "+a"]);
    }

    #[test]
    fn what_is_shown_makes_the_new_text_of_the_old_one() {
        // All pairs of short texts of two letters: what is left when the other side's lines are taken out is each.
        let texts: Vec<String> = (0..64_u32)
            .map(|n| {
                (0..6)
                    .filter(|bit| n >> bit & 1 == 1)
                    .map(|bit| if bit % 2 == 0 { "x\n" } else { "y\n" })
                    .collect()
            })
            .collect();
        for old in &texts {
            for new in &texts {
                let (a, b) = (lines(old), lines(new));
                let all = compare(&a, &b);
                let of = |mine: fn(&Line<'_>) -> bool| -> Vec<&str> {
                    let lines = all.iter().filter(|line| mine(line));
                    lines
                        .map(|line| match line {
                            Line::Same(t) | Line::Gone(t) | Line::New(t) => *t,
                        })
                        .collect()
                };
                assert_eq!(of(|line| !matches!(line, Line::New(_))), a);
                assert_eq!(of(|line| !matches!(line, Line::Gone(_))), b);
            }
        }
    }
}
