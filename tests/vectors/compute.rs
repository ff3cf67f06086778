//! What our code makes of a vector's input.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secure_chat::crypto::{Bundle, ChainKey, FernetKey, SafetyNumber, SigningKey, envelope};
use secure_chat::names::{RoomName, UserName};
use secure_chat::transcript::{
    Act, Author, BundleHash, ChangesHash, Commitment, Direct, Ed25519Key, EntryKey, Event, Grant, GrantCheck, KeyHash,
    Kind, LogHash, LogNonce, MessageHash, Position, Realm, RoomId, RosterEntry, RosterHash, RunId, Signature,
    Statement, bundle, changes_hash, hello, log_start, readers_hash, roster_hash,
};
use serde_json::{Value, json};

use crate::RSA;

/// The fields of a vector's input; `None` wherever one is not what it should be.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    fn text(self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.as_str()
    }

    fn int(self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_u64()
    }

    fn blob(self, name: &str) -> Option<Vec<u8>> {
        STANDARD.decode(self.text(name)?).ok()
    }

    fn bytes<const N: usize>(self, name: &str) -> Option<[u8; N]> {
        self.blob(name)?.try_into().ok()
    }

    fn list(self, name: &str) -> Option<impl Iterator<Item = Fields<'a>>> {
        Some(self.0.get(name)?.as_array()?.iter().map(Fields))
    }

    fn key(self) -> Option<SigningKey> {
        Some(SigningKey::from_seed(&self.bytes("seed")?))
    }

    fn position(self) -> Option<Position> {
        Some(Position { n: self.int("n")?, log: LogHash(self.bytes("log")?) })
    }

    fn entry(self) -> Option<RosterEntry> {
        let key = match self.text("kind")? {
            "modern" => EntryKey::Modern(BundleHash(self.bytes("key")?)),
            "legacy" if self.text("key")?.is_empty() => EntryKey::Legacy(None),
            "legacy" => EntryKey::Legacy(Some(KeyHash(self.bytes("key")?))),
            _ => return None,
        };
        Some(RosterEntry { account: UserName::new(self.text("account")?), key, run: RunId(self.bytes("run")?) })
    }

    fn entries(self, name: &str) -> Option<Vec<RosterEntry>> {
        self.list(name)?.map(Fields::entry).collect()
    }
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// What is signed, and the signature.
fn signed(key: &SigningKey, bytes: &[u8]) -> Value {
    json!({ "bytes": base64(bytes), "signature": key.sign(bytes).to_base64() })
}

/// The output of a vector; `None` when the input is refused.
pub(crate) fn compute(kind: &str, input: &Value) -> Option<Value> {
    let fields = Fields(input);
    match kind {
        "hello" => Some(signed(&fields.key()?, &hello(&fields.bytes("exporter")?))),
        "bundle" => compute_bundle(fields),
        "statement" | "grant" | "act" => compute_in_room(kind, fields),
        "direct" => compute_direct(fields),
        "log" => compute_log(fields),
        "roster" => compute_roster(fields),
        "commitment" => {
            let key = FernetKey::from_raw(&fields.bytes("key")?);
            Some(json!({ "commitment": key.commitment().to_base64() }))
        }
        "chain" => compute_chain(fields),
        "wrap" => {
            let key = envelope::unwrap(fields.text("wrapped")?, &RSA)?;
            Some(json!({ "key": base64(*key) }))
        }
        "token" => {
            let (key, token) = (FernetKey::from_raw(&fields.bytes("key")?), fields.text("token")?);
            let padded = key.open(token).ok()?;
            let text = envelope::open_with(&key, token)?;
            Some(json!({ "padded": base64(&*padded), "text": *text, "time": envelope::timestamp(token)? }))
        }
        "safety number" => {
            let one = (&UserName::new(fields.text("account")?), &Ed25519Key(fields.bytes("signing_key")?));
            let other = (&UserName::new(fields.text("other_account")?), &Ed25519Key(fields.bytes("other_key")?));
            let number = SafetyNumber::of(&Realm(fields.bytes("realm")?), one, other);
            Some(json!({ "digits": number.digits(), "shown": number.to_string() }))
        }
        _ => panic!("no vector of kind {kind}"),
    }
}

fn compute_bundle(fields: Fields<'_>) -> Option<Value> {
    let (realm, account) = (Realm(fields.bytes("realm")?), UserName::new(fields.text("account")?));
    let (key, rsa) = (fields.key()?, fields.blob("rsa_key")?);
    let signing_key = key.verifying_key().bytes();
    let bytes = bundle(&realm, &account, &signing_key, &rsa);
    let signature = key.sign(&bytes);
    let rsa_signature = fields.blob("rsa_signature")?;
    let bundle = Bundle::verify(&realm, &account, &signing_key, &rsa, &signature, &rsa_signature).ok()?;
    let mut output = signed(&key, &bytes);
    output["signing_key"] = signing_key.to_base64().into();
    output["hash"] = bundle.hash().to_base64().into();
    Some(output)
}

