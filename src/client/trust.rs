//! Whether the server is the one that it should be.

use crate::client::known_keys::{Server, Vouched};
use crate::crypto::Fingerprint;
use crate::names::Text;

/// What is known about a server before anything is said to it.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    /// `host:port`, as the person names it.
    pub address: &'a str,
    /// What `known_keys` holds.
    pub known: Option<Server>,
    /// The key that the person named with `--accept-server-key`.
    pub accepted: Option<Fingerprint>,
    /// The key that the server shows, and has proved to hold.
    pub shown: Fingerprint,
    /// Whether an authority vouches for it, or why not.
    pub authority: &'a Result<(), String>,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The server is trusted.
    Trusted {
        /// What is to be remembered, when it is not yet.
        record: Option<Server>,
        /// Why, in a sentence.
        why: String,
    },
    /// It is not; why, and what can be done about it.
    Untrusted(String),
}

/// Decides. A known server comes first: what is pinned stays pinned, whatever name or date its certificate bears; what an
/// authority vouched for must show the same key or be vouched for again.
pub fn judge(case: &Case<'_>) -> Verdict {
    let Case { address, known, accepted, shown, authority } = case;
    if let Some(accepted) = accepted {
        return by_the_persons_word(case, *accepted);
    }
    let record = |by| Some(Server { by, key: *shown });
    match (known, authority) {
        (Some(server), _) if server.key == *shown => {
            Verdict::Trusted { record: None, why: format!("The key of {address} is the known one: {shown}.") }
        }
        (Some(Server { by: Vouched::Authority, .. }), Ok(())) => Verdict::Trusted {
            record: record(Vouched::Authority),
            why: format!("{address} has a new key, and an authority vouches for it: {shown}."),
        },
        (Some(server), _) => Verdict::Untrusted(changed(case, server)),
        (None, Ok(())) => Verdict::Trusted {
            record: record(Vouched::Authority),
            why: format!("An authority vouches for {address}. Its key: {shown}."),
        },
        (None, Err(reason)) => Verdict::Trusted {
            record: record(Vouched::Pinned),
            why: format!(
                "{address} is new, and no authority vouches for it ({}). Its key is trusted from this first use on: {shown}. \
                 Ask whoever runs the server whether it is the right one.",
                Text::sanitize(reason)
            ),
        },
    }
}

fn by_the_persons_word(case: &Case<'_>, accepted: Fingerprint) -> Verdict {
    let Case { address, known, shown, .. } = case;
    if *shown != accepted {
        return Verdict::Untrusted(format!(
            "{address} does not show the key that you accept.\n  accepted: {accepted}\n  shown:    {shown}"
        ));
    }
    let is_known = known.is_some_and(|server| server.key == accepted);
    Verdict::Trusted {
        record: (!is_known).then_some(Server { by: Vouched::Pinned, key: accepted }),
        why: format!("The key of {address} is the one that you accept: {accepted}."),
    }
}

fn changed(case: &Case<'_>, server: &Server) -> String {
    let Case { address, shown, authority, .. } = case;
    let before = match (server.by, authority) {
        (Vouched::Authority, Err(reason)) => {
            format!("an authority vouched for it before and does not now ({})", Text::sanitize(reason))
        }
        _ => "its key was pinned".to_owned(),
    };
    format!(
        "THE KEY OF {address} HAS CHANGED: {before}.\n  known: {}\n  shown: {shown}\n\
         Somebody may be listening in, or the server has a new key. Nothing was sent. Ask whoever runs the server; \
         if the new key is right, start once with\n  --accept-server-key {shown}",
        server.key
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(of: &str) -> Fingerprint {
        Fingerprint::of(of.as_bytes())
    }

    fn verdict(known: Option<(Vouched, &str)>, accepted: Option<&str>, shown: &str, vouched: bool) -> Verdict {
        judge(&Case {
            address: "chat:1",
            known: known.map(|(by, key)| Server { by, key: print(key) }),
            accepted: accepted.map(print),
            shown: print(shown),
            authority: &if vouched { Ok(()) } else { Err("UnknownIssuer".into()) },
        })
    }

    fn trusted(verdict: Verdict) -> Option<Server> {
        match verdict {
            Verdict::Trusted { record, .. } => record,
            Verdict::Untrusted(why) => panic!("{why}"),
        }
    }

    fn refused(verdict: Verdict) -> String {
        match verdict {
            Verdict::Untrusted(why) => why,
            trusted => panic!("{trusted:?}"),
        }
    }

    use Vouched::{Authority, Pinned};

    #[test]
    fn a_new_server_is_verified_or_pinned() {
        assert_eq!(trusted(verdict(None, None, "a", true)), Some(Server { by: Authority, key: print("a") }));
        assert_eq!(trusted(verdict(None, None, "a", false)), Some(Server { by: Pinned, key: print("a") }));
    }

    #[test]
    fn a_known_key_is_good_whoever_vouches() {
        for by in [Pinned, Authority] {
            for vouched in [true, false] {
                assert_eq!(trusted(verdict(Some((by, "a")), None, "a", vouched)), None);
            }
        }
    }

    #[test]
    fn another_key_needs_the_authority_that_vouched_before_or_the_persons_word() {
        for vouched in [true, false] {
            let why = refused(verdict(Some((Pinned, "a")), None, "b", vouched));
            for part in [print("a").to_string(), format!("--accept-server-key {}", print("b"))] {
                assert!(why.contains(&part), "{why}");
            }
        }
        refused(verdict(Some((Authority, "a")), None, "b", false));
        let renewed = trusted(verdict(Some((Authority, "a")), None, "b", true));
        assert_eq!(renewed, Some(Server { by: Authority, key: print("b") }));
        let accepted = trusted(verdict(Some((Pinned, "a")), Some("b"), "b", false));
        assert_eq!(accepted, Some(Server { by: Pinned, key: print("b") }));
    }

    #[test]
    fn the_persons_word_is_for_one_key_alone() {
        for known in [None, Some((Pinned, "a")), Some((Authority, "a"))] {
            refused(verdict(known, Some("b"), "a", true));
        }
        assert_eq!(trusted(verdict(Some((Authority, "a")), Some("a"), "a", false)), None);
    }
}
