//! The format of `known_keys`, version 2.
//!
//! ```text
//! # secure-chat known keys, version 2
//! server chat.example.org:12345 pinned SHA256:… modern ed25519:…
//! user <realm> bob rsa SHA256:…
//! signer <realm> bob verified ed25519:…
//! device <realm> bob <bundle> SHA256:…
//! room <realm> lobby <id> modern-only
//! block <realm> eve
//! ```
//! One entry a line; `pinned` or `ca`, `seen` or `verified`; `modern …` and `modern-only` where they are true. A realm is the
//! name of the server's key. Bundles and ids are base64. Names are percent-encoded but for letters, digits and `_ . -`. Of a
//! user's devices the oldest comes first.
//!
//! Version 1 had servers without `modern …`, and `user SHA256:<realm> bob SHA256:…`. It is read, too.
//!
//! A malformed file is an error, never taken for empty: who could make it unreadable could otherwise make the client forget
//! whom it knows.

use std::fmt::{self, Write};

use super::{Device, KnownKeys, MAX_DEVICES, Pins, RoomPin, Server, Signer, Trust, Vouched};
use crate::client::key_name::{KeyName, modern_realm};
use crate::crypto::Fingerprint;
use crate::names::{RoomName, UserName};
use crate::transcript::{BundleHash, Ed25519Key, RoomId};

const HEADER_1: &str = "# secure-chat known keys, version 1";
const HEADER_2: &str = "# secure-chat known keys, version 2";

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

/// An entry that is taken, or what is wrong with it.
type Taken = Result<(), &'static str>;

impl KnownKeys {
    /// Reads the file's text.
    ///
    /// # Errors
    /// [`Malformed`] names the first line that is not as a version of this program writes it; comments and empty lines aside.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut known = Self::default();
        let mut lines = text.split_inclusive('\n').zip(1..);
        let take = match lines.next().map(|(header, _)| header.trim_end()) {
            Some(HEADER_1) => Self::take_entry_1,
            Some(HEADER_2) => Self::take_entry_2,
            _ => return Err(Malformed { line: 1, why: "this is not a file of known keys, version 1 or 2" }),
        };
        for (line, number) in lines {
            let malformed = |why| Malformed { line: number, why };
            let entry = line.strip_suffix('\n').ok_or_else(|| malformed("it is cut short"))?.trim();
            if !entry.is_empty() && !entry.starts_with('#') {
                let words: Vec<&str> = entry.split_whitespace().collect();
                take(&mut known, &words).map_err(malformed)?;
            }
        }
        Ok(known)
    }

    fn take_entry_1(&mut self, words: &[&str]) -> Taken {
        match *words {
            ["server", address, by, key] => self.take_server(address, by, key, None),
            ["user", realm, name, key] => {
                let realm = print(realm)?.into();
                once(self.realm(realm).rsa.insert(user(name)?, print(key)?))
            }
            _ => Err("neither a server nor a user"),
        }
    }

    fn take_entry_2(&mut self, words: &[&str]) -> Taken {
        match *words {
            ["server", address, by, key] => self.take_server(address, by, key, None),
            ["server", address, by, key, "modern", realm] => self.take_server(address, by, key, Some(realm)),
            [kind, realm, ref entry @ ..] => {
                let realm = realm.parse().map_err(|_| "not the name of a realm")?;
                self.realm(realm).take_entry(kind, entry)
            }
            _ => Err("not an entry"),
        }
    }

    fn take_server(&mut self, address: &str, by: &str, key: &str, realm: Option<&str>) -> Taken {
        let by = match by {
            "pinned" => Vouched::Pinned,
            "ca" => Vouched::Authority,
            _ => return Err("a server is pinned or ca"),
        };
        let realm = realm.map(modern_realm).transpose().map_err(|_| "not a modern realm")?;
        once(self.servers.insert(address.to_owned(), Server { by, key: print(key)?, realm }))
    }

    fn realm(&mut self, name: KeyName) -> &mut Pins {
        self.realms.entry(name).or_default()
    }

    /// The file's text, in the newest version.
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEADER_2}\n");
        for (address, Server { by, key, realm }) in &self.servers {
            let by = match by {
                Vouched::Pinned => "pinned",
                Vouched::Authority => "ca",
            };
            let modern = realm.map(|realm| format!(" modern {}", KeyName::from(realm))).unwrap_or_default();
            let _ = writeln!(text, "server {address} {by} {key}{modern}"); // writing to memory cannot fail
        }
        for (realm, pins) in &self.realms {
            let _ = pins.write(*realm, &mut text);
        }
        text
    }
}

