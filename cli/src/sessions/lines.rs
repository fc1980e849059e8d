//! What a host sends of a copy, piece by piece, as lines. Pure.

use bytes::{Bytes, BytesMut};

/// No longer line is put together.
const LONGEST: usize = 1 << 20;

/// A line: when it was written, whether to standard error, and its text with its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    pub time: String,
    pub error: bool,
    pub text: Bytes,
}

/// Puts the pieces of long lines together again, and knows which pieces a connection brings a second time.
#[derive(Debug, Default)]
pub struct Lines {
    /// The time of the last piece, and how many of that time have come.
    last: (String, u64),
    /// What this connection brings again: all that is older, and so many of that time.
    again: (String, u64),
    /// Whether the last piece was one of those.
    left_out: bool,
    /// Lines whose end has not come: of standard output, and of standard error.
    open: [Option<(String, BytesMut)>; 2],
}

impl Lines {
    /// When the last piece was written; nothing, if none has come.
    pub fn last(&self) -> &str {
        &self.last.0
    }

    /// Another connection brings what follows the last piece, and some of what came before.
    pub fn begin(&mut self) {
        self.again.clone_from(&self.last);
    }

    /// Whether the end of a line has not come yet.
    pub fn is_open(&self) -> bool {
        self.open.iter().any(Option::is_some)
    }

    /// The lines that end with a piece.
    pub fn take(&mut self, error: bool, piece: Bytes) -> Vec<Line> {
        let Some((time, text)) = split(&piece) else {
            // It begins in the middle of a line, as of a terminal that ends none.
            let open = self.open[usize::from(error)].as_ref();
            let time = open.map_or_else(|| self.last.0.clone(), |(time, _)| time.clone());
            return if self.left_out { Vec::new() } else { self.join(error, time, piece) };
        };
        self.left_out = self.is_known(&time);
        if self.left_out {
            return Vec::new();
        }
        if time == self.last.0 {
            self.last.1 += 1;
        } else {
            self.last = (time.clone(), 1);
        }
        self.join(error, time, text)
    }

    /// Whether a piece of that time was brought before.
    fn is_known(&mut self, time: &str) -> bool {
        let (again, count) = &mut self.again;
        let is_same = time == again && *count > 0;
        *count -= u64::from(is_same);
        is_same || time < again.as_str()
    }

    /// Lines whose end does not come any more, as far as they came.
    pub fn rest(&mut self) -> Vec<Line> {
        [false, true].into_iter().filter_map(|error| self.close(error)).collect()
    }

    /// Engines cut a long line into pieces of one time, of which only the last has an end.
    fn join(&mut self, error: bool, time: String, text: Bytes) -> Vec<Line> {
        let mut lines = Vec::new();
        let open = &self.open[usize::from(error)];
        if open.as_ref().is_some_and(|(of, _)| *of != time) {
            lines.extend(self.close(error));
        }
        let open = &mut self.open[usize::from(error)];
        let is_whole = text.ends_with(b"\n");
        if is_whole && open.is_none() {
            lines.push(Line { time, error, text });
            return lines;
        }
        let (_, gathered) = open.get_or_insert_with(|| (time, BytesMut::new()));
        gathered.extend_from_slice(&text);
        if is_whole || gathered.len() >= LONGEST {
            lines.extend(self.close(error));
        }
        lines
    }

    fn close(&mut self, error: bool) -> Option<Line> {
        let (time, text) = self.open[usize::from(error)].take()?;
        Some(Line { time, error, text: text.freeze() })
    }
}

