//! The client against a scripted server; what it does is written as one line for each thing done.

mod signed;

use super::*;
use crate::crypto::PublicKey;
use crate::protocol::ClientMessage;
use crate::protocol::KeyAnnouncement;
use crate::protocol::Package;
use crate::protocol::legacy::decode_client;
use std::sync::LazyLock;

static PEMS: LazyLock<[String; 3]> =
    LazyLock::new(|| [(); 3].map(|()| PrivateKey::generate().unwrap().expose_pem().to_owned()));

const OWN: usize = 0;
const BOB: usize = 1;
const EVE: usize = 2;

fn private(i: usize) -> PrivateKey {
    PrivateKey::from_pem(&PEMS[i]).unwrap()
}

/// The key of the server's certificate.
fn server() -> Fingerprint {
    Fingerprint::of(b"server")
}

fn print(i: usize) -> Fingerprint {
    private(i).public().fingerprint()
}

const START: Now = Now { elapsed: Duration::ZERO, unix: 1_700_000_000 };

fn machine(run: usize, signer: usize, rsa: usize, learned: &[Learned]) -> Machine {
    let mut pins = Pins::default();
    learned.iter().for_each(|learned| pins.learn(learned));
    let signing_key = SigningKey::from_seed(&[signer as u8; 32]);
    let own = Own { rsa: private(rsa), signing_key, run: RunId([run as u8; 16]), server: server() };
    Machine::new(own, pins).unwrap()
}

/// What signs for bob.
fn bob() -> Signer {
    let key = SigningKey::from_seed(&[BOB as u8; 32]);
    let mut signer = Signer::new(Realm(*server().as_bytes()), key, RunId([BOB as u8; 16]));
    signer.set_account(&UserName::new("bob"), &private(BOB)).unwrap();
    signer
}

struct Client {
    machine: Machine,
    now: Now,
}

impl Client {
    fn new() -> Self {
        Self::knowing(&[])
    }

    fn knowing(learned: &[Learned]) -> Self {
        Self::of(OWN, learned)
    }

    /// One of several clients.
    fn of(i: usize, learned: &[Learned]) -> Self {
        Self { machine: machine(i, i, i, learned), now: START }
    }

    /// One of several clients, with the signing key of another.
    fn with_keys(run: usize, signer: usize, rsa: usize) -> Self {
        Self { machine: machine(run, signer, rsa, &[]), now: START }
    }

    /// Logged in as alice and in the room r, with bob's key.
    fn in_room() -> Self {
        let mut client = Self::new();
        client.types("/login alice a");
        client.hears("Login successful. Welcome, alice!");
        client.types("/join r p");
        client.hears_key("bob", BOB);
        client.hears("alice joined the chat!");
        client.later(1000);
        client
    }

    fn does(&mut self, input: Input) -> Vec<String> {
        let mut out = Vec::new();
        self.machine.handle(self.now, input, &mut out);
        out.iter().map(describe).collect()
    }

    fn types(&mut self, line: &str) -> Vec<String> {
        self.does(Input::Line(line.into()))
    }

    fn hears(&mut self, text: &str) -> Vec<String> {
        self.does(Input::Server(legacy::decode_server(text.as_bytes())))
    }

    fn hears_key(&mut self, user: &str, key: usize) -> Vec<String> {
        let pem = private(key).public().pem().clone();
        let key = KeyAnnouncement { user: UserName::new(user), pem };
        self.does(Input::Server(legacy::decode_server(&legacy::encode_key(&key))))
    }

    /// A message that is sealed for alice's key under `reader`.
    fn hears_chat(&mut self, plain: &str, reader: &str, key: &PublicKey) -> Vec<String> {
        let sealed = crate::crypto::envelope::seal(plain, 1);
        let entry = sealed.wrap_for(key).unwrap();
        let package = Package::new(sealed.token, [(reader.to_owned(), entry)].into(), RoomName::new("r"));
        self.does(Input::Server(legacy::decode_server(&package.to_json())))
    }

    /// Something signed by bob, in a package for alice or for others.
    fn hears_signed(&mut self, for_alice: bool) -> Vec<String> {
        let sealed = crate::crypto::envelope::seal("bob: hi", 1);
        let signed = bob().sign(&RoomName::new("r"), &sealed).unwrap();
        let entry = sealed.wrap_for(private(OWN).public()).unwrap();
        let reader = if for_alice { "alice" } else { "carol" };
        let package = Package::new(sealed.token, [(reader.to_owned(), entry)].into(), RoomName::new("r"));
        self.does(Input::Server(legacy::decode_server(&signed.package(&package))))
    }

