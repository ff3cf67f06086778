//! How the client ends when it cannot go on.

use std::fmt;

/// The exit codes of both programs, 0 aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The command line, a file of the person's, or the input.
    Usage = 1,
    /// What should not happen.
    Unexpected = 2,
    /// The network or the server.
    Network = 3,
    /// A key that is not trusted.
    Untrusted = 4,
}

/// The end, with the exit code and the last words: who is at fault and what to do.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The last words; what comes from outside in them is sanitized.
    pub words: String,
}

impl Failure {
    /// A failure of the command line, of a file or of the input.
    pub fn usage(words: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, words: words.to_string() }
    }

    /// A failure that should not happen.
    pub fn unexpected(words: impl fmt::Display) -> Self {
        Self { exit: Exit::Unexpected, words: words.to_string() }
    }

    /// A failure of the network or of the server.
    pub fn network(words: impl fmt::Display) -> Self {
        Self { exit: Exit::Network, words: words.to_string() }
    }

    /// A key that is not trusted.
    pub fn untrusted(words: impl fmt::Display) -> Self {
        Self { exit: Exit::Untrusted, words: words.to_string() }
    }

    /// What went wrong, without its full stop and without advice.
    pub fn first_sentence(&self) -> &str {
        self.words.split(". ").next().unwrap_or_default().trim_end_matches('.')
    }
}
