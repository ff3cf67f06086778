//! Several clients in the room of a server that speaks the old wire alone, and does what it likes with what it passes on.

use super::*;
use crate::client::key_name::KeyName;
use crate::client::known_keys::Trust as Pinned;
use crate::crypto::envelope;
use crate::protocol::modern::Signed;
use crate::transcript::Ed25519Key;

const NAMES: [&str; 3] = ["alice", "bob", "eve"];

/// The clients in the room r, each with what it was sent since it was last looked at.
struct Room {
    clients: Vec<Client>,
    /// What each client sends to the room, and has not been passed on.
    held: Vec<Vec<Vec<u8>>>,
}

impl Room {
    /// So many are there, and know each other.
    fn of(count: usize) -> Self {
        let mut room =
            Self { clients: (0..count).map(|i| Client::of(i, &[])).collect(), held: vec![Vec::new(); count] };
        for i in 0..count {
            room.enters(i);
        }
        room.passes_everything_on();
        room
    }

    fn enters(&mut self, i: usize) {
        for line in [format!("/login {} pw", NAMES[i]), "/join r pw".into()] {
            self.types(i, &line);
        }
        self.hears(i, format!("Login successful. Welcome, {}!", NAMES[i]).as_bytes());
        for other in 0..self.clients.len() {
            self.hears(other, format!("{} joined the chat!", NAMES[i]).as_bytes());
        }
        self.waits(1000);
    }

    /// What the client shows of it; what it sends is held.
    fn does(&mut self, i: usize, input: Input) -> Vec<String> {
        let mut out = Vec::new();
        let client = &mut self.clients[i];
        client.machine.handle(client.now, input, &mut out);
        let mut shown = Vec::new();
        for output in out {
            match output {
                Output::Send(bytes) if !bytes.starts_with(b"CMD::") => self.held[i].push(bytes),
                Output::Send(_) | Output::Remember(_) => {}
                Output::Server(text) if text.as_str().contains("joined") || text.as_str().contains("Login") => {}
                output => shown.push(describe(&output)),
            }
        }
        shown
    }

    fn types(&mut self, i: usize, line: &str) -> Vec<String> {
        self.does(i, Input::Line(line.into()))
    }

    fn hears(&mut self, i: usize, bytes: &[u8]) -> Vec<String> {
        self.does(i, Input::Server(legacy::decode_server(bytes)))
    }

    /// What a client says as packages, which are not passed on.
    fn takes(&mut self, i: usize, text: &str) -> Vec<Vec<u8>> {
        assert_eq!(self.types(i, text), [] as [&str; 0]);
        std::mem::take(&mut self.held[i])
    }

    /// What is one package.
    fn takes_one(&mut self, i: usize, text: &str) -> Vec<u8> {
        let mut packages = self.takes(i, text);
        assert_eq!(packages.len(), 1);
        packages.remove(0)
    }

    /// Passes on all that was sent, in order, as a Python server does; what each client shows.
    fn passes_everything_on(&mut self) -> Vec<Vec<String>> {
        let mut shown = vec![Vec::new(); self.clients.len()];
        for from in 0..self.clients.len() {
            for bytes in std::mem::take(&mut self.held[from]) {
                for to in (0..self.clients.len()).filter(|to| *to != from) {
                    shown[to].extend(self.hears(to, &bytes));
                }
            }
        }
        shown
    }

    /// Time passes for everyone; what each client shows.
    fn waits(&mut self, ms: u64) -> Vec<Vec<String>> {
        let mut shown = vec![Vec::new(); self.clients.len()];
        for (i, shown) in shown.iter_mut().enumerate() {
            let end = self.clients[i].now.elapsed + Duration::from_millis(ms);
            while let Some(at) = self.clients[i].machine.deadline().filter(|at| *at <= end) {
                self.clients[i].now.elapsed = at.max(self.clients[i].now.elapsed);
                shown.extend(self.does(i, Input::Tick));
            }
            self.clients[i].now.elapsed = end;
        }
        shown
    }
}