/// A piece's time and its text, if it begins with a time.
fn split(piece: &Bytes) -> Option<(String, Bytes)> {
    let space = piece.iter().position(|byte| *byte == b' ')?;
    let time = str::from_utf8(&piece[..space]).ok()?;
    time.parse::<jiff::Timestamp>().ok()?;
    Some((time.to_owned(), piece.slice(space + 1..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `t3 text` with a whole time in place of `t3`.
    fn timed(piece: &str) -> Bytes {
        match piece.strip_prefix('t').and_then(|rest| rest.split_at_checked(1)) {
            Some((digit, rest)) => Bytes::from(format!("{BEGIN}{digit}Z{rest}")),
            None => Bytes::from(piece.to_owned()),
        }
    }

    const BEGIN: &str = "2026-11-30T02:18:26.12345678";

    fn took(lines: &mut Lines, error: bool, pieces: &[&str]) -> Vec<String> {
        let taken = pieces.iter().flat_map(|piece| lines.take(error, timed(piece)));
        shown(taken.collect())
    }

    fn shown(lines: Vec<Line>) -> Vec<String> {
        let short = |time: &str| time.replace(BEGIN, "t").replace('Z', "");
        let show = |line: Line| format!("{} {}", short(&line.time), str::from_utf8(&line.text).unwrap());
        lines.into_iter().map(show).collect()
    }

    #[test]
    fn a_line_has_its_time_before_it() {
        let (time, text) =
            split(&Bytes::from_static(b"2026-11-30T02:18:26.123456789Z hello world\n")).unwrap();
        assert_eq!((time.as_str(), &text[..]), ("2026-11-30T02:18:26.123456789Z", &b"hello world\n"[..]));
        assert!(
            split(&Bytes::from_static(b"x")).is_none()
                && split(&Bytes::from_static(b"progress 7%")).is_none()
        );
    }

    #[test]
    fn the_pieces_of_a_long_line_are_one_line_again() {
        let mut lines = Lines::default();
        assert_eq!(took(&mut lines, false, &["t1 a", "t1 b"]), [""; 0]);
        assert!(lines.is_open());
        assert_eq!(took(&mut lines, true, &["t1 aside\n"]), ["t1 aside\n"], "each output has its own");
        assert_eq!(took(&mut lines, false, &["t1 c\n", "t2 d\n"]), ["t1 abc\n", "t2 d\n"]);
        assert!(!lines.is_open());
        // One that never ends: the process did.
        assert_eq!(took(&mut lines, false, &["t3 last", "t4 first\n"]), ["t3 last", "t4 first\n"]);
        assert_eq!(took(&mut lines, true, &["t5 x"]), [""; 0]);
        assert_eq!((shown(lines.rest()), lines.is_open()), (vec!["t5 x".to_owned()], false));
    }

    #[test]
    fn a_line_without_an_end_does_not_grow_for_ever() {
        let mut lines = Lines::default();
        let piece = timed(&format!("t1 {}", "x".repeat(16 * 1024)));
        let whole: Vec<usize> =
            (0..200).flat_map(|_| lines.take(false, piece.clone())).map(|line| line.text.len()).collect();
        assert_eq!(whole, [LONGEST; 3]);
    }

    #[test]
    fn what_a_connection_brings_again_is_left_out_and_nothing_else() {
        let mut lines = Lines::default();
        lines.begin();
        assert_eq!(took(&mut lines, false, &["t1 a\n", "t2 b\n", "t2 c\n"]), ["t1 a\n", "t2 b\n", "t2 c\n"]);
        lines.begin();
        let came = ["t1 a\n", "t2 b\n", "t2 c\n", "t2 d\n", "t3 e"];
        assert_eq!(took(&mut lines, false, &came), ["t2 d\n"], "of the same time, and not seen yet");
        // In the middle of a line, and once more at its end.
        lines.begin();
        assert_eq!(took(&mut lines, false, &["t2 d\n", "t3 e", "t3 f\n"]), ["t3 ef\n"]);
        lines.begin();
        assert_eq!(took(&mut lines, false, &["t3 e", "t3 f\n", "t4 g\n"]), ["t4 g\n"]);
    }

    #[test]
    fn a_piece_without_a_time_goes_on_with_the_one_before_it() {
        let mut lines = Lines::default();
        assert_eq!(
            took(&mut lines, false, &["t1 a", "progress 7%", " and 8%\n"]),
            ["t1 aprogress 7% and 8%\n"]
        );
        lines.begin();
        // Brought again, it is left out with the piece before it; what comes then is not.
        let came = ["t1 a", "progress 7%", " and 8%\n", "t2 b\n"];
        assert_eq!(took(&mut lines, false, &came), ["t2 b\n"]);
    }
}
