//! Whether the server is the one that it should be. It is decided in three steps, each before anything is sent:
//!
//! 1. [`judge`], within the TLS handshake: its certificate.
//! 2. [`judge_wire`], after it: the wire that it chose.
//! 3. [`judge_hello`], on the modern wire: its realm, whose key has signed this very connection.
//!
//! A known realm outweighs a certificate, so certificates may be renewed; without a realm the certificate is all there is.

use crate::client::key_name::KeyName;
use crate::client::known_keys::{Server, Vouched};
use crate::client::wire::Dialect;
use crate::crypto::{Fingerprint, VerifyingKey};
use crate::names::Text;
use crate::transcript::{self, Ed25519Key, Realm, Signature};

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

/// A server as it is to be remembered, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// What is known of it from now on; what it was before if nothing is new.
    pub server: Server,
    /// Why, in sentences.
    pub why: String,
}

/// What a certificate is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The server is trusted.
    Trusted(Met),
    /// Its key is another, and nobody vouches for it: if its realm is the known one, the certificate was renewed.
    UpToTheRealm {
        /// The server, if so.
        met: Met,
        /// Why it is not trusted, if it shows no realm; and what can be done about it.
        refusal: String,
    },
    /// It is not trusted; why, and what can be done about it.
    Untrusted(String),
}

/// Decides about the certificate. A known server comes first: what is pinned stays pinned, whatever name or date its
/// certificate bears; what an authority vouched for must show the same key or be vouched for again.
pub fn judge(case: &Case<'_>) -> Verdict {
    let Case { address, known, accepted, shown, authority } = case;
    if let Some(accepted) = accepted {
        return by_the_persons_word(case, *accepted);
    }
    let realm = known.and_then(|server| server.realm);
    let met = |by, why| Met { server: Server { by, key: *shown, realm }, why };
    match (known, authority) {
        (Some(server), _) if server.key == *shown => {
            Verdict::Trusted(met(server.by, format!("The key of {address} is the known one: {shown}.")))
        }
        (Some(Server { by: Vouched::Authority, .. }), Ok(())) => {
            let why = format!("{address} has a new key, and an authority vouches for it: {shown}.");
            Verdict::Trusted(met(Vouched::Authority, why))
        }
        (Some(server), _) if realm.is_some() => Verdict::UpToTheRealm {
            met: met(Vouched::Pinned, format!("The certificate of {address} is a new one: {shown}.")),
            refusal: changed(case, server),
        },
        (Some(server), _) => Verdict::Untrusted(changed(case, server)),
        (None, Ok(())) => {
            let why = format!("An authority vouches for {address}. Its key: {shown}.");
            Verdict::Trusted(met(Vouched::Authority, why))
        }
        (None, Err(reason)) => Verdict::Trusted(met(
            Vouched::Pinned,
            format!(
                "{address} is new, and no authority vouches for it ({}). Its key is trusted from this first use on: {shown}. \
                 Ask whoever runs the server whether it is the right one.",
                reason_of(reason)
            ),
        )),
    }
}

fn by_the_persons_word(case: &Case<'_>, accepted: Fingerprint) -> Verdict {
    let Case { address, known, shown, .. } = case;
    if *shown != accepted {
        return Verdict::Untrusted(format!(
            "{address} does not show the key that you accept.\n  accepted: {accepted}\n  shown:    {shown}"
        ));
    }
    let realm = known.and_then(|server| server.realm);
    let server = known.filter(|server| server.key == accepted);
    Verdict::Trusted(Met {
        server: server.unwrap_or(Server { by: Vouched::Pinned, key: accepted, realm }),
        why: format!("The key of {address} is the one that you accept: {accepted}."),
    })
}

