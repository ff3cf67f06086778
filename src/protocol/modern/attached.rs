//! What clients that know the modern wire add to the packages of the legacy one, where a server speaks that alone. The
//! scripts ignore what they do not know.

use super::json::{Fields, Object};
use super::record::record;
use super::request::BundleKeys;
use super::stamp::Reader;
use super::value::{MAX_NUMBER, objects};
use crate::names::{RoomName, UserName};
use crate::protocol::Package;
use crate::transcript::{BundleHash, Commitment, Kind, RunId, Signature};

record! {
    /// What the statement of a message says beside who and where. Its epoch and its position are zero.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Signed {
        /// The author's client.
        flat author: Reader,
        /// What kind of message it is.
        must kind: Kind,
        /// From 1 in a run and room.
        positive counter: u64,
        /// The key that opens it.
        must commitment: Commitment,
        /// Over the statement.
        must signature: Signature,
    }
}

record! {
    /// The keys of an account on a device.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct OwnedBundle {
        /// The account.
        must user: UserName,
        /// Its keys.
        flat keys: BundleKeys,
    }
}

objects!(Signed, OwnedBundle);

const SIGNED: &str = "signed";
const BUNDLE: &str = "bundle";

/// What a package has beside what the scripts know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attached {
    /// Nothing that is understood.
    Nothing,
    /// Its author's signature.
    Signed(Signed),
    /// Its sender's keys. Such a package carries no message.
    Bundle(OwnedBundle),
}

impl Attached {
    /// Reads it from a package's text. What is malformed counts as absent: it proves nothing.
    pub fn read(text: &str, package: &Package) -> Self {
        let Some(mut fields) = Fields::parse(text.as_bytes()) else { return Self::Nothing };
        let is_empty = package.encrypted_message.is_empty() && package.encrypted_keys.is_empty();
        let read = match is_empty {
            true => fields.optional(BUNDLE).map(|bundle| bundle.map(Self::Bundle)),
            false => fields.optional(SIGNED).map(|signed| signed.map(Self::Signed)),
        };
        read.ok().flatten().unwrap_or(Self::Nothing)
    }
}

impl Signed {
    /// A package's JSON with this signature in it.
    pub fn package(&self, package: &Package) -> Vec<u8> {
        let mut json = package.to_json();
        attach(&mut json, |object| object.field(SIGNED, self));
        json
    }

    /// Most bytes that a signature adds to a package.
    pub fn max_len() -> usize {
        let mut json = b"{}".to_vec();
        let author = Reader { bundle: BundleHash([0; 32]), run: RunId([0; 16]) };
        let (commitment, signature) = (Commitment([0; 32]), Signature([0; 64]));
        let longest = Self { author, kind: Kind::Text, counter: MAX_NUMBER, commitment, signature };
        attach(&mut json, |object| object.field(SIGNED, &longest));
        json.len() - 2
    }
}

impl OwnedBundle {
    /// The JSON of the package that brings these keys to a room.
    pub fn package(&self, room: &RoomName) -> Vec<u8> {
        let mut json = Package::new(String::new(), Default::default(), room.clone()).to_json();
        attach(&mut json, |object| object.field(BUNDLE, self));
        json
    }
}

/// Adds a field to an object that has some.
fn attach(json: &mut Vec<u8>, put: impl FnOnce(&mut Object<'_>)) {
    json.pop(); // its brace
    let mut object = Object::resume(json);
    put(&mut object);
    object.end();
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample::{Sample, Source};
    use super::*;
    use proptest::prelude::*;

    fn read(json: &[u8]) -> (Package, Attached) {
        let text = std::str::from_utf8(json).unwrap();
        let package = Package::from_json(text).unwrap();
        let attached = Attached::read(text, &package);
        (package, attached)
    }

    fn package(token: &str) -> Package {
        let keys = [("bob".to_owned(), "Qg==".to_owned())].into();
        Package::new(token.into(), keys, RoomName::new("r"))
    }

    proptest! {
        #[test]
        fn a_package_stays_what_it_is_and_brings_what_is_added(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let signed = Signed::sample(&mut Source(&bytes));
            prop_assert_eq!(read(&signed.package(&package("token"))), (package("token"), Attached::Signed(signed)));
            let bundle = OwnedBundle::sample(&mut Source(&bytes));
            let (empty, attached) = read(&bundle.package(&RoomName::new("r")));
            prop_assert_eq!(empty, Package::new(String::new(), Default::default(), RoomName::new("r")));
            prop_assert_eq!(attached, Attached::Bundle(bundle));
        }

        #[test]
        fn reading_is_total(field in "\\PC{0,200}") {
            let text = format!(r#"{{"encrypted_message":"t","encrypted_keys":{{}},"room":"r","signed":{field}}}"#);
            if let Ok(package) = Package::from_json(&text) {
                let _ = Attached::read(&text, &package);
            }
        }
    }

    #[test]
    fn no_signature_takes_more_than_is_left_for_it() {
        let len = |signed: Signed| signed.package(&package("token")).len() - package("token").to_json().len();
        let short = Signed { counter: 1, ..Signed::sample(&mut Source(&[7; 300])) };
        assert!(len(short) < Signed::max_len());
        assert_eq!(len(Signed { counter: MAX_NUMBER, ..short }), Signed::max_len());
    }

    #[test]
    fn what_is_malformed_or_elsewhere_is_as_good_as_nothing() {
        let good = String::from_utf8(Signed::sample(&mut Source(&[7; 300])).package(&package("token"))).unwrap();
        assert!(matches!(read(good.as_bytes()).1, Attached::Signed(_)));
        for (good_part, bad) in [
            (r#""kind":"text""#, r#""kind":"act""#),
            (r#""kind":"text""#, r#""kind":"text","kind":"text""#),
            (r#""counter":"#, r#""counter":-"#),
            (r#""counter":"#, r#""counter":0,"x":"#),
            (r#""run":""#, r#""run":"A"#),
            (r#""signed":{"#, r#""signed":[{"#),
            (r#""signed":{"#, r#""sgned":{"#),
            (r#""signed":{"#, r#""signed":null,"x":{"#),
            (r#""room":"r""#, r#""room":"r","x":{"y":1,"y":2}"#),
        ] {
            let bad = good.replacen(good_part, bad, 1);
            if let Ok(package) = Package::from_json(&bad) {
                assert_eq!(Attached::read(&bad, &package), Attached::Nothing, "{bad}");
            }
        }
        let bundle = OwnedBundle::sample(&mut Source(&[7; 300])).package(&RoomName::new("r"));
        let with_message =
            String::from_utf8(bundle).unwrap().replacen(r#""encrypted_message":"""#, r#""encrypted_message":"t""#, 1);
        assert_eq!(read(with_message.as_bytes()).1, Attached::Nothing);
    }
}
