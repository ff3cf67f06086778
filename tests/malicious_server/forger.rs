//! What whoever runs the server can make of their own: keys in anybody's name, and everything that such keys can sign.

use std::sync::Arc;

use secure_chat::crypto::{Bundle, ChainKey, FernetKey, PrivateKey, PublicKey, SigningKey, envelope};
use secure_chat::names::{RoomName, UserName};
use secure_chat::transcript::{
    self, Author, BundleHash, Commitment, EntryKey, GrantCheck, Kind, LogHash, MessageHash, Position, Realm,
    RosterEntry, RunId, Signature, Verb, readers_hash,
};
use serde_json::{Value, json};

use crate::modern_world::{keys, server};

/// Somebody with keys of the adversary's, in whatever name.
pub struct Forger {
    pub account: UserName,
    pub realm: Realm,
    pub signing: SigningKey,
    pub rsa: Arc<PrivateKey>,
    pub bundle: Bundle,
    pub run: RunId,
    /// The chain of its epoch 1, which begins with counter 1.
    pub chain: ChainKey,
}

impl Forger {
    /// Somebody in this name, with a signing key and a device of the adversary's.
    pub fn new(realm: Realm, account: &str) -> Self {
        Self::with(realm, account, keys::signing("evil"), keys::adversary_rsa())
    }

    pub fn with(realm: Realm, account: &str, signing: SigningKey, rsa: Arc<PrivateKey>) -> Self {
        let account = UserName::new(account);
        let bundle = Bundle::sign(&realm, &account, &signing, &rsa).unwrap();
        let mut run = [0xee; 16];
        run.iter_mut().zip(account.as_str().bytes()).for_each(|(to, from)| *to = from);
        Self { account, realm, signing, rsa, bundle, run: RunId(run), chain: ChainKey::from_raw(&[0xcc; 32]) }
    }

    pub fn entry(&self) -> RosterEntry {
        RosterEntry { account: self.account.clone(), key: EntryKey::Modern(self.bundle.hash()), run: self.run }
    }

    /// The bundle as an answer has it.
    pub fn bundle_json(&self) -> Value {
        json!({
            "kind": "modern",
            "user": self.account.as_str(),
            "signing_key": self.bundle.signing_key().bytes().to_base64(),
            "rsa_key": base64(self.bundle.rsa().spki_der()),
            "signature": self.bundle.signature().to_base64(),
            "rsa_signature": base64(self.bundle.rsa_signature()),
        })
    }

    fn as_author(&self) -> Value {
        json!({ "user": self.account.as_str(), "bundle": self.bundle.hash().to_base64(), "run": self.run.to_base64() })
    }

    /// The event of a message: whoever has the chain of epoch 1 reads it.
    pub fn message(&self, room: &str, n: u64, at: Position, counter: u64, text: &str) -> Value {
        let key = self.chain.advanced(counter - 1).unwrap().message_key();
        let mut line = json!({
            "type": "message", "room": room, "n": n, "time": server::BEGIN + 1_000_000,
            "kind": "text", "epoch": 1, "counter": counter, "at": position_json(at),
            "commitment": key.commitment().to_base64(),
            "encrypted_message": key.seal(&self.plain(text), server::BEGIN / 1000 + 1000),
        });
        merge(&mut line, self.as_author());
        self.sign(&mut line);
        line
    }

    /// The event of a message on the legacy wire, with a key for one reader.
    pub fn legacy(&self, room: &str, n: u64, reader: &PublicKey, text: &str) -> Value {
        let time = server::BEGIN + 1_000_000;
        let sealed = envelope::seal(&format!("{}: {text}", self.account.as_str()), time / 1000);
        json!({
            "type": "message", "room": room, "n": n, "time": time, "user": self.account.as_str(), "legacy": true,
            "encrypted_message": sealed.token, "encrypted_key": sealed.wrap_for(reader).unwrap(),
        })
    }

    /// The text as it is sealed.
    pub fn plain(&self, text: &str) -> Vec<u8> {
        envelope::pad(&format!("{}: {text}", self.account.as_str())).as_bytes().to_vec()
    }

    /// The event that grants the chain of epoch 1 to a reader.
    pub fn grant(&self, room: &str, at: Position, reader: &PublicKey) -> Value {
        let mut line = json!({
            "type": "grant", "room": room, "epoch": 1, "counter": 1, "at": position_json(at),
            "check": self.chain.grant_check().to_base64(), "wrap": self.chain.wrap_for(reader).unwrap(),
        });
        merge(&mut line, self.as_author());
        self.sign(&mut line);
        line
    }

    /// The event of an act.
    pub fn act(
        &self,
        room: &str,
        n: u64,
        at: Position,
        counter: u64,
        (verb, target, argument): (Verb, &str, &str),
    ) -> Value {
        let mut line = json!({
            "type": "act", "room": room, "n": n, "time": server::BEGIN, "verb": verb.as_str(), "target": target,
            "argument": argument, "counter": counter, "at": position_json(at),
        });
        merge(&mut line, self.as_author());
        self.sign(&mut line);
        line
    }