/// A package with a field changed or taken out.
fn with(package: &[u8], field: &str, value: Option<serde_json::Value>) -> Vec<u8> {
    let mut json: serde_json::Value = serde_json::from_slice(package).unwrap();
    let (mut at, mut name) = (&mut json, field);
    while let Some((outer, inner)) = name.split_once('.') {
        (at, name) = (&mut at[outer], inner);
    }
    let object = at.as_object_mut().unwrap();
    assert!(object.remove(name).is_some(), "{field}");
    object.extend(value.map(|value| (name.to_owned(), value)));
    serde_json::to_vec(&json).unwrap()
}

fn field(package: &[u8], field: &str) -> serde_json::Value {
    let json: serde_json::Value = serde_json::from_slice(package).unwrap();
    field.split('.').fold(json, |at, name| at[name].clone())
}

fn without_signature(package: &[u8]) -> Vec<u8> {
    with(package, "signed", None)
}

const NOTHING: [&str; 0] = [];

#[test]
fn ours_see_each_other_as_pinned() {
    let mut room = Room::of(3);
    for (i, name) in NAMES.iter().enumerate() {
        assert_eq!(room.types(i, "hello"), NOTHING);
        let shown = room.passes_everything_on();
        for (to, shown) in shown.iter().enumerate().filter(|(to, _)| *to != i) {
            assert_eq!(shown, &[format!("{name} (pinned): hello")], "to {to}");
        }
    }
}

#[test]
fn a_name_that_signs_says_nothing_without_its_signature_and_the_person_is_told_once_a_message() {
    let mut room = Room::of(2);
    let package = without_signature(&room.takes_one(BOB, "send money"));
    let refused = "! WARNING: a message came in the name of bob without a signature, and bob signs. It is not shown: it may \
                   be anybody's.";
    assert_eq!(room.hears(OWN, &package), [refused]);
    assert_eq!(room.hears(OWN, &package), NOTHING);
    // By whoever else has the reader's key.
    let mut alice = Client::of(OWN, &[Learned::SignerSeen(UserName::new("bob"), signing(BOB))]);
    alice.types("/login alice pw");
    alice.hears("Login successful. Welcome, alice!");
    let forged = alice.hears_chat("bob: send money", "alice", private(OWN).public());
    assert_eq!(forged, [refused], "from before the start");
    let in_another_form = alice.hears_chat("bob:send money", "alice", private(OWN).public());
    assert_eq!(in_another_form, ["?: bob:send money"]);
}

#[test]
fn a_signature_that_does_not_hold_shows_nothing() {
    let mut room = Room::of(3);
    let (one, two) = (room.takes_one(BOB, "one"), room.takes_one(BOB, "two"));
    let eves = room.takes_one(EVE, "three");
    let refused = |user| {
        format!(
            "! WARNING: a message came in the name of {user}, and its signature does not hold. Either the server or whoever \
             sent it did that. It is not shown."
        )
    };
    for (changed, user) in [
        (with(&one, "signed", Some(field(&two, "signed"))), "bob"),
        (with(&two, "signed", Some(field(&eves, "signed"))), "eve"),
        (with(&room.takes_one(BOB, "x"), "encrypted_message", Some(field(&one, "encrypted_message"))), "bob"),
    ] {
        room.clients[OWN].machine.heard = Heard::default();
        assert_eq!(room.hears(OWN, &changed), [refused(user)]);
    }
    for (name, value) in [
        ("counter", 7.into()),
        ("commitment", field(&two, "signed.commitment")),
        ("run", field(&eves, "signed.run")),
        ("signature", field(&two, "signed.signature")),
    ] {
        room.clients[OWN].machine.heard = Heard::default();
        let changed = with(&one, &format!("signed.{name}"), Some(value));
        assert_eq!(room.hears(OWN, &changed), [refused("bob")], "{name}");
    }
    assert_eq!(room.hears(OWN, &one), ["bob (pinned): one"], "the control");
}