fn compute_in_room(kind: &str, fields: Fields<'_>) -> Option<Value> {
    let author = Author {
        realm: Realm(fields.bytes("realm")?),
        room: &RoomName::new(fields.text("room")?),
        account: &UserName::new(fields.text("account")?),
        bundle: BundleHash(fields.bytes("bundle")?),
        run: RunId(fields.bytes("run")?),
    };
    let (counter, at) = (fields.int("counter")?, fields.position()?);
    let bytes = match kind {
        "statement" => {
            let kind = Some(Kind::Text).filter(|kind| fields.text("kind") == Some(kind.as_str()))?;
            let commitment = Commitment(fields.bytes("commitment")?);
            let message = MessageHash::of(fields.text("encrypted_message")?);
            Statement { author, kind, epoch: fields.int("epoch")?, counter, at, commitment, message }.to_bytes()
        }
        "grant" => {
            let check = GrantCheck(fields.bytes("check")?);
            Grant { author, epoch: fields.int("epoch")?, counter, at, check }.to_bytes()
        }
        _ => {
            let verb = fields.text("verb")?.parse().ok()?;
            let (target, argument) = (fields.text("target")?, fields.text("argument")?);
            Act { author, counter, at, verb, target, argument }.to_bytes()
        }
    };
    Some(signed(&fields.key()?, &bytes))
}

fn compute_direct(fields: Fields<'_>) -> Option<Value> {
    let readers = fields.list("readers")?;
    let readers: Option<Vec<_>> =
        readers.map(|reader| Some((BundleHash(reader.bytes("bundle")?), RunId(reader.bytes("run")?)))).collect();
    let readers = readers_hash(readers?);
    let direct = Direct {
        realm: Realm(fields.bytes("realm")?),
        account: &UserName::new(fields.text("account")?),
        bundle: BundleHash(fields.bytes("bundle")?),
        run: RunId(fields.bytes("run")?),
        recipient: &UserName::new(fields.text("recipient")?),
        counter: fields.int("counter")?,
        commitment: Commitment(fields.bytes("commitment")?),
        readers,
        message: MessageHash::of(fields.text("encrypted_message")?),
    };
    let mut output = signed(&fields.key()?, &direct.to_bytes());
    output["readers_hash"] = readers.to_base64().into();
    Some(output)
}

fn compute_roster(fields: Fields<'_>) -> Option<Value> {
    let entries = fields.entries("entries")?;
    let (realm, id) = (Realm(fields.bytes("realm")?), RoomId(fields.bytes("room_id")?));
    let leaves: Vec<_> = entries.iter().map(RosterEntry::leaf).collect();
    let roster = roster_hash(&realm, &id, &RoomName::new(fields.text("room")?), leaves.clone());
    let hashes = |joined| entries.iter().map(|e| e.change(joined).to_base64()).collect::<Vec<_>>();
    Some(json!({
        "leaves": leaves.iter().map(|leaf| leaf.to_base64()).collect::<Vec<_>>(),
        "joined": hashes(true),
        "removed": hashes(false),
        "roster": roster.to_base64(),
    }))
}

/// The log's hash after each event, and the bytes of each event.
fn compute_log(fields: Fields<'_>) -> Option<Value> {
    let (realm, id) = (Realm(fields.bytes("realm")?), RoomId(fields.bytes("room_id")?));
    let room = RoomName::new(fields.text("room")?);
    let start = log_start(&realm, &id, &room, &LogNonce(fields.bytes("nonce")?));
    let mut at = Position { n: 0, log: start };
    let (mut events, mut log) = (Vec::new(), vec![start.to_base64()]);
    for fields in fields.list("events")? {
        with_event(fields, |event| {
            at = at.after(event);
            events.push(base64(event.to_bytes()));
            log.push(at.log.to_base64());
        })?;
    }
    Some(json!({ "events": events, "log": log }))
}

fn with_event(fields: Fields<'_>, then: impl FnOnce(&Event<'_>)) -> Option<()> {
    let signature = || match fields.text("signature")? {
        "" => Some(None),
        _ => Some(Some(Signature(fields.bytes("signature")?))),
    };
    match fields.text("type")? {
        "members" => {
            let (joined, removed) = (fields.entries("joined")?, fields.entries("removed")?);
            let changes = changes_hash(joined.iter().map(|e| e.change(true)), removed.iter().map(|e| e.change(false)));
            let roster = RosterHash(fields.bytes("roster")?);
            let (joined, removed) = (joined.len() as u64, removed.len() as u64);
            then(&Event::Members { joined, removed, changes, roster });
        }
        "members in numbers" => then(&Event::Members {
            joined: fields.int("joined_count")?,
            removed: fields.int("removed_count")?,
            changes: ChangesHash(fields.bytes("changes")?),
            roster: RosterHash(fields.bytes("roster")?),
        }),
        "message" => then(&Event::Message {
            account: &UserName::new(fields.text("account")?),
            message: MessageHash::of(fields.text("encrypted_message")?),
            signature: signature()?.as_ref(),
        }),
        "act" => then(&Event::Act {
            account: &UserName::new(fields.text("account")?),
            verb: fields.text("verb")?.parse().ok()?,
            target: fields.text("target")?,
            argument: fields.text("argument")?,
            signature: signature()?.as_ref(),
        }),
        _ => return None,
    }
    Some(())
}

/// What a granted chain key gives: its check, and the message keys from the grant's counter on.
fn compute_chain(fields: Fields<'_>) -> Option<Value> {
    let granted = ChainKey::from_raw(&fields.bytes("chain_key")?);
    let steps = fields.int("counter")?.checked_sub(fields.int("grant_counter")?)?;
    let chain = granted.advanced(steps)?;
    Some(json!({
        "check": granted.grant_check().to_base64(),
        "chain_key": base64(chain.expose_raw()),
        "message_key": base64(chain.message_key().expose_raw()),
    }))
}
