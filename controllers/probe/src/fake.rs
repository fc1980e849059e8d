//! A probe for tests: answers what it was told to, by address or by command.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_plan::health::target::Question;
use evenkeel_plan::health::verdict::Answer;

use crate::Probe;

/// Answers from a table; whom the table does not name passes.
#[derive(Debug, Clone, Default)]
pub struct FakeProbe {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    answers: BTreeMap<String, (Answer, Duration)>,
    asked: BTreeMap<String, u64>,
    under_way: usize,
    most: usize,
}

/// Whom a question asks, as the table names them: `address:port`, or the instance of a command.
pub fn whom(question: &Question) -> String {
    match question {
        Question::Http { address, .. } | Question::Tcp { address } => address.to_string(),
        Question::Exec { instance, .. } => instance.to_string(),
    }
}

impl FakeProbe {
    /// From now on `whom` gives `answer`, `after` a time.
    pub fn set(&self, whom: &str, answer: Answer, after: Duration) {
        self.lock().answers.insert(whom.to_owned(), (answer, after));
    }

    /// How often `whom` was asked.
    pub fn asked(&self, whom: &str) -> u64 {
        self.lock().asked.get(whom).copied().unwrap_or(0)
    }

    /// The most questions that were ever under way at once.
    pub fn most(&self) -> usize {
        self.lock().most
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Probe for FakeProbe {
    async fn ask(&self, question: &Question, timeout: Duration) -> Answer {
        let whom = whom(question);
        let (answer, after) = {
            let mut state = self.lock();
            *state.asked.entry(whom.clone()).or_default() += 1;
            state.under_way += 1;
            state.most = state.most.max(state.under_way);
            state.answers.get(&whom).cloned().unwrap_or_else(|| (Answer::pass("200 OK"), Duration::ZERO))
        };
        tokio::time::sleep(after.min(timeout)).await;
        self.lock().under_way -= 1;
        if after > timeout { Answer::fail("no answer in time") } else { answer }
    }
}