#[test]
fn repeated_reordered_and_dropped_messages_are_said_by_name_and_count() {
    let mut room = Room::of(2);
    let said: Vec<_> = (1..=6).map(|i| room.takes_one(BOB, &format!("{i}"))).collect();
    let repeated = "! WARNING: a message of bob was repeated, or came too late. It is not shown again.";
    assert_eq!(room.hears(OWN, &said[0]), ["bob (pinned): 1"]);
    assert_eq!(room.hears(OWN, &said[0]), [repeated]);
    assert_eq!(room.hears(OWN, &said[0]), NOTHING, "once a message");
    let missing = "! WARNING: 1 message or act of bob is missing.";
    assert_eq!(room.hears(OWN, &said[2]), [missing, "bob (pinned): 3"]);
    assert_eq!(room.hears(OWN, &said[1]), [repeated], "the next before the one before");
    let missing = "! WARNING: 2 messages or acts of bob are missing.";
    assert_eq!(room.hears(OWN, &said[5]), [missing, "bob (pinned): 6"]);
}

#[test]
fn the_parts_of_a_message_for_many_readers_are_one_message() {
    let mut room = Room::of(2);
    let one = room.takes_one(BOB, "one");
    let [others, ours] = ["eve", "alice"].map(|name| {
        let entry = field(&one, "encrypted_keys.alice");
        with(
            &one,
            "encrypted_keys",
            Some([(name.to_owned(), entry)].into_iter().collect::<serde_json::Map<_, _>>().into()),
        )
    });
    assert_eq!(room.hears(OWN, &others), NOTHING);
    assert_eq!(room.hears(OWN, &others), NOTHING);
    assert_eq!(room.hears(OWN, &ours), ["bob (pinned): one"]);
    assert_eq!(room.hears(OWN, &others), NOTHING);
    assert_eq!(room.hears(OWN, &ours).len(), 1, "repeated");
    assert_eq!(room.waits(5000), [NOTHING, NOTHING]);
    let two = room.takes_one(BOB, "two");
    assert_eq!(room.hears(OWN, &two), ["bob (pinned): two"], "nothing is missing");
}

#[test]
fn a_message_whose_part_for_this_reader_does_not_come_is_said() {
    let mut room = Room::of(2);
    let said: Vec<_> = (1..=4).map(|i| room.takes_one(BOB, &format!("{i}"))).collect();
    let keyless = |package: &[u8]| with(package, "encrypted_keys", Some(serde_json::json!({"eve": "QQ=="})));
    let unreadable = "! A message of bob cannot be read: it came without a key for you. Ask bob to say it again.";
    assert_eq!(room.hears(OWN, &keyless(&said[0])), NOTHING);
    assert_eq!(room.hears(OWN, &keyless(&said[1])), [unreadable], "the next has come");
    assert_eq!(room.waits(1999), [NOTHING, NOTHING]);
    assert_eq!(room.waits(1)[OWN], [unreadable]);
    assert_eq!(room.hears(OWN, &said[1]).len(), 1, "it comes too late");
    assert_eq!(room.hears(OWN, &keyless(&said[2])), NOTHING);
    assert_eq!(room.hears(OWN, &said[3]), [unreadable, "bob (pinned): 4"]);
}

#[test]
fn a_key_that_is_not_the_authors_opens_nothing() {
    let mut room = Room::of(2);
    let [one, two, three] = ["one", "two", "three"].map(|text| room.takes_one(BOB, text));
    let swapped = with(&one, "encrypted_keys", Some(field(&two, "encrypted_keys")));
    let other =
        "! WARNING: A message of bob is not shown: it is bound to another key than the one that was given for it.";
    assert_eq!(room.hears(OWN, &swapped), [other]);
    assert_eq!(room.hears(OWN, &two), ["bob (pinned): two"]);
    let damaged = with(&three, "encrypted_keys.alice", Some("QQ==".into()));
    let not_ours = "! A message of bob cannot be read: your key does not open it. It is damaged, or sealed for another key of \
                    yours.";
    assert_eq!(room.hears(OWN, &damaged), [not_ours]);
}

