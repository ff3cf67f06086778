//! The format of `known_keys`: which servers and which users' keys have been seen before.
//!
//! ```text
//! # secure-chat known keys, version 1
//! server chat.example.org:12345 pinned SHA256:…
//! user SHA256:<realm> bob SHA256:…
//! ```
//! One entry a line. A realm is the fingerprint of the server's key: names mean something only where they were given.
//! Names are percent-encoded but for letters, digits and `_ . -`. A malformed file is an error, never taken for empty:
//! who could make it unreadable could otherwise make the client forget whom it knows.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use crate::crypto::Fingerprint;
use crate::names::UserName;

const HEADER: &str = "# secure-chat known keys, version 1";

/// Why a server was trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vouched {
    /// Its key was pinned, on first use or at the person's word.
    Pinned,
    /// An authority vouched for its name.
    Authority,
}

impl Vouched {
    fn word(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Authority => "ca",
        }
    }
}

/// A server that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// Why it was trusted.
    pub by: Vouched,
    /// The fingerprint of its certificate's key.
    pub key: Fingerprint,
}

/// Something to be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A server was met first, or has another key now.
    Server {
        /// `host:port`, as the person names it.
        address: String,
        /// What was known of it when it was judged.
        before: Option<Server>,
        /// What is known of it from now on.
        server: Server,
    },
    /// A user's key was seen first, or accepted.
    User {
        /// The fingerprint of the server's key.
        realm: Fingerprint,
        /// Whose key it is.
        user: UserName,
        /// Its fingerprint.
        key: Fingerprint,
        /// Whether it takes the place of another.
        replaces: bool,
    },
}

/// What is wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The line, from 1.
    pub line: usize,
    why: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for Malformed {}

/// Everything that is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownKeys {
    servers: BTreeMap<String, Server>,
    users: BTreeMap<(Fingerprint, UserName), Fingerprint>,
}

impl KnownKeys {
    /// Reads the file's text.
    ///
    /// # Errors
    /// [`Malformed`] names the first line that is not as [`KnownKeys::to_text`] writes it; comments and empty lines aside.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut known = Self::default();
        let mut lines = text.split_inclusive('\n').zip(1..);
        if lines.next().is_none_or(|(header, _)| header.trim_end() != HEADER) {
            return Err(Malformed { line: 1, why: "this is not a file of known keys, version 1" });
        }
        for (line, number) in lines {
            let malformed = |why| Malformed { line: number, why };
            let entry = line.strip_suffix('\n').ok_or_else(|| malformed("it is cut short"))?.trim();
            if !entry.is_empty() && !entry.starts_with('#') {
                known.parse_entry(entry).map_err(malformed)?;
            }
        }
        Ok(known)
    }

    fn parse_entry(&mut self, entry: &str) -> Result<(), &'static str> {
        let print = |word: &str| word.parse::<Fingerprint>().map_err(|_| "not a fingerprint");
        let words: Vec<&str> = entry.split_whitespace().collect();
        let again = match *words.as_slice() {
            ["server", address, by, key] => {
                let by = match by {
                    "pinned" => Vouched::Pinned,
                    "ca" => Vouched::Authority,
                    _ => return Err("a server is pinned or ca"),
                };
                self.servers.insert(address.to_owned(), Server { by, key: print(key)? }).is_some()
            }
            ["user", realm, name, key] => {
                let name = unescape(name).ok_or("not a name")?;
                self.users.insert((print(realm)?, UserName::new(&name)), print(key)?).is_some()
            }
            _ => return Err("neither a server nor a user"),
        };
        if again { Err("the entry is there twice") } else { Ok(()) }
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for (address, Server { by, key }) in &self.servers {
            let _ = writeln!(text, "server {address} {} {key}", by.word()); // writing to memory cannot fail
        }
        for ((realm, user), key) in &self.users {
            let _ = writeln!(text, "user {realm} {} {key}", escape(user.as_str()));
        }
        text
    }

    /// What is known of the server at `address`.
    pub fn server(&self, address: &str) -> Option<Server> {
        self.servers.get(address).copied()
    }

    /// The pins of one server's users.
    pub fn users_of(&self, realm: Fingerprint) -> BTreeMap<UserName, Fingerprint> {
        let of_realm = self.users.iter().filter(|((r, _), _)| *r == realm);
        of_realm.map(|((_, user), key)| (user.clone(), *key)).collect()
    }

    /// Remembers a change.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Server { address, server, .. } => {
                let before = self.servers.insert(address.clone(), *server);
                if let Some(before) = before.filter(|before| before.key != server.key) {
                    self.carry_over(before.key, server.key);
                }
            }
            Change::User { realm, user, key, replaces } => {
                let entry = self.users.entry((*realm, user.clone()));
                let kept = entry.or_insert(*key);
                if *replaces {
                    *kept = *key;
                }
            }
        }
    }

    /// The users of a server that got a new key are the same people: their pins move, unless the new realm knows better.
    /// They stay in the old realm, too, while another address leads there.
    fn carry_over(&mut self, old: Fingerprint, new: Fingerprint) {
        for (user, key) in self.users_of(old) {
            self.users.entry((new, user)).or_insert(key);
        }
        if self.servers.values().all(|server| server.key != old) {
            self.users.retain(|(realm, _), _| *realm != old);
        }
    }
}

