//! Every decision in every case.

use super::*;
use crate::crypto::SigningKey;

fn print(of: &str) -> Fingerprint {
    Fingerprint::of(of.as_bytes())
}

fn realm(of: u8) -> Realm {
    SigningKey::from_seed(&[of; 32]).verifying_key().realm()
}

fn server(by: Vouched, key: &str, of: Option<u8>) -> Server {
    Server { by, key: print(key), realm: of.map(realm) }
}

fn verdict(known: Option<Server>, accepted: Option<&str>, shown: &str, vouched: bool) -> Verdict {
    judge(&Case {
        address: "chat:1",
        known,
        accepted: accepted.map(print),
        shown: print(shown),
        authority: &if vouched { Ok(()) } else { Err("UnknownIssuer".into()) },
    })
}

fn trusted(verdict: Verdict) -> Server {
    match verdict {
        Verdict::Trusted(met) => met.server,
        other => panic!("{other:?}"),
    }
}

fn refused(verdict: Verdict) -> String {
    match verdict {
        Verdict::Untrusted(why) => why,
        other => panic!("{other:?}"),
    }
}

use Dialect::{Legacy, Modern};
use Vouched::{Authority, Pinned};

#[test]
fn a_new_server_is_verified_or_pinned() {
    assert_eq!(trusted(verdict(None, None, "a", true)), server(Authority, "a", None));
    assert_eq!(trusted(verdict(None, None, "a", false)), server(Pinned, "a", None));
}

#[test]
fn a_known_key_is_good_whoever_vouches() {
    for by in [Pinned, Authority] {
        for vouched in [true, false] {
            for of in [None, Some(1)] {
                let known = server(by, "a", of);
                assert_eq!(trusted(verdict(Some(known), None, "a", vouched)), known, "and nothing is new");
            }
        }
    }
}

#[test]
fn another_key_needs_the_authority_that_vouched_before_or_the_persons_word() {
    let pinned = Some(server(Pinned, "a", None));
    for vouched in [true, false] {
        let why = refused(verdict(pinned, None, "b", vouched));
        for part in [print("a").to_string(), format!("--accept-server-key {}", print("b"))] {
            assert!(why.contains(&part), "{why}");
        }
    }
    let verified = Some(server(Authority, "a", None));
    refused(verdict(verified, None, "b", false));
    assert_eq!(trusted(verdict(verified, None, "b", true)), server(Authority, "b", None));
    assert_eq!(trusted(verdict(pinned, Some("b"), "b", false)), server(Pinned, "b", None));
    let of_realm = Some(server(Authority, "a", Some(1)));
    assert_eq!(trusted(verdict(of_realm, None, "b", true)), server(Authority, "b", Some(1)), "it keeps its realm");
    assert_eq!(trusted(verdict(of_realm, Some("b"), "b", false)), server(Pinned, "b", Some(1)));
}