    fn hears_bundle(&mut self) -> Vec<String> {
        let bundle = bob().announcement(&RoomName::new("r")).unwrap();
        self.does(Input::Server(legacy::decode_server(&bundle)))
    }

    /// Lets time pass, as long as the machine says or `ms` milliseconds.
    fn later(&mut self, ms: u64) -> Vec<String> {
        let end = self.now.elapsed + Duration::from_millis(ms);
        let mut done = Vec::new();
        while let Some(at) = self.machine.deadline().filter(|at| *at <= end) {
            self.now.elapsed = at.max(self.now.elapsed);
            done.extend(self.does(Input::Tick));
        }
        self.now.elapsed = end;
        done
    }
}

fn describe(output: &Output) -> String {
    match output {
        Output::Send(bytes) if matches!(legacy::decode_server(bytes), FromServer::Bundle(_)) => {
            let package = Package::from_json(std::str::from_utf8(bytes).unwrap()).unwrap();
            format!("BUNDLE {}", package.room)
        }
        Output::Send(bytes) => match decode_client(bytes) {
            ClientMessage::Command(_) => String::from_utf8(bytes.clone()).unwrap(),
            ClientMessage::Key(key) => format!("KEY {}", key.user),
            ClientMessage::Chat(Ok(package)) => {
                assert!(matches!(legacy::decode_server(bytes), FromServer::Signed(..)), "it is signed");
                let readers: Vec<_> = package.encrypted_keys.keys().map(String::as_str).collect();
                format!("CHAT {} for {}", package.room, readers.join(" "))
            }
            other => panic!("{other:?}"),
        },
        Output::Close => "CLOSE".into(),
        Output::Remember(Learned::Rsa { user, key, replaces }) => {
            let who = (0..3).find(|i| print(*i) == *key).unwrap();
            format!("PIN {user} {who}{}", if *replaces { " again" } else { "" })
        }
        Output::Remember(learned) => format!("{learned:?}"),
        Output::Message(shown) => shown.to_string(),
        Output::Nameless(text) => format!("?: {text}"),
        Output::Alarm(alarm) => format!("! {alarm}"),
        Output::Server(text) => format!("-- {text}"),
        Output::Say(words) => format!("* {words}"),
    }
}

#[test]
fn commands_go_at_once_each_with_its_key_and_a_line_waits_for_their_answers() {
    let mut client = Client::new();
    assert_eq!(client.types("/register alice a"), ["CMD::/register alice a"]);
    assert_eq!(client.types("/login alice a"), ["CMD::/login alice a", "KEY alice"]);
    assert_eq!(client.types("/join r p"), ["CMD::/join r p", "KEY alice"]);
    assert!(client.types("hello").is_empty());
    assert_eq!(client.hears("Registration successful for alice. You may now /login.").len(), 1);
    assert_eq!(client.hears("Login successful. Welcome, alice!").len(), 1);
    assert_eq!(client.hears_key("bob", BOB), ["PIN bob 1"]);
    assert_eq!(client.hears("alice joined the chat!"), ["-- alice joined the chat!", "BUNDLE r"]);
    assert_eq!(client.later(100), ["CHAT r for bob alice"]);
}

#[test]
fn after_a_join_keys_are_waited_for_until_no_more_come() {
    let join = || {
        let mut client = Client::new();
        client.types("/login alice a");
        client.types("/join r p");
        client.types("hello");
        client.hears("Login successful. Welcome, alice!");
        client.hears("alice joined the chat!");
        client
    };
    let mut alone = join();
    assert!(alone.later(399).is_empty());
    let told = "* Nobody else's key is known in r, so nobody else can read you yet.";
    assert_eq!(alone.later(1), [told, "CHAT r for alice"]);
    assert_eq!(alone.types("again"), ["CHAT r for alice"]);
    let mut other = join();
    other.later(200);
    assert_eq!(other.hears_key("bob", BOB), ["PIN bob 1"]);
    assert!(other.later(99).is_empty());
    assert_eq!(other.later(1), ["CHAT r for bob alice"]);
}

#[test]
fn a_command_does_not_overtake_a_line_that_waits() {
    let mut client = Client::in_room();
    client.types("/join s p");
    assert!(client.types("for s").is_empty());
    assert!(client.types("/join t p").is_empty());
    assert!(client.types("for t").is_empty());
    client.hears("alice joined the chat!");
    assert_eq!(client.later(400), ["CHAT s for bob alice", "CMD::/join t p", "KEY alice"]);
    client.hears("alice joined the chat!");
    assert_eq!(client.later(400), ["CHAT t for bob alice"]);
}

