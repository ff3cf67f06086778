//! From a text to the chat packages that carry it: each at most [`MAX_OUTBOUND`] bytes, because a Python server, or a
//! Python reader, takes what one read of that size returns for one whole message.
//!
//! Many readers are spread over several packages with one token and one signature; a reader without an entry in a package
//! drops it in silence, so everyone sees the message once. A text that is too long even for one reader goes as several messages.

use std::ops::Range;

use indexmap::IndexMap;

use crate::client::signed::Signer;
use crate::crypto::{KeyError, PublicKey, envelope};
use crate::names::{RoomName, UserName};
use crate::protocol::legacy::MAX_OUTBOUND;
use crate::protocol::modern::Signed;
use crate::protocol::{Package, entry_len};

/// Least bytes of text that a message must be able to carry. A reader whose name leaves less is not reached at all:
/// it would cut everyone's messages to shreds.
pub const MIN_TEXT: usize = 256;

/// A public key that messages are sealed for, and the length of the entry that it makes.
#[derive(Debug, Clone)]
pub struct Reader {
    /// The key.
    pub key: PublicKey,
    /// Characters of base64 in an entry: 344 for 2048 bits, 684 for 4096.
    wrapped: usize,
}

impl Reader {
    /// Measures the key, which does not tell its size.
    ///
    /// # Errors
    /// [`KeyError::Library`] when the library cannot wrap with it, which no checked key makes it do.
    pub fn new(key: PublicKey) -> Result<Self, KeyError> {
        let wrapped = envelope::entry_len(key.wrap(b"")?.len() * 8);
        Ok(Self { key, wrapped })
    }

    /// Bytes of the entry under `name`, the comma included.
    fn entry(&self, name: &UserName) -> usize {
        entry_len(name, "") + self.wrapped // base64 has nothing that JSON escapes
    }
}

/// A reader and the name that it goes by.
pub type Named<'a> = (&'a UserName, &'a Reader);

/// Who writes what, where and when.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// The room.
    pub room: &'a RoomName,
    /// The name in front of the text.
    pub author: &'a UserName,
    /// The author's own key: an own second session reads along when it fits.
    pub own: &'a Reader,
    /// The text.
    pub text: &'a str,
    /// Seconds since 1970, which the tokens bear.
    pub unix: u64,
}

/// What became of a draft.
#[derive(Debug, Default)]
pub struct Packed {
    /// The packages, as JSON, in order.
    pub packages: Vec<Vec<u8>>,
    /// Readers whose entry leaves no room for a text.
    pub unreached: Vec<UserName>,
}

/// Seals a draft for `others` and, where it costs no package of its own, for the author; signs it if the author is logged in.
///
/// # Errors
/// [`KeyError::Library`], as [`Reader::new`].
pub fn pack(draft: &Draft<'_>, others: &[Named<'_>], signer: &mut Signer) -> Result<Packed, KeyError> {
    let frame = Frame::of(draft.room, draft.author, signer);
    let (reached, unreached): (Vec<_>, Vec<_>) =
        others.iter().copied().partition(|(name, reader)| frame.text_beside(reader.entry(name)) >= MIN_TEXT);
    let mut packed =
        Packed { packages: Vec::new(), unreached: unreached.iter().map(|(name, _)| (*name).clone()).collect() };
    let own = (draft.author, draft.own);
    let alone = reached.is_empty();
    let longest = if alone { own.1.entry(own.0) } else { longest_entry(&reached) };
    let most = frame.text_beside(longest);
    if most < MIN_TEXT || (alone && !others.is_empty()) {
        return Ok(packed); // nobody is reached
    }
    for part in split(draft.text, most) {
        let sealed = envelope::seal(&format!("{}: {part}", draft.author.as_str()), draft.unix);
        let signed = signer.sign(draft.room, &sealed);
        let space = frame.space_beside(sealed.token.len());
        for readers in share_out(&reached, own, space) {
            let mut entries = IndexMap::with_capacity(readers.len());
            for (name, reader) in readers {
                entries.insert(name.as_str().to_owned(), sealed.wrap_for(&reader.key)?);
            }
            let package = Package::new(sealed.token.clone(), entries, draft.room.clone());
            packed.packages.push(signed.map_or_else(|| package.to_json(), |signed| signed.package(&package)));
        }
    }
    Ok(packed)
}