#[test]
fn nobody_speaks_in_the_name_of_another_under_an_own_signature() {
    let mut room = Room::of(2);
    let mut signer = Signer::new(Realm(*server().as_bytes()), SigningKey::from_seed(&[BOB as u8; 32]), RunId([9; 16]));
    signer.set_account(&UserName::new("bob"), &private(BOB)).unwrap();
    for (plain, shown) in [
        ("bob: hi", "bob (pinned): hi"),
        ("alice: hi", "! WARNING: a message of bob bears another name inside. It is not shown."),
        ("bob hi", "! WARNING: a message of bob bears another name inside. It is not shown."),
    ] {
        let sealed = envelope::seal(plain, 1_700_000_000);
        let signed = signer.sign(&RoomName::new("r"), &sealed).unwrap();
        let keys = [("alice".to_owned(), sealed.wrap_for(private(OWN).public()).unwrap())].into();
        let package = Package::new(sealed.token, keys, RoomName::new("r"));
        assert_eq!(room.hears(OWN, &signed.package(&package)), [shown]);
    }
}

#[test]
fn what_was_said_elsewhere_is_not_shown_here() {
    let mut room = Room::of(2);
    let package = room.takes_one(BOB, "in r");
    let elsewhere = with(&package, "room", Some("s".into()));
    let words = "! WARNING: something came for s, where you are not. It is not shown.";
    assert_eq!(room.hears(OWN, &elsewhere), [words]);
    room.clients[OWN].machine.heard = Heard::default();
    room.types(OWN, "/join s pw");
    room.hears(OWN, b"alice joined the chat!");
    let signed_for_r = with(&package, "room", Some("s".into()));
    assert!(room.hears(OWN, &signed_for_r)[0].contains("its signature does not hold"));
}

#[test]
fn a_message_waits_for_its_authors_keys_and_is_unsigned_when_they_do_not_come() {
    let mut room = Room::of(2);
    let mut carol = Client::of(EVE, &[]);
    room.clients.push(std::mem::replace(&mut carol, Client::of(EVE, &[])));
    room.held.push(Vec::new());
    room.enters(EVE);
    room.hears(
        EVE,
        &legacy::encode_key(&KeyAnnouncement {
            user: UserName::new("alice"),
            pem: private(OWN).public().pem().clone(),
        }),
    );
    let bundle = room.held[EVE].iter().rfind(|bytes| matches!(legacy::decode_server(bytes), FromServer::Bundle(_)));
    let bundle = bundle.unwrap().clone();
    room.held[EVE].clear();
    let said: Vec<_> = (1..=4).map(|i| room.takes_one(EVE, &format!("{i}"))).collect();
    assert_eq!(room.hears(OWN, &said[0]), NOTHING);
    assert_eq!(room.waits(1999), [NOTHING; 3]);
    assert_eq!(room.hears(OWN, &said[1]), NOTHING);
    assert_eq!(room.waits(1)[OWN], ["eve (unsigned, legacy): 1"]);
    assert_eq!(room.hears(OWN, &said[2]), NOTHING);
    assert_eq!(room.hears(OWN, &bundle), ["eve (pinned): 2", "eve (pinned): 3"], "in their order");
    assert_eq!(room.hears(OWN, &said[0]).len(), 1, "what was shown is not shown again");
    assert_eq!(room.hears(OWN, &said[3]), ["eve (pinned): 4"]);
    assert_eq!(room.waits(5000), [NOTHING; 3]);
}

#[test]
fn a_message_by_keys_that_nobody_has_shown_is_refused_in_a_name_that_signs() {
    let known = Learned::SignerSeen(UserName::new("bob"), signing(BOB));
    let mut room = Room::of(2);
    let said = room.takes_one(BOB, "hello");
    let mut alice = Client::of(OWN, &[known]);
    alice.types("/login alice pw");
    alice.hears("Login successful. Welcome, alice!");
    alice.types("/join r pw");
    alice.hears("alice joined the chat!");
    assert_eq!(alice.does(Input::Server(legacy::decode_server(&said))), NOTHING);
    let refused = "! WARNING: a message came in the name of bob, signed with keys that nobody has shown. It is not shown: it \
                   may be anybody's.";
    assert_eq!(alice.later(2000), [refused]);
}

