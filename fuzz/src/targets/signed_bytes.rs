//! What is signed and hashed: an encoding that can be undone gives no two statements the same bytes.

use secure_chat::names::{RoomName, UserName};
use secure_chat::transcript::{
    Act, Author, BundleHash, ChangesHash, Commitment, Direct, Ed25519Key, Event, Grant, GrantCheck, Kind, LogHash,
    MessageHash, Position, ReadersHash, Realm, RosterHash, RunId, Signature, Statement, Verb, bundle, enc, hello,
};

use super::bytes::Bytes;

/// Two statements, or events of a log, one after the other.
pub fn run(data: &[u8]) {
    let bytes = &mut Bytes(data);
    let (one, other) = (Signed::draw(bytes), Signed::draw(bytes));
    for signed in [&one, &other] {
        assert_eq!(split(&signed.bytes).as_ref(), Some(&signed.fields), "docs/PROTOCOL.md has another table");
    }
    assert_eq!(one.bytes == other.bytes, one.fields == other.fields);
    // Whatever the bytes are, what can be undone is what was done.
    if let Some(fields) = split(data) {
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        assert_eq!(enc(&fields), data);
    }
}

/// What is signed, and the fields that the specification lists for it.
struct Signed {
    bytes: Vec<u8>,
    fields: Vec<Vec<u8>>,
}

/// Undoes [`enc`]: each field is a length of four bytes, big-endian, and as many bytes.
fn split(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        fields.push(field.to_vec());
        bytes = rest;
    }
    Some(fields)
}

/// The author's fields, in their order.
struct Drawn {
    realm: Realm,
    room: RoomName,
    account: UserName,
    bundle: BundleHash,
    run: RunId,
}

impl Drawn {
    fn draw(bytes: &mut Bytes<'_>) -> Self {
        Self {
            realm: Realm(fill(bytes)),
            room: RoomName::new(&bytes.text()),
            account: UserName::new(&bytes.text()),
            bundle: BundleHash(fill(bytes)),
            run: RunId(fill(bytes)),
        }
    }

    fn author(&self) -> Author<'_> {
        let Self { realm, room, account, bundle, run } = self;
        Author { realm: *realm, room, account, bundle: *bundle, run: *run }
    }

    fn fields(&self, label: &str) -> Vec<Vec<u8>> {
        let (room, account) = (self.room.as_str().into(), self.account.as_str().into());
        vec![label.into(), self.realm.0.into(), room, account, self.bundle.0.into(), self.run.0.into()]
    }
}

/// A value of a fixed length out of one byte: what differs matters here, and not how much.
fn fill<const N: usize>(bytes: &mut Bytes<'_>) -> [u8; N] {
    [bytes.byte(); N]
}

fn number(n: u64) -> Vec<u8> {
    n.to_be_bytes().to_vec()
}

fn position(bytes: &mut Bytes<'_>) -> Position {
    Position { n: bytes.long(), log: LogHash(fill(bytes)) }
}

fn verb(bytes: &mut Bytes<'_>) -> Verb {
    Verb::ALL[bytes.below(Verb::ALL.len())]
}

impl Signed {
    fn draw(bytes: &mut Bytes<'_>) -> Self {
        match bytes.below(9) {
            0 => Self::hello(bytes),
            1 => Self::bundle(bytes),
            2 => Self::statement(bytes),
            3 => Self::grant(bytes),
            4 => Self::act(bytes),
            5 => Self::direct(bytes),
            6 => Self::members(bytes),
            7 => Self::message_event(bytes),
            _ => Self::act_event(bytes),
        }
    }

    fn hello(bytes: &mut Bytes<'_>) -> Self {
        let exporter = fill(bytes);
        Self { bytes: hello(&exporter), fields: vec![b"secure-chat/1 hello".into(), exporter.into()] }
    }

    fn bundle(bytes: &mut Bytes<'_>) -> Self {
        let (realm, account) = (Realm(fill(bytes)), UserName::new(&bytes.text()));
        let (key, spki) = (Ed25519Key(fill(bytes)), bytes.piece());
        let label = b"secure-chat/1 bundle".to_vec();
        let fields = vec![label, realm.0.into(), account.as_str().into(), key.0.into(), spki.into()];
        Self { bytes: bundle(&realm, &account, &key, spki), fields }
    }