fn longest_entry(readers: &[Named<'_>]) -> usize {
    readers.iter().map(|(name, reader)| reader.entry(name)).max().unwrap_or(0)
}

/// The readers of each package; the author joins the last if it fits there.
fn share_out<'a>(reached: &[Named<'a>], own: Named<'a>, space: usize) -> Vec<Vec<Named<'a>>> {
    let sizes: Vec<usize> = reached.iter().map(|(name, reader)| reader.entry(name)).collect();
    let mut groups: Vec<Vec<Named<'a>>> =
        spread(&sizes, space).into_iter().map(|range| reached.get(range).unwrap_or_default().to_vec()).collect();
    match groups.last_mut() {
        None => groups.push(vec![own]),
        Some(last) if longest_sum(last) + own.1.entry(own.0) <= space => last.push(own),
        Some(_) => {}
    }
    groups
}

fn longest_sum(readers: &[Named<'_>]) -> usize {
    readers.iter().map(|(name, reader)| reader.entry(name)).sum()
}

/// Groups neighbours so that no group's sizes add up to more than `space`; a size over `space` stands alone.
fn spread(sizes: &[usize], space: usize) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let (mut start, mut filled) = (0, 0);
    for (i, size) in sizes.iter().enumerate() {
        if i > start && filled + size > space {
            groups.push(start..i);
            (start, filled) = (i, 0);
        }
        filled += size;
    }
    if start < sizes.len() {
        groups.push(start..sizes.len());
    }
    groups
}

/// What a package costs besides its token and its entries, and a text besides itself.
struct Frame {
    json: usize,
    author: usize,
}

impl Frame {
    fn of(room: &RoomName, author: &UserName, signer: &Signer) -> Self {
        let empty = Package::new(String::new(), IndexMap::new(), room.clone());
        let signature = if signer.bundle().is_some() { Signed::max_len() } else { 0 };
        Self { json: empty.to_json().len() + signature, author: author.as_str().len() + ": ".len() }
    }

    /// Bytes for entries, each counted with a comma, of which the first needs none.
    fn space_beside(&self, token: usize) -> usize {
        (MAX_OUTBOUND + 1).saturating_sub(self.json + token)
    }

    /// Bytes of text that fit beside one entry.
    fn text_beside(&self, entry: usize) -> usize {
        longest_plain(self.space_beside(entry)).saturating_sub(self.author)
    }
}

/// Most bytes of plaintext whose token has at most `token` characters: the inverse of [`envelope::token_len`].
fn longest_plain(token: usize) -> usize {
    let binary = token / 4 * 3;
    let blocks = binary.saturating_sub(25 + 32) / 16;
    (blocks * 16).saturating_sub(1) // the padding takes a byte at least
}

