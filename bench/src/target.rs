//! What is measured: a server and the wire that is spoken to it.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::payload::SHORTEST;
use crate::wires::AROUND_TOKEN;

/// A server and a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Target {
    /// chat-server on the modern wire
    Modern,
    /// chat-server on the legacy wire
    Legacy,
    /// The same, with an entry in encrypted_keys for every member, as Python clients send it
    LegacyKeys,
    /// A Python server of the legacy wire, as the scripts were
    Python,
    /// The same, with an entry for every member, in packages that a Python server can take
    PythonKeys,
    /// ngircd: IRC
    Ngircd,
    /// inspircd: IRC
    Inspircd,
    /// nats-server
    Nats,
    /// mosquitto: MQTT 5
    Mosquitto,
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WireKind {
    Modern,
    Legacy,
    Irc,
    Nats,
    Mqtt,
}

/// Most bytes of a message that IRC takes: a line has 512, of which the prefix and the command take some.
const IRC_LIMIT: usize = 400;

impl Target {
    pub(crate) const ALL: &'static [Self] = &[
        Self::Modern,
        Self::Legacy,
        Self::LegacyKeys,
        Self::Nats,
        Self::Mosquitto,
        Self::Ngircd,
        Self::Inspircd,
        Self::Python,
        Self::PythonKeys,
    ];

    pub(crate) fn wire(self) -> WireKind {
        match self {
            Self::Modern => WireKind::Modern,
            Self::Legacy | Self::LegacyKeys | Self::Python | Self::PythonKeys => WireKind::Legacy,
            Self::Ngircd | Self::Inspircd => WireKind::Irc,
            Self::Nats => WireKind::Nats,
            Self::Mosquitto => WireKind::Mqtt,
        }
    }

    /// Whether it is this project's server.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Modern | Self::Legacy | Self::LegacyKeys)
    }

    /// Whether packages have an entry for every member.
    pub(crate) fn has_keys(self) -> bool {
        matches!(self, Self::LegacyKeys | Self::PythonKeys)
    }

    /// As options and files have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Modern => "modern",
            Self::Legacy => "legacy",
            Self::LegacyKeys => "legacy-keys",
            Self::Python => "python",
            Self::PythonKeys => "python-keys",
            Self::Ngircd => "ngircd",
            Self::Inspircd => "inspircd",
            Self::Nats => "nats",
            Self::Mosquitto => "mosquitto",
        }
    }

    /// The text that is said in a message of `size` bytes. On the legacy wire the size is that of the package without its keys,
    /// and the modern wire carries the same token, so that both carry the same. IRC cannot carry more than 400.
    pub(crate) fn text_size(self, size: usize) -> usize {
        let text = match self.wire() {
            WireKind::Modern | WireKind::Legacy => size.saturating_sub(AROUND_TOKEN),
            WireKind::Irc => size.min(IRC_LIMIT),
            WireKind::Nats | WireKind::Mqtt => size,
        };
        text.max(SHORTEST)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_options_and_the_files() {
        for target in Target::value_variants() {
            assert!(Target::ALL.contains(target));
            assert_eq!(target.to_possible_value().unwrap().get_name(), target.name());
            assert_eq!(serde_json::to_string(target).unwrap(), format!("\"{}\"", target.name()));
        }
    }
}