    fn statement(bytes: &mut Bytes<'_>) -> Self {
        let drawn = Drawn::draw(bytes);
        let (epoch, counter, at) = (bytes.long(), bytes.long(), position(bytes));
        let (commitment, message) = (Commitment(fill(bytes)), MessageHash(fill(bytes)));
        let mut fields = drawn.fields("secure-chat/1 message");
        fields.extend([b"text".to_vec(), number(epoch), number(counter), number(at.n), at.log.0.into()]);
        fields.extend([commitment.0.to_vec(), message.0.into()]);
        let author = drawn.author();
        let statement = Statement { author, kind: Kind::Text, epoch, counter, at, commitment, message };
        Self { bytes: statement.to_bytes(), fields }
    }

    fn grant(bytes: &mut Bytes<'_>) -> Self {
        let drawn = Drawn::draw(bytes);
        let (epoch, counter, at, check) = (bytes.long(), bytes.long(), position(bytes), GrantCheck(fill(bytes)));
        let mut fields = drawn.fields("secure-chat/1 grant");
        fields.extend([number(epoch), number(counter), number(at.n), at.log.0.into(), check.0.into()]);
        let grant = Grant { author: drawn.author(), epoch, counter, at, check };
        Self { bytes: grant.to_bytes(), fields }
    }

    fn act(bytes: &mut Bytes<'_>) -> Self {
        let drawn = Drawn::draw(bytes);
        let (counter, at, verb) = (bytes.long(), position(bytes), verb(bytes));
        let (target, argument) = (bytes.text(), bytes.text());
        let mut fields = drawn.fields("secure-chat/1 act");
        fields.extend([number(counter), number(at.n), at.log.0.into(), verb.as_str().into()]);
        fields.extend([target.clone().into_bytes(), argument.clone().into()]);
        let act = Act { author: drawn.author(), counter, at, verb, target: &target, argument: &argument };
        Self { bytes: act.to_bytes(), fields }
    }

    fn direct(bytes: &mut Bytes<'_>) -> Self {
        let Drawn { realm, account, bundle, run, room } = Drawn::draw(bytes);
        let recipient = UserName::new(room.as_str());
        let (counter, commitment) = (bytes.long(), Commitment(fill(bytes)));
        let (readers, message) = (ReadersHash(fill(bytes)), MessageHash(fill(bytes)));
        let mut fields = vec![b"secure-chat/1 direct".to_vec(), realm.0.into(), account.as_str().into()];
        fields.extend([bundle.0.to_vec(), run.0.into(), recipient.as_str().into(), number(counter)]);
        fields.extend([commitment.0.to_vec(), readers.0.into(), message.0.into()]);
        let (account, recipient) = (&account, &recipient);
        let direct = Direct { realm, account, bundle, run, recipient, counter, commitment, readers, message };
        Self { bytes: direct.to_bytes(), fields }
    }

    fn members(bytes: &mut Bytes<'_>) -> Self {
        let (joined, removed) = (bytes.long(), bytes.long());
        let (changes, roster) = (ChangesHash(fill(bytes)), RosterHash(fill(bytes)));
        let label = b"secure-chat/1 event members".to_vec();
        let fields = vec![label, number(joined), number(removed), changes.0.into(), roster.0.into()];
        Self { bytes: Event::Members { joined, removed, changes, roster }.to_bytes(), fields }
    }

    fn message_event(bytes: &mut Bytes<'_>) -> Self {
        let (account, message) = (UserName::new(&bytes.text()), MessageHash(fill(bytes)));
        let signature = signature(bytes);
        let label = b"secure-chat/1 event message".to_vec();
        let fields = vec![label, account.as_str().into(), message.0.into(), optional(signature.as_ref())];
        let event = Event::Message { account: &account, message, signature: signature.as_ref() };
        Self { bytes: event.to_bytes(), fields }
    }

    fn act_event(bytes: &mut Bytes<'_>) -> Self {
        let (account, verb) = (UserName::new(&bytes.text()), verb(bytes));
        let (target, argument, signature) = (bytes.text(), bytes.text(), signature(bytes));
        let mut fields = vec![b"secure-chat/1 event act".to_vec(), account.as_str().into(), verb.as_str().into()];
        fields.extend([target.clone().into_bytes(), argument.clone().into(), optional(signature.as_ref())]);
        let (target, argument, signature) = (&*target, &*argument, signature.as_ref());
        let event = Event::Act { account: &account, verb, target, argument, signature };
        Self { bytes: event.to_bytes(), fields }
    }
}

fn signature(bytes: &mut Bytes<'_>) -> Option<Signature> {
    (bytes.byte() & 1 == 1).then(|| Signature(fill(bytes)))
}

fn optional(signature: Option<&Signature>) -> Vec<u8> {
    signature.map_or(Vec::new(), |signature| signature.0.into())
}