#[test]
fn lines_for_a_room_that_cannot_be_joined_go_to_no_other() {
    for refusal in ["Incorrect room password.", "Room 's' does not exist.", "Usage: /join <roomName> <roomPassword>"] {
        let mut client = Client::in_room();
        client.types("/join s x");
        client.types("secret");
        client.types("more");
        let not_sent = "* 2 lines were not sent, because the /join before failed.";
        assert_eq!(client.hears(refusal), [format!("-- {refusal}").as_str(), not_sent]);
        assert_eq!(client.types("hello"), ["CHAT r for bob alice"], "it is still in r");
    }
}

#[test]
fn a_second_attempt_makes_up_for_the_first() {
    let mut client = Client::in_room();
    client.types("/join s wrong");
    client.types("/join s right");
    client.types("hello");
    assert_eq!(client.hears("Incorrect room password.").len(), 1);
    client.hears("alice joined the chat!");
    assert_eq!(client.later(400), ["CHAT s for bob alice"]);
}

#[test]
fn name_and_room_follow_the_servers_answers() {
    let mut client = Client::new();
    client.types("/login alice wrong");
    client.hears("Login failed. Invalid username or password.");
    assert_eq!(client.types("hello"), ["* Not sent: /login first."]);
    client.types("/login alice right");
    client.hears("Login successful. Welcome, alice!");
    assert_eq!(client.types("hello"), ["* Not sent: /join a room first."]);
    let mut client = Client::in_room();
    client.types("/login carol c");
    client.hears("Login successful. Welcome, carol!");
    assert_eq!(client.types("hello"), ["* Not sent: /join a room first."]);
    assert_eq!(client.types("/join r p"), ["CMD::/join r p", "KEY carol"]);
}

#[test]
fn a_name_is_known_in_either_normal_form_and_used_as_it_is_stored() {
    let mut client = Client::new();
    client.types("/login Zoe\u{308} z");
    client.types("/join r p");
    client.types("hello");
    client.hears("Login successful. Welcome, Zoë!");
    client.hears("Zoë joined the chat!");
    assert_eq!(client.later(400).last().unwrap(), "CHAT r for Zoë");
}

#[test]
fn gods_join_has_no_answer_and_is_done_after_five_seconds_or_with_the_next_answer() {
    let god = || {
        let mut client = Client::new();
        client.types("/login god g");
        client.hears("Login successful. Welcome, god!");
        client.types("/join r");
        client.hears_key("bob", BOB);
        client.types("thunder");
        client
    };
    let mut patient = god();
    assert!(patient.later(4999).is_empty());
    assert_eq!(patient.later(1), ["BUNDLE r", "CHAT r for bob god"]);
    let mut listing = god();
    assert!(listing.types("/list").is_empty());
    assert_eq!(listing.later(5000), ["BUNDLE r", "CHAT r for bob god", "CMD::/list"]);
    let mut refused = Client::new();
    refused.types("/login god g");
    refused.hears("Login successful. Welcome, god!");
    refused.types("/join r");
    refused.types("/join nowhere");
    refused.hears("Room 'nowhere' does not exist.");
    assert_eq!(refused.types("hello").last().unwrap(), "CHAT r for god");
}

#[test]
fn a_server_that_answers_too_late_is_not_waited_for() {
    let mut client = Client::in_room();
    client.types("/join s p");
    client.types("hello");
    let late = "* The server has not answered /join s yet. Going on as if it had.";
    assert_eq!(client.later(5000), [late, "BUNDLE s", "CHAT s for bob alice"]);
    client.hears("Incorrect room password.");
    assert_eq!(client.types("hello"), ["CHAT r for bob alice"]);
}

#[test]
fn a_refused_list_is_not_taken_for_a_refused_join() {
    let mut client = Client::new();
    client.types("/list");
    client.types("/login alice a");
    client.types("/join r p");
    client.types("hello");
    client.hears("You must /login first.");
    client.hears("Login successful. Welcome, alice!");
    client.hears("alice joined the chat!");
    assert_eq!(client.later(400).last().unwrap(), "CHAT r for alice");
}