#[test]
fn a_device_that_is_pinned_needs_no_bundle_to_be_known_again() {
    let mut room = Room::of(2);
    let said = room.takes_one(BOB, "hello");
    let mut alice = Client::of(OWN, &[]);
    alice.machine.keyring.people = std::mem::replace(
        &mut room.clients[OWN].machine.keyring.people,
        People::new(Realm([0; 32]), signing(OWN), Pins::default()),
    );
    alice.types("/login alice pw");
    alice.hears("Login successful. Welcome, alice!");
    alice.types("/join r pw");
    alice.hears("alice joined the chat!");
    assert_eq!(alice.does(Input::Server(legacy::decode_server(&said))), ["bob (pinned): hello"]);
}

#[test]
fn a_changed_signing_key_shows_and_gets_nothing_until_it_is_accepted_by_its_name() {
    let mut room = Room::of(2);
    room.clients[BOB] = Client::with_keys(BOB, EVE, BOB);
    room.enters(BOB);
    let warning = room.passes_everything_on();
    let (known, new) = (KeyName::from(signing(BOB)), KeyName::from(signing(EVE)));
    let words = format!(
        "! WARNING: the key of bob is not the known one!\n  known: {known}\n  now:   {new}\n  It can read nothing of yours. If \
         bob confirms the new key: /accept bob {new}"
    );
    assert_eq!(warning[OWN], [words]);
    let refused = room.takes_one(BOB, "it's me");
    assert!(room.hears(OWN, &refused)[0].contains("A message with it is not shown"));
    assert!(field(&room.takes_one(OWN, "hello"), "encrypted_keys").get("bob").is_some(), "the device is a pinned one");
    assert_eq!(
        room.types(OWN, "/accept bob"),
        [format!("* bob has shown the key {new}. If bob confirms it by another way: /accept bob {new}")]
    );
    assert_eq!(
        room.types(OWN, &format!("/accept bob {known}"))[0],
        format!("* bob has not shown that key, but {new}. Nothing is changed.")
    );
    assert_eq!(
        room.types(OWN, &format!("/accept bob {new}")),
        [format!("* The key of bob is {new} from now on. It is not verified: /verify bob")]
    );
    let said = room.takes_one(BOB, "it's still me");
    assert_eq!(room.hears(OWN, &said).last().unwrap(), "bob (pinned): it's still me");
}

#[test]
fn a_legacy_key_in_a_name_that_signs_gets_nothing_and_is_said_when_no_bundle_comes() {
    let mut room = Room::of(2);
    let impostor = KeyAnnouncement { user: UserName::new("bob"), pem: private(EVE).public().pem().clone() };
    assert_eq!(room.hears(OWN, &legacy::encode_key(&impostor)), NOTHING);
    let sealed = room.takes_one(OWN, "hello");
    let entry = field(&sealed, "encrypted_keys.bob");
    let token = field(&sealed, "encrypted_message");
    let (entry, token) = (entry.as_str().unwrap(), token.as_str().unwrap());
    assert!(envelope::open(token, entry, &private(EVE)).is_none());
    assert!(envelope::open(token, entry, &private(BOB)).is_some());
    let said = format!(
        "! WARNING: a key came in the name of bob that bob has not signed: {}. Either the server or whoever sent it did that. \
         It can read nothing of yours.",
        print(EVE)
    );
    assert_eq!(room.waits(2000)[OWN], [said]);
    assert_eq!(room.hears(OWN, &legacy::encode_key(&impostor)), NOTHING);
    assert_eq!(room.waits(5000)[OWN], NOTHING);
}

