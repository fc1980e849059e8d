//! What a row of answers amounts to.

use std::time::Duration;

use evenkeel_api::healthcheck::HealthCheckSpec;
use evenkeel_api::record::Verdict;

/// The longest evidence that is kept, in characters.
pub const EVIDENCE: usize = 200;

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The copy answered well.
    Pass,
    /// It answered badly, or not at all.
    Fail,
    /// It was not asked, for a reason that is not the copy's: that says nothing about it.
    Unasked,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What became of the question.
    pub outcome: Outcome,
    /// What was seen, for people: `200 OK`, `connection refused`.
    pub evidence: String,
}

impl Answer {
    /// An answer with evidence that fits in a record: one line of at most [`EVIDENCE`] characters.
    pub fn new(outcome: Outcome, evidence: &str) -> Self {
        let line = evidence.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
        Self { outcome, evidence: line.take(EVIDENCE).collect() }
    }

    /// A pass.
    pub fn pass(evidence: &str) -> Self {
        Self::new(Outcome::Pass, evidence)
    }

    /// A failure.
    pub fn fail(evidence: &str) -> Self {
        Self::new(Outcome::Fail, evidence)
    }

    /// A question that was not asked.
    pub fn unasked(evidence: &str) -> Self {
        Self::new(Outcome::Unasked, evidence)
    }
}

/// The judge of one check on one run of an instance.
///
/// Failures before the first pass count only from the end of the start period on, and only one each
/// interval: the quick looks of the start exist to find an early pass, not to condemn a copy that needs
/// some seconds to start. The first pass ends the start period, as in Compose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judge {
    verdict: Verdict,
    passes: u32,
    failures: u32,
    passed_once: bool,
    /// The age at which a failure was last counted before the first pass.
    counted: Option<Duration>,
}

impl Default for Judge {
    /// The judge of a new run: nothing is known.
    fn default() -> Self {
        Self { verdict: Verdict::Starting, passes: 0, failures: 0, passed_once: false, counted: None }
    }
}

impl Judge {
    /// A judge that goes on from a verdict: after a restart of the controller, or with an edited check.
    /// The verdict stands until a row of new answers says otherwise.
    pub fn resumed(verdict: Verdict) -> Self {
        Self { verdict, ..Self::default() }
    }

    /// The verdict as it is.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Whether the quick looks of the start are over.
    pub fn started(&self) -> bool {
        self.passed_once || self.verdict != Verdict::Starting
    }

    /// Hear an answer to a question asked at `age`, the time since the judging began. Gives the verdict
    /// when this answer completes a row that is long enough for one, be it the old one again.
    pub fn hear(&mut self, spec: &HealthCheckSpec, age: Duration, pass: bool) -> Option<Verdict> {
        if pass {
            self.passed_once = true;
            self.failures = 0;
            self.passes = self.passes.saturating_add(1);
            return (self.passes == spec.success_before_passing()).then(|| self.say(Verdict::Healthy));
        }
        self.passes = 0;
        if !self.started() {
            let since = self.counted.unwrap_or_else(|| spec.start_period().0);
            if age < since.saturating_add(spec.interval().0) {
                return None;
            }
            self.counted = Some(age);
        }
        self.failures = self.failures.saturating_add(1);
        (self.failures == spec.retries()).then(|| self.say(Verdict::Unhealthy))
    }

    fn say(&mut self, verdict: Verdict) -> Verdict {
        self.verdict = verdict;
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A check by its fields, as in a document.
    fn check(fields: &str) -> HealthCheckSpec {
        let text = format!(r#"{{"target": {{"service": "web"}}, "type": "tcp", "port": 80{fields}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    /// Hears `+` and `-` at the given step and writes what was said at each: `s`tarting, `h`ealthy,
    /// `u`nhealthy.
    fn story(judge: &mut Judge, spec: &HealthCheckSpec, step_ms: u64, answers: &str) -> String {
        let mut told = String::new();
        for (n, answer) in (0_u64..).zip(answers.chars()) {
            judge.hear(spec, Duration::from_millis(n * step_ms), answer == '+');
            told.push(match judge.verdict() {
                Verdict::Starting => 's',
                Verdict::Healthy => 'h',
                Verdict::Unhealthy => 'u',
            });
        }
        told
    }

    #[test]
    fn verdicts_follow_from_the_row_of_answers() {
        let healthy = || Judge::resumed(Verdict::Healthy);
        let unhealthy = || Judge::resumed(Verdict::Unhealthy);
        let cases = [
            ("the first pass", Judge::default(), "", 200, "--+", "ssh"),
            ("three failures in a row", healthy(), "", 1000, "--+---", "hhhhhu"),
            ("retries", healthy(), r#", "retries": 1"#, 1000, "-+", "uh"),
            ("two passes in a row", unhealthy(), r#", "success_before_passing": 2"#, 1000, "+-++", "uuuh"),
            (
                "quick looks do not condemn: a failure an interval",
                Judge::default(),
                r#", "interval": "1s", "retries": 2"#,
                200,
                "-----------",
                "ssssssssssu",
            ),
            (
                "nothing counts in the start period",
                Judge::default(),
                r#", "interval": "1s", "start_period": "3s", "retries": 1"#,
                1000,
                "-----",
                "ssssu",
            ),
            (
                "the first pass ends the start period",
                Judge::default(),
                r#", "interval": "1s", "start_period": "1h", "retries": 2"#,
                1000,
                "-+--",
                "shhu",
            ),
            (
                "also a first pass that is not enough for healthy",
                Judge::default(),
                r#", "success_before_passing": 2, "start_period": "1h", "retries": 2"#,
                1000,
                "+--",
                "ssu",
            ),
            ("a resumed verdict stands", healthy(), r#", "start_period": "1h""#, 1000, "--", "hh"),
        ];
        for (what, mut judge, fields, step, answers, expected) in cases {
            assert_eq!(story(&mut judge, &check(fields), step, answers), expected, "{what}");
        }
    }

    #[test]
    fn a_row_that_is_long_enough_is_told_once() {
        let (spec, mut judge) = (check(""), Judge::resumed(Verdict::Healthy));
        let said: Vec<_> = (0..3).map(|_| judge.hear(&spec, Duration::ZERO, true)).collect();
        assert_eq!(said, [Some(Verdict::Healthy), None, None]);
    }

    #[test]
    fn evidence_is_one_short_line() {
        let answer = Answer::fail(&format!("a\r\nb{}", "x".repeat(500)));
        assert!(answer.evidence.starts_with("a  bx"));
        assert_eq!(answer.evidence.chars().count(), EVIDENCE);
    }
}