/// Cuts a text into parts of at most `most` bytes: between words, where the one white space between two parts is dropped;
/// inside a word only when it is longer than a part; never inside a character.
///
/// `most` must be at least 4, the longest character.
pub fn split(text: &str, most: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > most {
        let (part, after) = cut(rest, most);
        if part.is_empty() {
            break; // `most` is shorter than a character
        }
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn cut(text: &str, most: usize) -> (&str, &str) {
    let hard = text.floor_char_boundary(most);
    // White space right behind the longest part ends a word, too.
    let next = text.ceil_char_boundary(hard + 1);
    let within = text.get(..next).unwrap_or(text);
    let space = within.char_indices().rev().find(|(at, c)| *at > 0 && c.is_whitespace());
    let (end, resume) = match space {
        Some((at, c)) => (at, at + c.len_utf8()),
        None => (hard, hard),
    };
    (text.get(..end).unwrap_or_default(), text.get(resume..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::signed::is_signed;
    use crate::crypto::{PrivateKey, SigningKey};
    use crate::protocol::legacy::{FromServer, decode_server};
    use crate::transcript::{Realm, RunId};
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::sync::LazyLock;

    static KEY: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());

    fn reader() -> Reader {
        Reader::new(KEY.public().clone()).unwrap()
    }

    /// Somebody who is not logged in, and so signs nothing.
    fn nobody() -> Signer {
        Signer::new(Realm([1; 32]), SigningKey::generate(), RunId([2; 16]))
    }

    fn signing(account: &UserName) -> Signer {
        let mut signer = nobody();
        signer.set_account(account, &KEY).unwrap();
        signer
    }

    fn draft<'a>(text: &'a str, room: &'a RoomName, author: &'a UserName, own: &'a Reader) -> Draft<'a> {
        Draft { room, author, own, text, unix: 1_700_000_000 }
    }

    #[test]
    fn a_2048_bit_key_makes_an_entry_of_344_characters() {
        assert_eq!(reader().wrapped, 344);
    }

    #[test]
    fn the_longest_plaintext_is_the_longest() {
        for token in 100..5000 {
            let plain = longest_plain(token);
            assert!(envelope::token_len(plain) <= token, "{token}");
            assert!(envelope::token_len(plain + 1) > token, "{token}");
        }
    }

    #[test]
    fn alone_in_a_room_one_writes_to_oneself() {
        let (room, author, own) = (RoomName::new("r"), UserName::new("bob"), reader());
        let packed = pack(&draft("hi", &room, &author, &own), &[], &mut nobody()).unwrap();
        let [package] = &packed.packages[..] else { panic!() };
        let package = Package::from_json(std::str::from_utf8(package).unwrap()).unwrap();
        let opened = envelope::open(&package.encrypted_message, &package.encrypted_keys["bob"], &KEY).unwrap();
        assert_eq!(opened.as_str(), "bob: hi");
    }

    #[test]
    fn a_name_that_leaves_no_room_for_text_is_not_reached_and_harms_nobody() {
        let (room, author, own) = (RoomName::new("r"), UserName::new("bob"), reader());
        let (long, eve) = (UserName::new(&"x".repeat(3500)), UserName::new("eve"));
        let packed = pack(&draft("hi", &room, &author, &own), &[(&long, &own), (&eve, &own)], &mut nobody()).unwrap();
        assert_eq!(packed.unreached, std::slice::from_ref(&long));
        assert_eq!(packed.packages.len(), 1);
        let packed = pack(&draft("hi", &room, &author, &own), &[(&long, &own)], &mut nobody()).unwrap();
        assert!(packed.packages.is_empty());
    }

    #[test]
    fn texts_are_split_between_words() {
        assert_eq!(split("one two three", 7), ["one two", "three"]);
        assert_eq!(split("one two three", 8), ["one two", "three"]);
        assert_eq!(split("one two three", 5), ["one", "two", "three"]);
        assert_eq!(split("extraordinary word", 5), ["extra", "ordin", "ary", "word"]);
        assert_eq!(split("ééé", 5), ["éé", "é"]);
        assert_eq!(split("short", 100), ["short"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_package_fits_and_every_reader_is_covered_once_a_message(
            names in prop::collection::btree_set("[a-z\"é]{1,24}", 0..40),
            text in "[a-zé ]{1,400}", times in 1usize..20, room in "[a-z\\\\\"]{1,30}", signs in any::<bool>(),
        ) {
            let (room, author, own) = (RoomName::new(&room), UserName::new("the.author"), reader());
            let text = text.repeat(times);
            let names: Vec<_> = names.iter().map(|name| UserName::new(name)).collect();
            let others: Vec<_> = names.iter().map(|name| (name, &own)).collect();
            let mut signer = if signs { signing(&author) } else { nobody() };
            let packed = pack(&draft(&text, &room, &author, &own), &others, &mut signer).unwrap();
            prop_assert!(packed.unreached.is_empty());
            let mut counters: IndexMap<String, u64> = IndexMap::new();
            let mut messages: IndexMap<String, Vec<String>> = IndexMap::new();
            let mut heard = Vec::new();
            for bytes in &packed.packages {
                prop_assert!(bytes.len() <= MAX_OUTBOUND);
                let package = Package::from_json(std::str::from_utf8(bytes).unwrap()).unwrap();
                prop_assert_eq!(matches!(decode_server(bytes), FromServer::Signed(..)), signs);
                if let FromServer::Signed(_, signed) = decode_server(bytes) {
                    let key = signer.bundle().unwrap().signing_key();
                    prop_assert!(is_signed(signer.realm(), &room, &author, key, &signed, &package.encrypted_message));
                    let counter = *counters.entry(package.encrypted_message.clone()).or_insert(signed.counter);
                    prop_assert_eq!(counter, signed.counter, "one message has one signature");
                }
                let (_, entry) = package.encrypted_keys.first().unwrap();
                if !messages.contains_key(&package.encrypted_message) {
                    heard.push(envelope::open(&package.encrypted_message, entry, &KEY).unwrap().to_string());
                }
                messages.entry(package.encrypted_message).or_default().extend(package.encrypted_keys.into_keys());
            }
            let in_order = (1..=counters.len() as u64).collect::<Vec<_>>();
            prop_assert_eq!(counters.into_values().collect::<Vec<_>>(), in_order);
            for readers in messages.values() {
                let once: BTreeSet<_> = readers.iter().filter(|n| *n != "the.author").map(|n| UserName::new(n)).collect();
                prop_assert_eq!(once.len(), names.len());
                prop_assert!(readers.len() <= names.len() + 1);
            }
            let rejoined: String = heard.iter().map(|m| m.strip_prefix("the.author: ").unwrap()).collect();
            let letters = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(letters(&rejoined), letters(&text));
        }

        #[test]
        fn parts_rejoin(text in "\\PC{0,300}", most in 4usize..50) {
            let parts = split(&text, most);
            prop_assert!(parts.iter().all(|part| part.len() <= most));
            let letters = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(letters(&parts.concat()), letters(&text));
        }
    }
}