    /// The event of a direct message to readers, who are given by bundle and run, and those of them who have a wrap.
    pub fn direct(
        &self,
        recipient: &str,
        counter: u64,
        text: &str,
        readers: &[(BundleHash, RunId)],
        wraps: &[(BundleHash, &PublicKey)],
    ) -> Value {
        let key = FernetKey::from_raw(&[0xdd; 32]);
        let wraps: serde_json::Map<String, Value> = wraps
            .iter()
            .map(|(bundle, reader)| (bundle.to_base64(), envelope::wrap(key.expose_raw(), reader).unwrap().into()))
            .collect();
        let readers: Vec<_> = readers
            .iter()
            .map(|(bundle, run)| json!({ "bundle": bundle.to_base64(), "run": run.to_base64() }))
            .collect();
        let mut line = json!({
            "type": "direct", "recipient": recipient, "time": server::BEGIN, "counter": counter,
            "encrypted_message": key.seal(&self.plain(text), server::BEGIN / 1000), "wraps": wraps, "readers": readers,
            "commitment": key.commitment().to_base64(),
        });
        merge(&mut line, self.as_author());
        self.sign(&mut line);
        line
    }

    /// Makes a line its own: signs what it says, as this author. `None` when it says nothing that could be signed.
    pub fn adopt(&self, line: &mut Value) -> Option<()> {
        line.as_object()?;
        merge(line, self.as_author());
        self.sign(line)
    }

    /// Signs what a line says, whatever it says of its author.
    pub fn sign(&self, line: &mut Value) -> Option<()> {
        let bytes = signed_bytes(self.realm, line)?;
        line["signature"] = self.signing.sign(&bytes).to_base64().into();
        Some(())
    }
}

/// What the signature of a line is over, by what the line says.
pub fn signed_bytes(realm: Realm, line: &Value) -> Option<Vec<u8>> {
    let text = |field: &str| line[field].as_str();
    let number = |field: &str| line[field].as_u64();
    let (room, account) = (RoomName::new(text("room").unwrap_or_default()), UserName::new(text("user")?));
    let bundle = BundleHash::from_base64(text("bundle")?).ok()?;
    let run = RunId::from_base64(text("run")?).ok()?;
    let author = Author { realm, room: &room, account: &account, bundle, run };
    let counter = number("counter")?;
    Some(match text("type")? {
        "message" => transcript::Statement {
            author,
            kind: Kind::Text,
            epoch: number("epoch")?,
            counter,
            at: position(line)?,
            commitment: Commitment::from_base64(text("commitment")?).ok()?,
            message: MessageHash::of(text("encrypted_message")?),
        }
        .to_bytes(),
        "grant" => transcript::Grant {
            author,
            epoch: number("epoch")?,
            counter,
            at: position(line)?,
            check: GrantCheck::from_base64(text("check")?).ok()?,
        }
        .to_bytes(),
        "act" => transcript::Act {
            author,
            counter,
            at: position(line)?,
            verb: text("verb")?.parse().ok()?,
            target: text("target")?,
            argument: text("argument")?,
        }
        .to_bytes(),
        "direct" => {
            let reader = |reader: &Value| {
                let bundle = BundleHash::from_base64(reader["bundle"].as_str()?).ok()?;
                Some((bundle, RunId::from_base64(reader["run"].as_str()?).ok()?))
            };
            let readers: Option<Vec<_>> = line["readers"].as_array()?.iter().map(reader).collect();
            transcript::Direct {
                realm,
                account: &account,
                bundle,
                run,
                recipient: &UserName::new(text("recipient")?),
                counter,
                commitment: Commitment::from_base64(text("commitment")?).ok()?,
                readers: readers_hash(readers?),
                message: MessageHash::of(text("encrypted_message")?),
            }
            .to_bytes()
        }
        _ => return None,
    })
}

/// The position that a line signs.
pub fn position(line: &Value) -> Option<Position> {
    let at = &line["at"];
    Some(Position { n: at["n"].as_u64()?, log: LogHash::from_base64(at["log"].as_str()?).ok()? })
}

pub fn position_json(at: Position) -> Value {
    json!({ "n": at.n, "log": at.log.to_base64() })
}

/// What a log makes of the event of a line.
pub fn event_after(at: Position, line: &Value) -> Option<Position> {
    let account = UserName::new(line["user"].as_str().unwrap_or_default());
    let signature = line["signature"].as_str().and_then(|signature| Signature::from_base64(signature).ok());
    Some(match line["type"].as_str()? {
        "message" => at.after(&transcript::Event::Message {
            account: &account,
            message: MessageHash::of(line["encrypted_message"].as_str()?),
            signature: signature.as_ref(),
        }),
        "act" => at.after(&transcript::Event::Act {
            account: &account,
            verb: line["verb"].as_str()?.parse().ok()?,
            target: line["target"].as_str()?,
            argument: line["argument"].as_str()?,
            signature: signature.as_ref(),
        }),
        _ => return None,
    })
}

fn merge(line: &mut Value, more: Value) {
    if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
        line.extend(more);
    }
}

pub fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}

/// An entry of a roster as the wire has it.
pub fn entry_json(entry: &RosterEntry) -> Value {
    let key = match entry.key {
        EntryKey::Modern(hash) => hash.to_base64(),
        EntryKey::Legacy(hash) => hash.map_or(String::new(), |hash| hash.to_base64()),
    };
    json!({ "user": entry.account.as_str(), "kind": entry.key.kind(), "key": key, "run": entry.run.to_base64() })
}

pub fn entry_of(json: &Value) -> Option<RosterEntry> {
    let key = json["key"].as_str()?;
    let key = match json["kind"].as_str()? {
        "modern" => EntryKey::Modern(BundleHash::from_base64(key).ok()?),
        "legacy" if key.is_empty() => EntryKey::Legacy(None),
        "legacy" => EntryKey::Legacy(Some(transcript::KeyHash::from_base64(key).ok()?)),
        _ => return None,
    };
    Some(RosterEntry {
        account: UserName::new(json["user"].as_str()?),
        key,
        run: RunId::from_base64(json["run"].as_str()?).ok()?,
    })
}
