//! Rows under a header, for people. Where they do not fit, the last column gives way, which is where sentences stand; what
//! is before it are names, and those are to be copied as they are.

use comfy_table::Table;

/// A column of sentences narrower than this is worse to read than lines of their own.
const NARROWEST: usize = 24;
/// So far such lines stand in.
const INDENT: usize = 4;

/// Rows as lines: within `width`, or each row on one line where there is none.
pub fn lines(header: &[&str], mut rows: Vec<Vec<String>>, width: Option<usize>) -> Vec<String> {
    for cell in rows.iter_mut().flatten().filter(|cell| cell.contains(char::is_control)) {
        *cell = cell.split(char::is_control).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    }
    let (mut widths, last) = widths(header, &rows);
    let before: usize = widths.drain(..).map(|width| width + 2).sum();
    let Some(width) = width.filter(|width| before + last > *width && last > NARROWEST) else {
        return laid(header, rows);
    };
    let room = width.saturating_sub(before);
    let longest = rows.iter().filter_map(|row| row.last()).flat_map(|text| text.split(' ')).map(count).max();
    if room >= NARROWEST.max(longest.unwrap_or(0)) {
        for text in rows.iter_mut().filter_map(|row| row.last_mut()) {
            *text = wrapped(text, room).join("\n");
        }
        return laid(header, rows);
    }
    let mut below: Vec<String> =
        rows.iter_mut().filter_map(|row| row.last_mut()).map(std::mem::take).collect();
    let (last, names) = header.split_last().unwrap_or((&"", &[]));
    below.insert(0, (*last).to_owned());
    let lines = laid(&[names, &[""]].concat(), rows);
    let indented = |sentence: String| {
        let wrapped = wrapped(&sentence, width.saturating_sub(INDENT));
        wrapped.into_iter().filter(|line| !line.is_empty()).map(|line| format!("{:INDENT$}{line}", ""))
    };
    lines
        .into_iter()
        .zip(below)
        .flat_map(|(row, sentence)| std::iter::once(row).chain(indented(sentence)))
        .collect()
}

/// How wide the columns before the last are, and the last.
fn widths(header: &[&str], rows: &[Vec<String>]) -> (Vec<usize>, usize) {
    let mut widths: Vec<usize> = header.iter().map(|name| count(name)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = count(cell).max(*width);
        }
    }
    let last = widths.pop().unwrap_or(0);
    (widths, last)
}

fn count(text: &str) -> usize {
    text.chars().count()
}

fn laid(header: &[&str], rows: Vec<Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.iter().copied());
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.to_string().lines().map(|line| line.trim_end().to_owned()).collect()
}

/// A sentence within a width. A word that is longer stays whole: it may be a name, or a command to copy.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if count(line) + 1 + count(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [&str; 3] = ["SINCE", "WHAT IS WRONG", "WHY"];

    fn rows(cells: &[[&str; 3]]) -> Vec<Vec<String>> {
        cells.iter().map(|row| row.map(str::to_owned).to_vec()).collect()
    }

    fn brakes() -> Vec<Vec<String>> {
        rows(&[
            [
                "3m12s",
                "brake: h2 is gone, its copies are not replaced",
                "it ends when they are back; or say `evenkeel host confirm-dead HOST` of each that is dead, or `evenkeel \
                 brake release` of all",
            ],
            ["1h02m", "Service shop/web: too few copies", "no copy is ready"],
        ])
    }

    #[test]
    fn the_last_column_gives_way_to_a_terminals_width() {
        assert_eq!(
            lines(&HEADER, brakes(), Some(120)),
            [
                "SINCE  WHAT IS WRONG                                   WHY",
                "3m12s  brake: h2 is gone, its copies are not replaced  it ends when they are back; or say `evenkeel host confirm-dead",
                "                                                       HOST` of each that is dead, or `evenkeel brake release` of all",
                "1h02m  Service shop/web: too few copies                no copy is ready",
            ]
        );
        assert_eq!(
            lines(&HEADER, brakes(), Some(80)),
            [
                "SINCE  WHAT IS WRONG                                   WHY",
                "3m12s  brake: h2 is gone, its copies are not replaced  it ends when they are",
                "                                                       back; or say `evenkeel",
                "                                                       host confirm-dead HOST`",
                "                                                       of each that is dead, or",
                "                                                       `evenkeel brake release`",
                "                                                       of all",
                "1h02m  Service shop/web: too few copies                no copy is ready",
            ]
        );
        // What fits stays as it is.
        for width in [None, Some(180)] {
            let all = lines(&HEADER, brakes(), width);
            assert_eq!(all.len(), 3, "{all:#?}");
            assert!(all[1].ends_with("of all"), "{all:#?}");
        }
    }

    #[test]
    fn beside_long_names_sentences_stand_on_lines_of_their_own() {
        let (namespace, service) = ("n".repeat(63), "s".repeat(63));
        let what = format!("Service {namespace}/{service}: degraded");
        let why =
            format!("the rollout is paused: `evenkeel rollout resume {namespace}/{service}` lets it go on");
        let told = rows(&[["5s", &what, &why], ["-", "h2: gone", "no lease"]]);
        assert_eq!(
            lines(&HEADER, told.clone(), Some(80)),
            [
                "SINCE  WHAT IS WRONG".to_owned(),
                "    WHY".to_owned(),
                format!("{:7}{what}", "5s"),
                "    the rollout is paused: `evenkeel rollout resume".to_owned(),
                format!("    {namespace}/{service}`"),
                "    lets it go on".to_owned(),
                format!("{:7}h2: gone", "-"),
                "    no lease".to_owned(),
            ]
        );
        assert_eq!(lines(&HEADER, told, None).len(), 3);
    }

    #[test]
    fn a_number_at_the_end_stays_in_its_column() {
        let name = "h".repeat(63);
        let told = rows(&[[&name, "active", "3"]]);
        assert_eq!(lines(&["HOST", "STATE", "COPIES"], told, Some(40))[1], format!("{name}  active  3"));
    }

    #[test]
    fn a_row_is_one_line_whatever_stands_in_it() {
        let told = rows(&[["5s", "Service a/b", "the engine says:\n\tno such\r\nimage\u{1b}[2J"]]);
        let said = lines(&HEADER, told, None);
        assert_eq!(said[1], "5s     Service a/b    the engine says: no such image [2J");
        assert_eq!(said.len(), 2);
        assert!(lines(&HEADER, rows(&[["", "", ""]]), Some(1)).len() == 2);
    }
}