/// Percent-encodes all but letters, digits and `_ . -`; nothing at all becomes a lone `%`.
fn escape(name: &str) -> String {
    if name.is_empty() {
        return "%".into();
    }
    let mut escaped = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_alphanumeric() || matches!(c, '_' | '.' | '-') {
            escaped.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}

fn unescape(word: &str) -> Option<String> {
    if word == "%" {
        return Some(String::new());
    }
    let mut parts = word.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn print(of: &str) -> Fingerprint {
        Fingerprint::of(of.as_bytes())
    }

    fn pin(realm: &str, user: &str, key: &str, replaces: bool) -> Change {
        Change::User { realm: print(realm), user: UserName::new(user), key: print(key), replaces }
    }

    fn server(address: &str, key: &str) -> Change {
        let server = Server { by: Vouched::Pinned, key: print(key) };
        Change::Server { address: address.into(), before: None, server }
    }

    fn known(changes: &[Change]) -> KnownKeys {
        let mut known = KnownKeys::default();
        changes.iter().for_each(|change| known.apply(change));
        known
    }

    #[test]
    fn a_first_sight_does_not_replace_and_an_acceptance_does() {
        let mut known = known(&[pin("r", "bob", "1", false), pin("r", "bob", "2", false)]);
        assert_eq!(known.users_of(print("r"))[&UserName::new("bob")], print("1"));
        known.apply(&pin("r", "bob", "2", true));
        assert_eq!(known.users_of(print("r"))[&UserName::new("bob")], print("2"));
        assert!(known.users_of(print("other")).is_empty());
    }

    #[test]
    fn a_servers_new_key_keeps_its_users() {
        let both = [server("a:1", "old"), server("b:1", "old"), pin("old", "bob", "1", false)];
        let mut known = known(&both);
        known.apply(&server("a:1", "new"));
        assert_eq!(known.users_of(print("new")).len(), 1);
        assert_eq!(known.users_of(print("old")).len(), 1, "the other address still leads there");
        known.apply(&server("b:1", "new"));
        assert!(known.users_of(print("old")).is_empty());
        assert_eq!(known.server("a:1").unwrap().key, print("new"));
    }

    #[test]
    fn a_malformed_file_is_an_error_that_names_the_line() {
        let good = known(&[server("a:1", "k"), pin("k", "bob", "1", false)]).to_text();
        assert!(KnownKeys::parse(&good).is_ok());
        assert!(KnownKeys::parse(&format!("{good}\n# a comment\n")).is_ok());
        let line = |text: &str| KnownKeys::parse(text).unwrap_err().line;
        assert_eq!(line(""), 1);
        assert_eq!(line("server a:1 pinned"), 1);
        assert_eq!(line(&good.replace("version 1", "version 2")), 1);
        assert_eq!(line(&good.replace("pinned", "trusted")), 2);
        assert_eq!(line(&good.replace(" bob ", " bob%zz ")), 3);
        assert_eq!(line(&good.replace(" bob ", " bob smith ")), 3);
        assert_eq!(line(&good[..good.len() - 1]), 3);
        assert_eq!(line(&good[..good.len() - 9]), 3);
        assert_eq!(line(&format!("{good}{}", good.lines().last().unwrap())), 4);
        let twice = format!("{good}{}\n", good.lines().last().unwrap());
        assert_eq!(KnownKeys::parse(&twice).unwrap_err().to_string(), "line 4: the entry is there twice");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(users in prop::collection::vec((any::<String>(), any::<u8>(), any::<u8>()), 0..8)) {
            let mut known = known(&[server("[::1]:12345", "s")]);
            for (name, realm, key) in users {
                known.apply(&pin(&realm.to_string(), &name, &key.to_string(), true));
            }
            prop_assert_eq!(KnownKeys::parse(&known.to_text()), Ok(known));
        }

        #[test]
        fn reading_is_total(text in "(# secure-chat known keys, version 1\n)?\\PC{0,200}\n?") {
            let _ = KnownKeys::parse(&text);
        }
    }
}