#[test]
fn the_key_is_announced_again_to_whoever_comes_and_once_to_many() {
    let mut client = Client::in_room();
    assert_eq!(client.hears("bob joined the chat!"), ["-- bob joined the chat!", "KEY alice", "BUNDLE r"]);
    assert_eq!(client.hears("eve joined the chat!"), ["-- eve joined the chat!"]);
    assert_eq!(client.hears("dan joined the chat!"), ["-- dan joined the chat!"]);
    assert_eq!(client.later(50), ["KEY alice", "BUNDLE r"]);
    assert_eq!(client.hears("alice joined the chat!").len(), 1, "one's own second session has the key");
}

#[test]
fn who_leaves_reads_on_only_after_coming_back() {
    let mut client = Client::in_room();
    client.hears("bob left the chat.");
    assert_eq!(client.types("psst").last().unwrap(), "CHAT r for alice");
    client.hears("bob joined the chat!");
    assert_eq!(client.types("hello"), ["CHAT r for bob alice"]);
    client.hears("bob left the chat.");
    client.hears_chat("bob: still here, twice", "alice", private(OWN).public());
    assert_eq!(client.types("hello"), ["CHAT r for bob alice"]);
    client.hears("bob left the chat.");
    client.types("/join r p");
    client.hears("alice joined the chat!");
    client.later(400);
    assert_eq!(client.types("psst").last().unwrap(), "CHAT r for alice", "a repeated join changes nothing");
}

#[test]
fn another_key_for_a_pinned_name_is_loud_and_unused_until_it_is_accepted() {
    let mut client = Client::in_room();
    let warning = client.hears_key("bob", EVE);
    for part in ["WARNING".to_owned(), print(BOB).to_string(), print(EVE).to_string(), "/accept bob".into()] {
        assert!(warning.iter().any(|line| line.contains(&part)), "{warning:?}");
    }
    assert!(client.hears_key("bob", EVE).is_empty());
    assert_eq!(client.types("hello"), ["CHAT r for bob alice"], "under the old key");
    assert_eq!(client.types("/accept nobody"), ["* nobody has shown no other key. Nothing is changed."]);
    let wrong = format!("/accept bob {}", print(OWN));
    let refused = format!("* bob has not shown that key, but {}. Nothing is changed.", print(EVE));
    assert_eq!(client.types(&wrong), [refused], "exactly the key that the person expects");
    assert_eq!(client.types("/accept").len(), 1);
    assert_eq!(client.types("/accept bob").last().unwrap(), "PIN bob 2 again");
    let mut late = Client::knowing(&[Learned::Rsa { user: UserName::new("bob"), key: print(BOB), replaces: false }]);
    late.types("/login alice a");
    late.types("/join r p");
    late.hears("Login successful. Welcome, alice!");
    late.hears_key("bob", EVE);
    late.hears("alice joined the chat!");
    late.later(400);
    assert_eq!(late.types("hello").last().unwrap(), "CHAT r for alice");
    late.types("/accept bob");
    assert_eq!(late.types("hello"), ["CHAT r for bob alice"]);
}

#[test]
fn what_only_the_modern_wire_knows_is_not_sent_and_said() {
    let mut client = Client::in_room();
    for line in
        ["/who", "/Passwd old new", " /passwd old new", "/msg bob secret", "/account legacy off pw", "/room delete r"]
    {
        let word = line.split_whitespace().next().unwrap().to_lowercase();
        let words = format!("* Not sent: this server speaks the old wire and does not know {word}.");
        assert_eq!(client.types(line), [words]);
    }
    assert!(client.machine.has_unsent());
    assert_eq!(client.types("/nonsense"), ["CMD::/nonsense"], "the server has its own words for it");
    assert_eq!(client.types(" /kick bob"), ["CHAT r for bob alice"], "as to the Python client");
}

#[test]
fn an_own_name_with_another_key_is_said_once_and_ignored() {
    let mut client = Client::in_room();
    assert!(client.hears_key("alice", OWN).is_empty());
    assert_eq!(client.hears_key("alice", EVE).len(), 1);
    assert!(client.hears_key("alice", EVE).is_empty());
    assert_eq!(client.types("hello"), ["CHAT r for bob alice"]);
}