fn changed(case: &Case<'_>, server: &Server) -> String {
    let Case { address, shown, authority, .. } = case;
    let before = match (server.by, authority) {
        (Vouched::Authority, Err(reason)) => {
            format!("an authority vouched for it before and does not now ({})", reason_of(reason))
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

/// Why no authority vouches. It may quote names from the certificate.
fn reason_of(error: &str) -> Text {
    Text::sanitize(error.strip_prefix("invalid peer certificate: ").unwrap_or(error))
}

/// A server that has chosen a wire.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// `host:port`, as the person names it.
    pub address: &'a str,
    /// The wire that it chose: the modern one was offered.
    pub chosen: Dialect,
    /// The realm that the person named with `--accept-realm`.
    pub accepted: Option<Realm>,
    /// Whether the person said `--allow-legacy`.
    pub allow_legacy: bool,
}

/// Decides about the wire, after what the certificate was worth.
///
/// # Errors
/// Why nothing is said on it: less than a server is known to speak is a downgrade.
pub fn judge_wire(choice: &Choice<'_>, verdict: Verdict) -> Result<Met, String> {
    let Choice { address, chosen, accepted, allow_legacy } = *choice;
    let (met, refusal) = match verdict {
        Verdict::Trusted(met) => (met, None),
        Verdict::UpToTheRealm { met, refusal } => (met, Some(refusal)),
        Verdict::Untrusted(why) => return Err(why),
    };
    if chosen == Dialect::Modern {
        return Ok(met);
    }
    if let Some(accepted) = accepted {
        return Err(format!(
            "{address} speaks the old wire alone, and shows no realm. You accept the realm {}.",
            KeyName::from(accepted)
        ));
    }
    if met.server.realm.is_some() && !allow_legacy {
        return Err(format!(
            "{address} SPEAKS THE OLD WIRE ALONE, AND HAS SPOKEN THE MODERN ONE BEFORE.\n\
             Somebody may want you to say where it cannot be proved who wrote what, or an older server has taken its place. \
             Nothing was sent. Ask whoever runs the server; if it is right, start with\n  --allow-legacy"
        ));
    }
    refusal.map_or(Ok(met), Err) // nothing but the realm could have told that the certificate was renewed
}

/// A server's hello.
#[derive(Debug, Clone, Copy)]
pub struct Hello<'a> {
    /// `host:port`, as the person names it.
    pub address: &'a str,
    /// What its certificate was worth.
    pub met: &'a Met,
    /// The realm that the person named with `--accept-realm`.
    pub accepted: Option<Realm>,
    /// What this connection has and no other.
    pub exporter: &'a [u8; 32],
    /// The realm that it claims.
    pub realm: Realm,
    /// The signature of the realm's key.
    pub signature: &'a Signature,
}

/// Decides about the realm. The first one is trusted as the certificate was; from then on it is the only one.
///
/// # Errors
/// Why nothing is said to this server, and what can be done about it.
pub fn judge_hello(hello: &Hello<'_>) -> Result<Met, String> {
    let Hello { address, met, accepted, realm, .. } = *hello;
    let shown = KeyName::from(realm);
    if !is_signed(hello) {
        return Err(format!(
            "{address} claims the realm {shown} and does not prove that it is its own on this connection. Somebody may be in \
             between. Nothing was sent."
        ));
    }
    let server = Server { realm: Some(realm), ..met.server };
    let because = |why: String| Ok(Met { server, why: format!("{}\n{why}", met.why) });
    match (accepted, met.server.realm) {
        (Some(accepted), _) if accepted != realm => Err(format!(
            "{address} does not show the realm that you accept.\n  accepted: {}\n  shown:    {shown}",
            KeyName::from(accepted)
        )),
        (Some(_), _) => because(format!("Its realm is the one that you accept: {shown}.")),
        (None, Some(known)) if known != realm => Err(changed_realm(address, known, realm)),
        (None, Some(_)) => because(format!("Its realm is the known one: {shown}.")),
        (None, None) => because(format!("Its realm, which is the only one from now on: {shown}.")),
    }
}

fn is_signed(hello: &Hello<'_>) -> bool {
    let key = VerifyingKey::parse(&Ed25519Key(hello.realm.0));
    key.is_ok_and(|key| key.verify(&transcript::hello(hello.exporter), hello.signature))
}

fn changed_realm(address: &str, known: Realm, shown: Realm) -> String {
    let (known, shown) = (KeyName::from(known), KeyName::from(shown));
    format!(
        "{address} IS ANOTHER SERVER: it is in another realm.\n  known: {known}\n  shown: {shown}\n\
         Somebody may be listening in, or the server has lost its database. Nothing was sent. Ask whoever runs the server; \
         if the new realm is right, start once with\n  --accept-realm {shown}"
    )
}

#[cfg(test)]
mod tests;