#[test]
fn another_key_of_a_known_realm_is_up_to_the_realm() {
    for (by, vouched) in [(Pinned, true), (Pinned, false), (Authority, false)] {
        match verdict(Some(server(by, "a", Some(1))), None, "b", vouched) {
            Verdict::UpToTheRealm { met, refusal } => {
                assert_eq!(met.server, server(Pinned, "b", Some(1)));
                assert!(refusal.contains("HAS CHANGED"), "{refusal}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_persons_word_is_for_one_key_alone() {
    for known in [None, Some(server(Pinned, "a", None)), Some(server(Authority, "a", Some(1)))] {
        refused(verdict(known, Some("b"), "a", true));
    }
    let known = server(Authority, "a", Some(1));
    assert_eq!(trusted(verdict(Some(known), Some("a"), "a", false)), known);
}

/// What the wire is decided to be, for each certificate, choice and option.
#[test]
fn less_than_a_server_is_known_to_speak_needs_the_persons_word_and_a_certificate_that_is_trusted_by_itself() {
    const DOWNGRADE: &str = "--allow-legacy";
    const CERTIFICATE: &str = "--accept-server-key";
    const REALM: &str = "shows no realm";
    let verdicts = || {
        let known = |of| Some(server(Pinned, "a", of));
        [
            ("a new server", verdict(None, None, "a", false)),
            ("a known one of the old wire", verdict(known(None), None, "a", false)),
            ("another key", verdict(known(None), None, "b", false)),
            ("a known realm", verdict(known(Some(1)), None, "a", false)),
            ("another key of a known realm", verdict(known(Some(1)), None, "b", false)),
            ("an accepted key of a known realm", verdict(known(Some(1)), Some("b"), "b", false)),
        ]
    };
    let certificate = Some(CERTIFICATE);
    let downgrade = Some(DOWNGRADE);
    let table = [
        (Modern, None, false, [None, None, certificate, None, None, None]),
        (Modern, None, true, [None, None, certificate, None, None, None]),
        (Modern, Some(1), false, [None, None, certificate, None, None, None]),
        (Legacy, None, false, [None, None, certificate, downgrade, downgrade, downgrade]),
        (Legacy, None, true, [None, None, certificate, None, certificate, None]),
        (Legacy, Some(1), true, [Some(REALM), Some(REALM), certificate, Some(REALM), Some(REALM), Some(REALM)]),
    ];
    for (chosen, accepted, allow_legacy, expected) in table {
        for ((what, verdict), refusal) in verdicts().into_iter().zip(expected) {
            let choice = Choice { address: "chat:1", chosen, accepted: accepted.map(realm), allow_legacy };
            let decided = judge_wire(&choice, verdict);
            match (&decided, refusal) {
                (Ok(_), None) => {}
                (Err(why), Some(part)) => assert!(why.contains(part), "{what}, {choice:?}: {why}"),
                _ => panic!("{what}, {choice:?}: {decided:?}"),
            }
        }
    }
}

/// A hello of realm `shown`, with the key of `signer`, over an exporter.
fn hello(known: Option<u8>, accepted: Option<u8>, shown: u8, signer: u8, exporter: u8) -> Result<Server, String> {
    let signature = SigningKey::from_seed(&[signer; 32]).sign(&transcript::hello(&[exporter; 32]));
    let met = Met { server: server(Pinned, "b", known), why: "It is new.".into() };
    judge_hello(&Hello {
        address: "chat:1",
        met: &met,
        accepted: accepted.map(realm),
        exporter: &[7; 32],
        realm: realm(shown),
        signature: &signature,
    })
    .map(|met| met.server)
}

#[test]
fn a_realm_is_the_known_one_or_the_first_or_the_accepted_one() {
    let of = |of| Ok(server(Pinned, "b", Some(of)));
    for (known, accepted, shown, expected) in [
        (None, None, 1, of(1)),
        (Some(1), None, 1, of(1)),
        (Some(1), None, 2, Err("--accept-realm ed25519:")),
        (None, Some(1), 1, of(1)),
        (None, Some(1), 2, Err("the realm that you accept")),
        (Some(1), Some(1), 1, of(1)),
        (Some(1), Some(2), 2, of(2)),
        (Some(1), Some(2), 1, Err("the realm that you accept")),
        (Some(1), Some(2), 3, Err("the realm that you accept")),
    ] {
        let decided = hello(known, accepted, shown, shown, 7);
        match (&decided, expected) {
            (Ok(server), Ok(expected)) => assert_eq!(*server, expected),
            (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
            _ => panic!("{known:?} {accepted:?} {shown}: {decided:?}"),
        }
        for (signer, exporter) in [(shown + 1, 7), (shown, 8)] {
            let why = hello(known, accepted, shown, signer, exporter).unwrap_err();
            assert!(why.contains("does not prove"), "another's signature, or another connection's: {why}");
        }
    }
}

#[test]
fn a_realm_that_is_no_key_is_nobodys() {
    let met = Met { server: server(Pinned, "a", None), why: String::new() };
    for bytes in [[0; 32], [0xff; 32]] {
        let hello = Hello {
            address: "chat:1",
            met: &met,
            accepted: None,
            exporter: &[7; 32],
            realm: Realm(bytes),
            signature: &Signature([0; 64]),
        };
        assert!(judge_hello(&hello).is_err(), "{bytes:?}");
    }
}