#[test]
fn people_who_compare_their_numbers_are_verified() {
    let mut room = Room::of(2);
    assert_eq!(room.types(OWN, "/verify bob yes"), ["* Compare the number first: /verify bob"]);
    let (hers, his) = (room.types(OWN, "/verify bob"), room.types(BOB, "/verify alice"));
    assert_eq!(hers[1], his[1]);
    assert_eq!(hers[1].split_whitespace().skip(1).map(str::len).collect::<Vec<_>>(), [5; 12]);
    assert_eq!(room.types(OWN, "/verify bob yes"), ["* bob is verified."]);
    let pins = room.clients[OWN].machine.keyring.people.pins();
    assert_eq!(pins.signers[&UserName::new("bob")].trust, Pinned::Verified);
    room.types(BOB, "hello");
    assert_eq!(room.passes_everything_on()[OWN], ["bob (verified): hello"]);
    assert!(room.types(OWN, "/keys bob")[0].ends_with("(verified)."));
    assert_eq!(room.types(OWN, "/keys").len(), 2);
    assert_eq!(room.types(OWN, "/keys mallory"), ["* No key of mallory is known."]);
    assert_eq!(
        room.types(OWN, "/verify"),
        ["* Usage: /verify NAME, and /verify NAME yes when the two numbers are the same"]
    );
}

#[test]
fn who_is_blocked_is_not_seen_and_counted_on() {
    let mut room = Room::of(2);
    room.types(OWN, "/block bob");
    room.types(BOB, "one");
    assert_eq!(room.passes_everything_on()[OWN], NOTHING);
    room.types(OWN, "/unblock bob");
    room.types(BOB, "two");
    assert_eq!(room.passes_everything_on()[OWN], ["bob (pinned): two"]);
}

#[test]
fn the_person_on_another_device_is_you_and_what_comes_back_is_an_echo() {
    let mut room = Room::of(2);
    let mut other = Client::with_keys(OWN, OWN, OWN);
    other.machine.signer =
        Signer::new(Realm(*server().as_bytes()), SigningKey::from_seed(&[OWN as u8; 32]), RunId([77; 16]));
    for line in ["/login alice pw", "/join r pw"] {
        other.types(line);
    }
    other.hears("Login successful. Welcome, alice!");
    other.hears("alice joined the chat!");
    other.later(1000);
    let mut out = Vec::new();
    other.machine.handle(other.now, Input::Line("from my phone".into()), &mut out);
    let sent = out.iter().find_map(|output| match output {
        Output::Send(bytes) => Some(bytes.clone()),
        _ => None,
    });
    assert_eq!(room.hears(OWN, &sent.unwrap()), ["alice (you): from my phone"]);
    let own = room.takes_one(OWN, "hello");
    let echo = "! WARNING: the server sent a message of your own back. It is not shown.";
    assert_eq!(room.hears(OWN, &own), [echo]);
    let unsigned = without_signature(&room.takes_one(OWN, "x"));
    assert!(room.hears(OWN, &unsigned)[0].contains("in the name of alice without"));
}

#[test]
fn what_was_missed_in_another_room_is_said_as_such() {
    let mut room = Room::of(2);
    let said: Vec<_> = (1..=4).map(|i| room.takes_one(BOB, &format!("{i}"))).collect();
    room.hears(OWN, &said[0]);
    for place in ["s", "r"] {
        room.types(OWN, &format!("/join {place} pw"));
        room.hears(OWN, b"alice joined the chat!");
    }
    let missed = "! 2 messages or acts of bob were missed while you were away.";
    assert_eq!(room.hears(OWN, &said[3]), [missed, "bob (pinned): 4"]);
}

#[test]
fn a_message_that_was_kept_bears_its_date() {
    let mut room = Room::of(2);
    let package = room.takes_one(BOB, "hello");
    room.clients[OWN].now.unix += 86_400;
    assert_eq!(
        room.hears(OWN, &package),
        ["bob (pinned) (written 2023-11-14 22:13:20, says the author; came 2023-11-15 22:13:20): hello"]
    );
}

