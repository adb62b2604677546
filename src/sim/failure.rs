//! A seed that failed.

use std::collections::VecDeque;
use std::env;
use std::fmt;
use std::thread;

use super::check::{KEEP, SEED};
use crate::ring::sim::adversary::Choice;

/// Lines of the trace that a report shows. All of them come with the command.
const LINES: usize = 60;
const CHOICES: usize = 40;

/// A run that failed, and how to see it again.
///
/// Displays as a report: what went wrong, the schedule that it takes, the end of the trace, and the
/// command that runs it again. Debugs as the same, which is what `unwrap` shows.
pub struct Failure {
    pub(super) seed: u64,
    pub(super) message: String,
    pub(super) digest: u64,
    pub(super) is_repeatable: bool,
    pub(super) keep: Option<Vec<u64>>,
    pub(super) choices: Vec<Choice>,
    pub(super) lines: VecDeque<String>,
}

impl Failure {
    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether a second run of the seed went the same way. If not, the test asks something that the
    /// simulation does not decide: the real time, a hash map's order, another thread.
    pub fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    /// The lines of the trace: submissions, completions, and what happened to hosts.
    pub fn trace(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// How many choices of the seed it takes; the others were taken back without mending it.
    pub fn choices(&self) -> usize {
        self.choices.len()
    }

    /// The command that runs this again and prints the whole trace.
    pub fn command(&self) -> String {
        let mut command = format!("{SEED}={}", self.seed);
        if let Some(keep) = &self.keep {
            let keep: Vec<String> = keep.iter().map(u64::to_string).collect();
            command += &format!(" {KEEP}={}", keep.join(","));
        }
        let program = env::current_exe().unwrap_or_default();
        command += &format!(" {}", program.display());
        match thread::current().name() {
            // A test's thread has its name.
            Some(name) if name != "main" => command += &format!(" {name} --exact --nocapture"),
            _ => {
                for argument in env::args().skip(1) {
                    command += &format!(" {argument}");
                }
            }
        }
        command
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} fails: {}", self.seed, self.message)?;
        if !self.is_repeatable {
            writeln!(
                f,
                "A second run of this seed went another way: the test depends on something that \
                 the simulation does not decide (the real time, a hash map's order, a thread)."
            )?;
        }
        match self.choices.len() {
            1 => writeln!(f, "\nIt takes this choice:")?,
            n => writeln!(f, "\nIt takes these {n} choices:")?,
        }
        for choice in self.choices.iter().take(CHOICES) {
            let ms = choice.at_ns as f64 / 1e6;
            writeln!(f, "{ms:>14.6} ms  {} = {}", choice.what, choice.value)?;
        }
        if self.choices.len() > CHOICES {
            writeln!(f, "  and {} more", self.choices.len() - CHOICES)?;
        }
        writeln!(f, "\nThe end of the trace ({} lines):", self.lines.len())?;
        let skipped = self.lines.len().saturating_sub(LINES);
        for line in self.lines.iter().skip(skipped) {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "\ndigest {:016x}. To run it again:", self.digest)?;
        write!(f, "  {}", self.command())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}
