//! From a text to what is sent of it: how long it may be, and what is signed.

use zeroize::Zeroizing;

use super::signed::author_of;
use crate::client::packages::MIN_TEXT;
use crate::crypto::{FernetKey, SigningKey, envelope};
use crate::names::{RoomName, UserName};
use crate::protocol::legacy::MAX_OUTBOUND;
use crate::protocol::modern::{EncryptedKeys, MAX_ENCRYPTED_MESSAGE, Reader, SendRequest, Stamp, Wrap, split_keys};
use crate::protocol::{Package, entry_len};
use crate::transcript::{Kind, MessageHash, Position, Realm, Statement};

/// A padded text is as long as a multiple of this.
const PADDING: usize = 128;

/// The plaintext: the author's name and the text.
pub(super) fn named(author: &UserName, text: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{}: {text}", author.as_str()))
}

/// Most bytes of plaintext whose token has at most `token` characters: the inverse of [`envelope::token_len`].
fn longest_plain(token: usize) -> usize {
    let blocks = (token / 4 * 3).saturating_sub(25 + 32) / 16;
    (blocks * 16).saturating_sub(1) // Fernet's own padding takes a byte at least
}

/// Most bytes of text in a message that no legacy member gets.
pub(super) fn longest_padded(author: &UserName) -> usize {
    let plain = longest_plain(MAX_ENCRYPTED_MESSAGE) / PADDING * PADDING;
    plain.saturating_sub(named(author, "").len()).max(4)
}

/// Most bytes of text beside the entry of a legacy member, whose package must fit one read of the Python client. `None` when
/// the names leave no room for a text.
pub(super) fn longest_beside(room: &RoomName, author: &UserName, reader: &UserName, wrap: &Wrap) -> Option<usize> {
    let frame = Package::new(String::new(), Default::default(), room.clone()).to_json().len();
    let token = MAX_OUTBOUND.checked_sub(frame + entry_len(reader, wrap.as_str()))?;
    let text = longest_plain(token).checked_sub(named(author, "").len())?;
    (text >= MIN_TEXT).then_some(text)
}

/// Who says something, and where in the order of things.
pub(super) struct Place<'a> {
    pub(super) realm: Realm,
    pub(super) room: &'a RoomName,
    pub(super) account: &'a UserName,
    pub(super) reader: Reader,
    pub(super) epoch: u64,
    pub(super) counter: u64,
    pub(super) at: Position,
}

/// A message that is sealed and signed.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    pub(super) request: SendRequest,
    /// The keys of legacy members that do not fit its line: they go ahead of it.
    pub(super) attach: Vec<EncryptedKeys>,
}

impl Sealed {
    /// Seals a text under the key of its counter, and signs it. With no legacy member among the readers it is padded.
    pub(super) fn new(
        place: &Place<'_>,
        text: &str,
        key: &FernetKey,
        legacy: EncryptedKeys,
        signing_key: &SigningKey,
        unix: u64,
    ) -> Self {
        let plain = named(place.account, text);
        let plain = if legacy.is_empty() { envelope::pad(&plain) } else { plain };
        let token = key.seal(plain.as_bytes(), unix);
        let (commitment, message, kind) = (key.commitment(), MessageHash::of(&token), Kind::Text);
        let Place { realm, room, account, reader, epoch, counter, at } = *place;
        let author = author_of(realm, room, account, reader);
        let statement = Statement { author, kind, epoch, counter, at, commitment, message };
        let signature = signing_key.sign(&statement.to_bytes());
        let mut attach = split_keys(legacy);
        let request = SendRequest {
            room: room.clone(),
            encrypted_message: token,
            encrypted_keys: attach.pop(),
            stamp: Stamp { kind, epoch, counter, at, commitment, signature },
            resend: false,
        };
        Self { request, attach }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::{BundleHash, LogHash, RunId};

    fn name(name: &str) -> UserName {
        UserName::new(name)
    }

    fn sealed(text: &str, legacy: EncryptedKeys) -> Sealed {
        let place = Place {
            realm: Realm([1; 32]),
            room: &RoomName::new("r"),
            account: &name("bob"),
            reader: Reader { bundle: BundleHash([2; 32]), run: RunId([3; 16]) },
            epoch: 4,
            counter: 5,
            at: Position { n: 6, log: LogHash([7; 32]) },
        };
        Sealed::new(&place, text, &key(), legacy, &SigningKey::from_seed(&[9; 32]), 1_700_000_000)
    }

    fn key() -> FernetKey {
        FernetKey::from_raw(&[8; 32])
    }

    fn wrap() -> Wrap {
        Wrap::new("A".repeat(344)).unwrap()
    }

    #[test]
    fn a_text_without_legacy_readers_is_padded_and_the_longest_fits() {
        let plain = key().open(&sealed("hi", EncryptedKeys::new()).request.encrypted_message).unwrap();
        assert_eq!((plain.len(), &plain[..7]), (128, &b"bob: hi"[..]));
        for author in ["b", "bob", &"x".repeat(200)] {
            let most = longest_padded(&name(author));
            let plain = envelope::pad(&named(&name(author), &"x".repeat(most)));
            assert!(envelope::token_len(plain.len()) <= MAX_ENCRYPTED_MESSAGE);
            let more = envelope::pad(&named(&name(author), &"x".repeat(most + 1)));
            assert!(envelope::token_len(more.len()) > MAX_ENCRYPTED_MESSAGE);
        }
    }

    #[test]
    fn a_package_for_a_legacy_reader_fits_one_read_of_the_python_client() {
        let (room, bob, eve) = (RoomName::new("the room"), name("bob"), name("eve"));
        let most = longest_beside(&room, &bob, &eve, &wrap()).unwrap();
        let package = |len: usize| {
            let token = key().seal(named(&bob, &"x".repeat(len)).as_bytes(), 0);
            let keys = [("eve".to_owned(), wrap().into_string())].into();
            Package::new(token, keys, room.clone()).to_json().len()
        };
        assert!((MAX_OUTBOUND - 24..=MAX_OUTBOUND).contains(&package(most)));
        assert!(package(most + 16) > MAX_OUTBOUND);
        assert_eq!(longest_beside(&room, &bob, &name(&"e".repeat(3600)), &wrap()), None);
    }

    #[test]
    fn keys_of_many_legacy_members_go_ahead() {
        let keys: EncryptedKeys = (0..300).map(|i| (name(&format!("user{i}")), wrap())).collect();
        let sealed = sealed("hi", keys);
        let plain = key().open(&sealed.request.encrypted_message).unwrap();
        assert_eq!(&**plain, b"bob: hi", "not padded");
        let ahead: usize = sealed.attach.iter().map(|keys| keys.len()).sum();
        assert_eq!(ahead + sealed.request.encrypted_keys.unwrap().len(), 300);
        assert!(!sealed.attach.is_empty());
    }
}