#[test]
fn a_name_that_looks_like_a_known_one_is_told_from_it() {
    let mut room = Room::of(2);
    let forged = |name: &str| {
        let sealed = envelope::seal(&format!("{name}: hi"), 1);
        let keys = [("alice".to_owned(), sealed.wrap_for(private(OWN).public()).unwrap())].into();
        Package::new(sealed.token, keys, RoomName::new("r")).to_json()
    };
    assert_eq!(
        room.hears(OWN, &forged("bоb")),
        ["bоb (unsigned, legacy) (another than bob, whose name looks like this): hi"]
    );
    assert_eq!(room.hears(OWN, &forged("bob\u{200b}"))[0].split(' ').next(), Some("bob%E2%80%8B"));
}

#[test]
fn nothing_that_a_server_makes_of_signed_packages_is_shown_as_what_its_author_did_not_say_so() {
    let mut room = Room::of(3);
    let mut said: Vec<(Vec<u8>, String)> = Vec::new();
    for i in 0..6 {
        said.push((room.takes_one(BOB, &format!("bobs {i}")), format!("bob (pinned): bobs {i}")));
        said.push((room.takes_one(EVE, &format!("eves {i}")), format!("eve (pinned): eves {i}")));
    }
    let fields = [
        "encrypted_message",
        "encrypted_keys",
        "encrypted_keys.alice",
        "room",
        "signed",
        "signed.bundle",
        "signed.run",
        "signed.kind",
        "signed.counter",
        "signed.commitment",
        "signed.signature",
    ];
    let (mut mutated, mut refused) = (0, 0);
    for name in fields {
        for (i, (package, honest)) in said.iter().enumerate() {
            let others = said.iter().enumerate().filter(|(j, _)| *j != i);
            let swaps = others.map(|(_, (other, _))| Some(field(other, name)));
            let text = field(package, name).as_str().unwrap_or_default().to_owned();
            let flipped = (0..text.len()).step_by(7).map(|at| {
                let mut bytes = text.clone().into_bytes();
                bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
                Some(String::from_utf8(bytes).unwrap().into())
            });
            for value in
                swaps.chain(flipped).chain([None, Some(1.into()), Some("".into()), Some(serde_json::json!({}))])
            {
                let changed = with(package, name, value);
                room.clients[OWN].machine.heard = Heard::default();
                let mut shown = room.hears(OWN, &changed);
                shown.extend(room.waits(3000).swap_remove(OWN));
                mutated += 1;
                let is_as_it_was = field(&changed, name) == field(package, name)
                    || (name == "encrypted_keys.alice" && shown == [honest.clone()]);
                if !is_as_it_was {
                    assert!(!shown.iter().any(|line| line.contains("(pinned)")), "{name}: {shown:?}");
                    refused += usize::from(shown.iter().any(|line| line.starts_with("! ") || line.starts_with("* ")));
                }
            }
        }
    }
    assert!(mutated > 2000 && refused > 1000, "{mutated} {refused}");
    room.clients[OWN].machine.heard = Heard::default();
    for (package, honest) in &said {
        assert_eq!(room.hears(OWN, package), std::slice::from_ref(honest), "the control");
    }
}

fn signing(of: usize) -> Ed25519Key {
    SigningKey::from_seed(&[of as u8; 32]).verifying_key().bytes()
}

#[test]
fn all_that_is_sent_stays_within_what_a_python_peer_takes_at_once() {
    let mut room = Room::of(3);
    let packages = room.takes(BOB, &"a long story ".repeat(700));
    assert!(packages.len() >= 3);
    let mut counters = Vec::new();
    for package in &packages {
        assert!(package.len() <= legacy::MAX_OUTBOUND);
        let FromServer::Signed(_, signed) = legacy::decode_server(package) else { panic!() };
        let Signed { counter, .. } = *signed;
        counters.push(counter);
    }
    assert_eq!(counters.first(), Some(&1));
    assert!(counters.is_sorted());
    let shown: Vec<String> = packages.iter().flat_map(|package| room.hears(OWN, package)).collect();
    assert!(shown.iter().all(|line| line.starts_with("bob (pinned): ")), "{shown:?}");
}