#[test]
fn messages_are_opened_and_cleaned_and_cannot_pass_for_anything_else() {
    let mut client = Client::in_room();
    let own = private(OWN);
    let hears = |client: &mut Client, plain: &str| client.hears_chat(plain, "alice", own.public());
    assert_eq!(hears(&mut client, "bob: hello"), ["bob (unsigned, legacy): hello"]);
    let cleaned = ["bob (unsigned, legacy): [2Jhello you"];
    assert_eq!(hears(&mut client, "bob: \x1b[2Jhe\u{202e}llo\nyou"), cleaned);
    assert_eq!(hears(&mut client, "bob(verified): hi"), ["bob%28verified%29 (unsigned, legacy): hi"]);
    assert_eq!(hears(&mut client, "b\x1b[2Job: hi"), ["b%1B%5B2Job (unsigned, legacy): hi"]);
    assert_eq!(hears(&mut client, "eve joined the chat!"), ["?: eve joined the chat!"]);
    assert_eq!(hears(&mut client, "* Trusted: yes"), ["?: * Trusted: yes"]);
    assert_eq!(hears(&mut client, "\n* no: name"), ["?:  * no: name"]);
    assert!(client.hears_chat("bob: hello", "carol", own.public()).is_empty(), "no entry of ours");
    let sealed_for_another = client.hears_chat("bob: hello", "alice", private(EVE).public());
    assert!(sealed_for_another[0].starts_with("* A message came that your key does not open"));
}

#[test]
fn the_end_of_the_input_waits_for_what_was_typed() {
    let mut client = Client::new();
    client.types("/login alice a");
    client.types("/join r p");
    client.types("hello");
    assert!(client.does(Input::EndOfLines).is_empty());
    client.hears("Login successful. Welcome, alice!");
    client.hears_key("bob", BOB);
    client.hears("alice joined the chat!");
    assert_eq!(client.later(1000), ["CHAT r for bob alice", "CLOSE"]);
    assert_eq!(client.hears("eve joined the chat!"), ["-- eve joined the chat!"], "it listens, and sends nothing");
    assert_eq!(client.machine.deadline(), None);
    let mut lister = Client::new();
    lister.types("/list");
    assert!(lister.types("/quit").is_empty());
    assert!(lister.types("too late").is_empty());
    assert_eq!(lister.hears("You must /login first."), ["-- You must /login first.", "CLOSE"]);
    let mut unheard = Client::new();
    unheard.types("/list");
    unheard.does(Input::EndOfLines);
    assert_eq!(unheard.later(5000), ["CLOSE"]);
}

#[test]
fn what_cannot_be_sent_is_said() {
    let mut client = Client::in_room();
    assert_eq!(client.types(&format!("/join {}", "x".repeat(5000))), ["* Not sent: a command has at most 4096 bytes."]);
    let long = "word ".repeat(1000);
    let sent = client.types(&long);
    assert!(sent.len() >= 2 && sent.iter().all(|line| line.starts_with("CHAT r for bob")), "{sent:?}");
    assert!(client.types("   ").is_empty());
}

#[test]
fn more_lines_are_not_wanted_when_a_thousand_wait() {
    let mut client = Client::in_room();
    client.types("/join s p");
    for _ in 0..MOST_LINES {
        assert!(client.machine.wants_lines());
        client.types("hello");
    }
    assert!(!client.machine.wants_lines());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]
    /// A deadline that stays in the past would keep the main thread spinning.
    #[test]
    fn time_always_goes_on(steps in proptest::collection::vec((0usize..18, 0u64..700), 1..60)) {
        let mut client = Client::new();
        for (step, wait) in steps {
            match step {
                0 => client.types("/login alice a"),
                1 => client.types("/login god g"),
                2 => client.types("/join r p"),
                3 => client.types("/list"),
                4 => client.types("hello"),
                5 => client.hears("Login successful. Welcome, alice!"),
                6 => client.hears("Login successful. Welcome, god!"),
                7 => client.hears("alice joined the chat!"),
                8 => client.hears("bob joined the chat!"),
                9 => client.hears("You must /login first."),
                10 => client.hears("Room 'r' does not exist."),
                11 => client.hears("Available rooms: r"),
                12 => client.hears_key("bob", BOB),
                13 => client.hears_key("bob", EVE),
                14 => client.hears_signed(true),
                15 => client.hears_signed(false),
                16 => client.hears_bundle(),
                _ => client.hears("Login failed. Invalid username or password."),
            };
            let end = client.now.elapsed + Duration::from_millis(wait);
            let mut ticks = 0;
            while let Some(at) = client.machine.deadline().filter(|at| *at <= end) {
                client.now.elapsed = at.max(client.now.elapsed);
                client.does(Input::Tick);
                ticks += 1;
                proptest::prop_assert!(ticks < 200);
            }
            client.now.elapsed = end;
        }
        client.does(Input::EndOfLines);
        let done = client.later(60_000);
        proptest::prop_assert!(client.machine.closed, "{done:?}");
    }
}
