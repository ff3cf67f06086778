//! Which wire the two ends speak.

/// Which wire it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The Python server's.
    Legacy,
    /// `secure-chat/1`.
    Modern,
}

/// A wire that was chosen, with what belongs to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// The Python server's.
    Legacy,
    /// `secure-chat/1`.
    Modern {
        /// What this TLS connection has and no other: the server's hello signs it.
        exporter: [u8; 32],
    },
}

impl Wire {
    /// Which wire it is.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Legacy => Dialect::Legacy,
            Self::Modern { .. } => Dialect::Modern,
        }
    }
}