impl Pins {
    fn take_entry(&mut self, kind: &str, words: &[&str]) -> Taken {
        match (kind, words) {
            ("user", [name, "rsa", key]) => once(self.rsa.insert(user(name)?, print(key)?)),
            ("signer", [name, trust, key]) => {
                let trust = match *trust {
                    "seen" => Trust::Seen,
                    "verified" => Trust::Verified,
                    _ => return Err("a signing key is seen or verified"),
                };
                once(self.signers.insert(user(name)?, Signer { key: signing_key(key)?, trust }))
            }
            ("device", [name, bundle, rsa]) => {
                let bundle = BundleHash::from_base64(bundle).map_err(|_| "not the hash of a bundle")?;
                self.take_device(user(name)?, Device { bundle, rsa: print(rsa)? })
            }
            ("room", [name, id]) => self.take_room(name, id, false),
            ("room", [name, id, "modern-only"]) => self.take_room(name, id, true),
            ("block", [name]) => {
                if self.blocked.insert(user(name)?) {
                    Ok(())
                } else {
                    Err(TWICE)
                }
            }
            _ => Err("not an entry"),
        }
    }

    fn take_device(&mut self, user: UserName, device: Device) -> Taken {
        let devices = self.devices.entry(user).or_default();
        if devices.contains(&device) {
            return Err(TWICE);
        }
        if devices.len() >= MAX_DEVICES {
            return Err("too many devices of one user");
        }
        devices.push(device);
        Ok(())
    }

    fn take_room(&mut self, name: &str, id: &str, modern_only: bool) -> Taken {
        let name = unescape(name).ok_or("not a name")?;
        let id = RoomId::from_base64(id).map_err(|_| "not the id of a room")?;
        once(self.rooms.insert(RoomName::new(&name), RoomPin { id, modern_only }))
    }

    fn write(&self, realm: KeyName, text: &mut String) -> fmt::Result {
        let name = |user: &UserName| escape(user.as_str());
        for (user, key) in &self.rsa {
            writeln!(text, "user {realm} {} rsa {key}", name(user))?;
        }
        for (user, Signer { key, trust }) in &self.signers {
            let trust = match trust {
                Trust::Seen => "seen",
                Trust::Verified => "verified",
            };
            writeln!(text, "signer {realm} {} {trust} {}", name(user), KeyName::from(*key))?;
        }
        for (user, devices) in &self.devices {
            for Device { bundle, rsa } in devices {
                writeln!(text, "device {realm} {} {bundle} {rsa}", name(user))?;
            }
        }
        for (room, RoomPin { id, modern_only }) in &self.rooms {
            let flag = if *modern_only { " modern-only" } else { "" };
            writeln!(text, "room {realm} {} {id}{flag}", escape(room.as_str()))?;
        }
        self.blocked.iter().try_for_each(|user| writeln!(text, "block {realm} {}", name(user)))
    }
}

const TWICE: &str = "the entry is there twice";

fn once<T>(before: Option<T>) -> Taken {
    if before.is_some() { Err(TWICE) } else { Ok(()) }
}

fn user(word: &str) -> Result<UserName, &'static str> {
    unescape(word).map(|name| UserName::new(&name)).ok_or("not a name")
}

fn print(word: &str) -> Result<Fingerprint, &'static str> {
    word.parse().map_err(|_| "not a fingerprint")
}

fn signing_key(word: &str) -> Result<Ed25519Key, &'static str> {
    match word.parse() {
        Ok(KeyName::Ed25519(key)) => Ok(key),
        _ => Err("not a signing key"),
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
        if digits.starts_with('+') {
            return None; // which is no digit, but the library takes it
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}
