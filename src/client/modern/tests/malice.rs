//! A server that cheats. Each attack has its control: without it, what is at stake is shown.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::server::What;
use super::world::{World, public, room, user};
use crate::client::known_keys::Pins;
use crate::client::modern::Input;
use crate::crypto::SigningKey;
use crate::protocol::modern::*;
use crate::transcript::{BundleHash, EntryKey, LogHash, RosterEntry, RunId, Signature, Verb};

const BOB: usize = 1;

/// Alice, bob and carol, who all have spoken.
fn world() -> World {
    let mut world = World::with(&["alice", "bob", "carol"]);
    for client in 0..3 {
        world.types(client, "hello");
    }
    world.looked();
    world
}

/// Changes what comes to bob.
fn to_bob(world: &mut World, mut change: impl FnMut(What) -> Vec<What> + 'static) {
    world.tamper = Some(Box::new(move |to, what| if to == BOB { change(what) } else { vec![what] }));
}

fn number(what: &mut What) -> Option<&mut u64> {
    match what {
        What::Event(Event::Members(event)) => Some(&mut event.n),
        What::Event(Event::Message(event)) => Some(&mut event.n),
        What::Event(Event::Act(event)) => Some(&mut event.n),
        _ => None,
    }
}

/// Changes the first message that comes to bob, and alice says something; gives what bob is shown.
fn first_message(change: impl FnOnce(&mut MessageEvent, &mut Stamp) + 'static) -> Vec<String> {
    let mut world = world();
    let mut change = Some(change);
    to_bob(&mut world, move |mut what| {
        if let What::Event(Event::Message(event)) = &mut what
            && let Origin::Modern { reader, mut stamp } = event.origin
            && let Some(change) = change.take()
        {
            change(event, &mut stamp);
            event.origin = Origin::Modern { reader, stamp };
        }
        vec![what]
    });
    world.types(0, "attack at dawn");
    world.look(BOB)
}

#[test]
fn every_field_of_a_message_counts() {
    assert_eq!(first_message(|_, _| ()), ["alice (pinned): attack at dawn"]);
    let changed_token = |event: &mut MessageEvent, _: &mut Stamp| {
        let mut token = event.encrypted_message.clone().into_bytes();
        token[40] = if token[40] == b'A' { b'B' } else { b'A' };
        event.encrypted_message = String::from_utf8(token).unwrap();
    };
    type Change = Box<dyn FnOnce(&mut MessageEvent, &mut Stamp)>;
    let changes: [(&str, Change); 10] = [
        ("signature does not hold", Box::new(changed_token)),
        ("signature does not hold", Box::new(|_, stamp| stamp.counter += 1)),
        ("signature does not hold", Box::new(|_, stamp| stamp.epoch += 1)),
        ("signature does not hold", Box::new(|_, stamp| stamp.commitment.0[0] ^= 1)),
        ("signature does not hold", Box::new(|_, stamp| stamp.signature.0[0] ^= 1)),
        ("signature does not hold", Box::new(|_, stamp| stamp.signature = Signature([0; 64]))),
        ("people are shown different rooms", Box::new(|_, stamp| stamp.at.log = LogHash([1; 32]))),
        ("people are shown different rooms", Box::new(|_, stamp| stamp.at.n += 1)),
        ("that the server does not list here", Box::new(|event, _| event.user = user("carol"))),
        ("dropped or repeated something", Box::new(|event, _| event.n += 1)),
    ];
    for (words, change) in changes {
        let shown = first_message(change);
        assert!(shown.len() <= 2 && shown[0].contains(words), "{words}: {shown:?}");
        assert!(shown.iter().all(|line| !line.contains("dawn")), "{shown:?}");
    }
}

/// Whoever signed something before the own join can't be checked, so nothing of it is shown.
#[test]
fn a_place_from_before_is_passed_over_and_said_when_it_goes_on() {
    let shown = first_message(|_, stamp| stamp.at.n = 0);
    assert_eq!(shown, Vec::<String>::new());
    let mut world = world();
    world.later(61_000);
    to_bob(&mut world, |mut what| {
        if let What::Event(Event::Message(MessageEvent { origin: Origin::Modern { stamp, .. }, .. })) = &mut what {
            stamp.at.n = 0;
        }
        vec![what]
    });
    world.types(0, "attack at dawn");
    assert_eq!(world.look(BOB), ["* WARNING: a message of alice was held back for very long, and is not shown."]);
}

#[test]
fn a_message_that_is_dropped_is_missed_even_if_all_is_renumbered() {
    for renumbered in [false, true] {
        let mut world = world();
        let mut dropped = 0;
        to_bob(&mut world, move |mut what| {
            if dropped == 0 && matches!(what, What::Event(Event::Message(_))) {
                dropped = 1;
                return Vec::new();
            }
            if renumbered && let Some(n) = number(&mut what) {
                *n -= dropped;
            }
            vec![what]
        });
        world.types(0, "attack at dawn");
        assert_eq!(world.look(BOB), Vec::<String>::new());
        world.types(2, "what?");
        let shown = world.look(BOB);
        let words =
            if renumbered { "people are shown different rooms! carol" } else { "dropped or repeated something" };
        assert!(shown[0].contains(words), "{shown:?}");
        let stopped = world.types(BOB, "I can say nothing");
        assert!(stopped[0].contains("/join again to go on"), "{stopped:?}");
        world.tamper = None;
        world.types(BOB, "/join r pw");
        world.looked();
        world.types(0, "now?");
        let shown = world.look(BOB);
        assert_eq!(shown.last().unwrap(), "alice (pinned): now?");
        assert_eq!(world.types(BOB, "yes"), Vec::<String>::new());
        assert_eq!(world.look(0).last().unwrap(), "bob (pinned): yes");
    }
}

#[test]
fn a_message_that_comes_twice_is_shown_once() {
    let mut world = world();
    let mut added = 0;
    to_bob(&mut world, move |mut what| {
        number(&mut what).into_iter().for_each(|n| *n += added);
        if added == 0 && matches!(what, What::Event(Event::Message(_))) {
            added = 1;
            let mut again = what.clone();
            number(&mut again).into_iter().for_each(|n| *n += 1);
            return vec![what, again];
        }
        vec![what]
    });
    world.types(0, "pay a hundred");
    let shown = world.look(BOB);
    assert_eq!(
        shown,
        [
            "alice (pinned): pay a hundred",
            "* WARNING: a message of alice was repeated, or came too late. It is not shown again."
        ]
    );
    world.types(2, "hm");
    assert_eq!(world.look(BOB), ["carol (pinned): hm"], "she had heard it once when she said that");
    world.types(0, "well?");
    assert!(world.look(BOB)[0].contains("people are shown different rooms"));
}

#[test]
fn messages_in_another_order_are_noticed() {
    for authors in [[0, 0], [0, 2]] {
        let mut world = world();
        let held: Rc<RefCell<Option<What>>> = Rc::default();
        let mut done = false;
        let kept = Rc::clone(&held);
        to_bob(&mut world, move |mut what| {
            if done || !matches!(what, What::Event(Event::Message(_))) {
                return vec![what];
            }
            let Some(mut first) = kept.borrow_mut().take() else {
                *kept.borrow_mut() = Some(what);
                return Vec::new();
            };
            done = true;
            std::mem::swap(number(&mut first).unwrap(), number(&mut what).unwrap());
            vec![what, first]
        });
        world.types(authors[0], "first");
        world.types(authors[1], "second");
        world.types(2, "third");
        let shown = world.look(BOB);
        let alarms = shown.iter().filter(|line| line.starts_with("* WARNING")).count();
        assert!(alarms > 0 && shown.iter().any(|line| line.contains("shown different rooms")), "{shown:?}");
    }
}

#[test]
fn a_message_of_one_room_is_none_of_another() {
    let mut world = world();
    world.server.create(&room("den"));
    to_bob(&mut world, |mut what| {
        if let What::Event(Event::Message(event)) = &mut what {
            event.room = room("den");
        }
        vec![what]
    });
    world.types(0, "for r alone");
    assert_eq!(world.look(BOB), ["* WARNING: something came for den, where you are not. It is not shown."]);
}

#[test]
fn a_grant_that_is_not_what_was_signed_opens_nothing() {
    let control = granted(|_| ());
    assert_eq!(control.last().unwrap(), "alice (pinned): hello");
    let other_wrap = |event: &mut GrantEvent| {
        let chain = crate::crypto::ChainKey::from_raw(&[1; 32]);
        event.wrap = Wrap::new(chain.wrap_for(&public(1)).unwrap()).unwrap();
    };
    let shown = granted(other_wrap);
    assert!(shown.last().unwrap().contains("the key that came is not the one that alice signed"), "{shown:?}");
    let shown = granted(|event| event.stamp.counter -= 1);
    assert!(shown[0].contains("a key came in the name of alice, and its signature does not hold"), "{shown:?}");
    let shown = granted(|event| event.stamp.check.0[0] ^= 1);
    assert!(shown[0].contains("a key came in the name of alice, and its signature does not hold"), "{shown:?}");
    let shown = granted(|event| event.author.user = user("carol"));
    assert!(shown[0].contains("that the server does not list here"), "{shown:?}");
}

/// What bob is shown when alice speaks for the first time, and her grant is changed on its way.
fn granted(change: impl Fn(&mut GrantEvent) + 'static) -> Vec<String> {
    let mut world = World::with(&["alice", "bob", "carol"]);
    world.types(0, "/topic so that the counter is 2");
    world.looked();
    to_bob(&mut world, move |mut what| {
        if let What::Event(Event::Grant(event)) = &mut what {
            change(event);
        }
        vec![what]
    });
    world.types(0, "hello");
    world.later(11_000);
    world.look(BOB)
}

/// The server puts somebody into the room: a stranger is named before anything is said to it, another key under a known name
/// gets nothing.
#[test]
fn no_reader_is_added_unnoticed() {
    let mut world = world();
    let ghost = |name: &str, signing: u8| {
        let rsa = super::world::rsa(5);
        let key = SigningKey::from_seed(&[signing; 32]);
        crate::crypto::Bundle::sign(&world.server.realm(), &user(name), &key, &rsa).unwrap()
    };
    let ghosts = [ghost("stranger", 90), ghost("carol", 91), ghost("alice", 92)];
    let mut out = Vec::new();
    for (i, bundle) in ghosts.iter().enumerate() {
        let keys = BundleKeys {
            signing_key: bundle.signing_key().bytes(),
            rsa_key: bundle.rsa().spki_der().clone(),
            signature: *bundle.signature(),
            rsa_signature: bundle.rsa_signature().clone(),
        };
        let account = bundle.account().clone();
        world.server.bundles.insert(bundle.hash(), Arc::new(Bundle::Modern { user: account.clone(), keys }));
        let entry = RosterEntry { account, key: EntryKey::Modern(bundle.hash()), run: RunId([90 + i as u8; 16]) };
        world.server.change(&room("r"), vec![entry], Vec::new(), None, &mut out);
    }
    world.deliver(out);
    world.looked();
    let wraps = world.clients[0].wraps;
    let shown = world.types(0, "is anybody else here?");
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert!(shown.contains(&"* From now on you can be read by: stranger (pinned). /readers names all.".to_owned()));
    for name in ["carol", "alice"] {
        assert!(
            shown.iter().any(|line| line.contains(&format!("the key of {name} is not the known one"))),
            "{shown:?}"
        );
    }
    assert_eq!(world.clients[0].wraps, wraps + 1, "the stranger's");
}

/// The server hides a ghost from the list of members, or shows somebody who isn't there.
#[test]
fn a_list_of_members_that_the_log_does_not_bear_out_is_not_believed() {
    for lie in [0, 1] {
        let mut world = World::with(&["alice", "bob", "carol"]);
        world.server.rooms.get_mut(&room("r")).unwrap().hashes_changes = true;
        world.types(2, "/leave"); // who is there has to be asked for now
        world.looked();
        to_bob(&mut world, move |what| match what {
            What::Answer(Answer::Part { id, body: PartBody::Entries(mut entries) }) => {
                if lie == 0 {
                    entries.pop();
                } else {
                    entries.push(entries[0].clone());
                }
                vec![What::Answer(Answer::Part { id, body: PartBody::Entries(entries) })]
            }
            what => vec![what],
        });
        let shown = world.types(BOB, "hello");
        assert_eq!(world.clients[BOB].machine.waiting(), 0, "what comes next is not held up");
        assert_eq!(
            shown,
            [
                "* WARNING: the server's list of members is not the one that the others have. Nothing is sent while it is so.",
                "* Not sent: who would read it is not known. It was: hello"
            ]
        );
        world.tamper = None;
        assert_eq!(world.types(BOB, "hello").len(), 1);
        assert_eq!(world.look(0).last().unwrap(), "bob (pinned): hello");
    }
}

#[test]
fn somebody_who_is_shown_to_some_alone_splits_the_room() {
    let mut world = world();
    let (mut hidden, mut out) = (false, Vec::new());
    to_bob(&mut world, move |mut what| {
        if let What::Event(Event::Members(event)) = &mut what
            && !std::mem::replace(&mut hidden, true)
        {
            event.changes = Changes::Listed { joined: Vec::new(), removed: Vec::new() };
        }
        vec![what]
    });
    let entry = RosterEntry { account: user("eve"), key: EntryKey::Modern(BundleHash([9; 32])), run: RunId([9; 16]) };
    world.server.change(&room("r"), vec![entry], Vec::new(), None, &mut out);
    world.deliver(out);
    let shown = world.look(BOB);
    assert!(shown[0].contains("list of members is not the one that the others have"), "{shown:?}");
    world.types(0, "hello");
    assert!(world.look(BOB)[0].contains("people are shown different rooms! alice"));
}

#[test]
fn who_did_what_is_proved_or_not_said_to_be_theirs() {
    let control = kicked(|_| ());
    assert_eq!(control[0], "! alice (pinned) kicked carol: too loud");
    let shown = kicked(|event| event.deed.target = SignedText::new("bob"));
    assert!(shown[0].contains("a command came in the name of alice, and its signature does not hold"), "{shown:?}");
    let shown = kicked(|event| event.deed.verb = Verb::Ban);
    assert!(shown[0].contains("its signature does not hold"), "{shown:?}");
    let shown = kicked(|event| event.user = user("bob"));
    assert!(shown[0].contains("that the server does not list here"), "{shown:?}");
    let shown = kicked(|event| event.proof = None);
    assert_eq!(shown[0], "-- The server, in the name of alice, who did not sign it: kicked carol: too loud");
}

fn kicked(change: impl Fn(&mut ActEvent) + 'static) -> Vec<String> {
    let mut world = world();
    to_bob(&mut world, move |mut what| {
        if let What::Event(Event::Act(event)) = &mut what {
            change(event);
        }
        vec![what]
    });
    world.types(0, "/kick carol too loud");
    world.look(BOB)
}

/// A kick that is held back from alice: bob, who knows of it, sees that she did not.
#[test]
fn what_was_said_without_knowing_of_a_kick_is_marked_and_the_log_tells() {
    let mut world = world();
    let held: Rc<RefCell<Vec<(usize, What)>>> = Rc::default();
    let kept = Rc::clone(&held);
    world.tamper = Some(Box::new(move |to, what| {
        if to == 0 && matches!(&what, What::Event(Event::Act(_) | Event::Members(_))) {
            kept.borrow_mut().push((to, what));
            return Vec::new();
        }
        vec![what]
    }));
    world.types(BOB, "/kick carol");
    world.looked();
    world.server.rooms.get_mut(&room("r")).unwrap().allow_stale();
    let shown = world.types(0, "carol is still here, I think");
    assert_eq!(world.look(BOB), ["alice (pinned) (sent before carol was gone): carol is still here, I think"]);
    // Alice's own message had another number for her than the server says.
    assert!(shown.iter().any(|line| line.contains("dropped or repeated something")), "{shown:?}");
}

#[test]
fn an_answer_that_does_not_fit_the_log_stops_the_sender() {
    let mut world = world();
    to_bob(&mut world, |mut what| {
        if let What::Answer(Answer::Ok { body: OkBody::Send(accepted), .. }) = &mut what {
            accepted.n += 1;
        }
        vec![what]
    });
    let shown = world.types(BOB, "hello");
    assert!(shown[0].contains("the server dropped or repeated something"), "{shown:?}");
    assert!(world.types(BOB, "more")[0].contains("/join again"));
}

#[test]
fn a_server_cannot_say_that_it_had_a_message_before() {
    let mut world = world();
    to_bob(&mut world, |mut what| {
        if let What::Answer(Answer::Ok { body: OkBody::Send(accepted), .. }) = &mut what {
            accepted.duplicate = true;
        }
        vec![what]
    });
    let shown = world.types(BOB, "hello");
    assert!(shown[0].contains("had before what it cannot have had"), "{shown:?}");
}

#[test]
fn an_own_message_does_not_come_back() {
    let mut world = world();
    let seen: Rc<RefCell<Option<What>>> = Rc::default();
    let kept = Rc::clone(&seen);
    world.tamper = Some(Box::new(move |to, what| {
        if to == 0 && matches!(what, What::Event(Event::Message(_))) {
            *kept.borrow_mut() = Some(what.clone());
        }
        vec![what]
    }));
    world.types(BOB, "hello");
    let Some(mut echo) = seen.borrow_mut().take() else { panic!("alice heard nothing") };
    number(&mut echo).into_iter().for_each(|n| *n += 1);
    world.hears(BOB, &echo);
    assert_eq!(world.look(BOB), ["* WARNING: the server sent a message of your own back. It is not shown."]);
}

#[test]
fn a_return_to_another_past_is_noticed() {
    let mut world = world();
    world.cut(BOB);
    to_bob(&mut world, |mut what| {
        if let What::Answer(Answer::Ok { body: OkBody::Join(join), .. }) = &mut what {
            join.before = LogHash([1; 32]);
        }
        vec![what]
    });
    world.looked();
    world.back(BOB);
    let shown = world.look(BOB);
    assert!(shown[0].contains("What the server says has happened here before your return"), "{shown:?}");
    assert!(world.types(BOB, "hello")[0].contains("/join again"));
}

#[test]
fn a_join_that_the_others_do_not_see_is_none() {
    let mut world = World::with(&["alice"]);
    world.connect(BOB as u8, 1, Pins::default());
    world.types(BOB, "/login bob pw");
    to_bob(&mut world, |mut what| {
        if let What::Answer(Answer::Ok { body: OkBody::Join(join), .. }) = &mut what {
            join.joined.clear();
        }
        vec![what]
    });
    let shown = world.types(BOB, "/join r pw");
    assert!(shown[0].contains("does not let the others see it"), "{shown:?}");
    assert!(world.types(BOB, "hello")[0].contains("/join a room first"));
}

#[test]
fn a_server_does_not_choose_the_name_in_which_somebody_speaks() {
    let mut world = World::new();
    let alice = world.connect(0, 0, Pins::default());
    world.tamper = Some(Box::new(|_, mut what| {
        if let What::Answer(Answer::Ok { body: OkBody::Login { user: name }, .. }) = &mut what {
            *name = user("bob");
        }
        vec![what]
    }));
    let shown = world.types(alice, "/login alice pw");
    assert!(shown[0].contains("logged you in under another name"), "{shown:?}");
    assert_eq!(world.server.requests.get("announce"), None);
}

#[test]
fn a_direct_message_is_for_whom_it_was_signed() {
    let control = direct(|_| ());
    assert_eq!(control, ["alice (pinned, direct): meet me at nine"]);
    let shown = direct(|event| event.recipient = user("carol"));
    assert!(shown[0].contains("that is not for this client"), "{shown:?}");
    let shown = direct(|event| event.author.user = user("carol"));
    assert!(shown[0].contains("with the keys of somebody else"), "{shown:?}");
    let shown = direct(|event| event.body.readers.truncate(1));
    assert!(shown[0].contains("not for this client") || shown[0].contains("does not hold"), "{shown:?}");
    let shown = direct(|event| event.body.readers.push(Reader { bundle: BundleHash([1; 32]), run: RunId([1; 16]) }));
    assert!(
        shown[0].contains("direct message came in the name of alice, and its signature does not hold"),
        "{shown:?}"
    );
    let shown = direct(|event| event.body.wraps.clear());
    assert!(shown[0].contains("it came without a key for you"), "{shown:?}");
    let shown = direct(|event| event.body.stamp.counter += 1);
    assert!(shown[0].contains("does not hold"), "{shown:?}");
}

fn direct(change: impl Fn(&mut DirectEvent) + 'static) -> Vec<String> {
    let mut world = world();
    to_bob(&mut world, move |mut what| {
        if let What::Event(Event::Direct(event)) = &mut what {
            change(event);
        }
        vec![what]
    });
    world.types(0, "/msg bob meet me at nine");
    world.look(BOB)
}

#[test]
fn a_direct_message_that_comes_twice_is_shown_once_and_one_that_is_dropped_is_missed() {
    let mut world = world();
    let mut count = 0;
    to_bob(&mut world, move |what| {
        if !matches!(what, What::Event(Event::Direct(_))) {
            return vec![what];
        }
        count += 1;
        match count {
            1 => vec![what.clone(), what],
            2 => Vec::new(),
            _ => vec![what],
        }
    });
    for text in ["one", "two", "three"] {
        world.types(0, &format!("/msg bob {text}"));
    }
    assert_eq!(
        world.look(BOB),
        [
            "alice (pinned, direct): one",
            "* WARNING: a direct message of alice was repeated, or came too late. It is not shown again.",
            "* WARNING: 1 direct message of alice is missing. Either the server dropped it, or alice lost the connection \
             while it was sent.",
            "alice (pinned, direct): three"
        ]
    );
}

/// The server names a session that would read along.
#[test]
fn a_direct_message_stops_when_somebody_else_would_read_it() {
    for own in [false, true] {
        let mut world = world();
        let carol = world.server.reader(2);
        world.tamper = Some(Box::new(move |to, mut what| {
            if to == 0
                && let What::Answer(Answer::Ok { body: OkBody::Sessions { recipient, own: mine, .. }, .. }) = &mut what
            {
                let list = if own { mine } else { recipient };
                list.push(carol);
            }
            vec![what]
        }));
        let shown = world.types(0, "/msg bob a secret");
        assert!(shown[0].contains("who would read along"), "{shown:?}");
        assert_eq!(world.server.requests.get("direct"), None);
    }
}

#[test]
fn keys_that_are_not_those_that_were_asked_for_are_not_taken() {
    let mut world = World::with(&["alice", "bob", "carol"]);
    to_bob(&mut world, |what| match what {
        What::Answer(Answer::Part { id, body: PartBody::Bundles(mut bundles) }) => {
            if let Bundle::Modern { user: name, .. } = Arc::make_mut(&mut bundles[0]) {
                *name = user("mallory");
            }
            vec![What::Answer(Answer::Part { id, body: PartBody::Bundles(bundles) })]
        }
        what => vec![what],
    });
    world.types(0, "hello");
    let shown = world.look(BOB);
    assert_eq!(
        shown,
        ["* WARNING: a message came in the name of alice, and its keys cannot be had: the server does not have it. Either the \
          server or whoever sent it did that. It is not shown."]
            .map(|line| line.to_owned())
            .into_iter()
            .flat_map(|line| [line.replace("a message", "a key"), line])
            .collect::<Vec<_>>()
    );
}

#[test]
fn clocks_that_differ_are_both_shown() {
    let mut world = world();
    to_bob(&mut world, |mut what| {
        if let What::Event(Event::Message(event)) = &mut what {
            event.time += 3_600_000;
        }
        vec![what]
    });
    world.types(0, "old news");
    let shown = world.look(BOB);
    assert!(shown[0].starts_with("alice (pinned) (written 2023-11-14 "), "{shown:?}");
    assert!(shown[0].ends_with("says the server): old news"), "{shown:?}");
}

#[test]
fn a_name_that_looks_like_a_known_one_is_marked() {
    let mut world = world();
    world.connect(60, 4, Pins::default());
    world.types(3, "/login alicе pw"); // the last letter is Cyrillic
    world.types(3, "/join r pw");
    world.looked();
    world.types(3, "it is me");
    assert_eq!(world.look(BOB), ["alicе (pinned) (another than alice, whose name looks like this): it is me"]);
}

#[test]
fn nonsense_ends_the_connection_and_nothing_else() {
    for nonsense in [
        "",
        "hello",
        "{}",
        "[1]",
        "{\"type\":\"ok\",\"id\":99}",
        "{\"type\":\"error\",\"id\":99,\"code\":\"stale\",\"text\":\"x\"}",
        "{\"type\":\"members\",\"room\":\"r\"}",
        "{\"type\":\"error\",\"code\":\"bad_json\",\"text\":\"x\"}",
        "{\"type\":\"hello\"}",
    ] {
        let mut world = world();
        world.does(BOB, Input::Server(nonsense.into()));
        let mut shown = world.look(BOB);
        shown.retain(|line| line != "-- x"); // what the server says is shown as its words
        assert!(shown[0].starts_with("* WARNING: the server "), "{nonsense}: {shown:?}");
        world.back(BOB);
        world.looked();
        world.types(0, "are you back?");
        assert_eq!(world.look(BOB).last().unwrap(), "alice (pinned): are you back?", "{nonsense}");
    }
    let mut world = world();
    world.does(BOB, Input::Server(b"{\"type\":\"of a newer server\"}".to_vec()));
    assert_eq!(world.look(BOB), Vec::<String>::new());
}

/// Whatever else the server repeats or leaves out, in whatever order, nobody is shown what was not said.
#[test]
fn whatever_becomes_of_the_lines_only_what_was_said_is_shown_as_said() {
    let said = ["alice says this", "bob says this", "carol says this"];
    for seed in 0..60u64 {
        let mut world = world();
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut kept: BTreeMap<usize, Vec<What>> = BTreeMap::new();
        world.tamper = Some(Box::new(move |to, what| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let pool = kept.entry(to).or_default();
            pool.push(what.clone());
            match random % 12 {
                0 => Vec::new(),
                1 => vec![what.clone(), what],
                2 => vec![pool[random as usize % pool.len()].clone(), what],
                3 => vec![what, pool[random as usize / 64 % pool.len()].clone()],
                _ => vec![what],
            }
        }));
        for round in 0..4 {
            for (client, text) in said.iter().enumerate() {
                if world.clients[client].machine.wants_lines() {
                    world.types(client, text);
                }
            }
            world.later(if round == 1 { 80_000 } else { 3_000 });
            for client in 0..3 {
                if world.wants_back(client) {
                    world.back(client);
                }
            }
        }
        for client in 0..3 {
            for line in world.look(client) {
                if line.contains("says this") && !line.starts_with("* ") {
                    let (author, text) = line.split_once(" (pinned): ").unwrap_or_else(|| panic!("{line}"));
                    assert_eq!(text, format!("{author} says this"), "{seed}: {line}");
                }
            }
        }
    }
}

/// What the server gives as its reason is never among the client's own words.
#[test]
fn the_servers_reasons_are_shown_as_its_words() {
    let lie = "Confirm the new key: /accept bob";
    for line in ["hello", "/topic tea", "/msg bob hello", "/join nowhere pw"] {
        let mut world = world();
        world.tamper = Some(Box::new(move |to, what| match what {
            What::Answer(Answer::Ok { id, body: OkBody::Send(_) | OkBody::Act(_) | OkBody::Sessions { .. } })
            | What::Answer(Answer::Error { id: Some(id), .. })
                if to == 0 =>
            {
                vec![What::Answer(Answer::Error {
                    id: Some(id),
                    code: ErrorCode::NoSuchRoom,
                    text: crate::names::Text::sanitize(lie),
                })]
            }
            what => vec![what],
        }));
        let shown = world.types(0, line);
        assert!(shown.contains(&format!("-- {lie}")), "{line}: {shown:?}");
        assert!(!shown.iter().any(|line| line.starts_with('*') && line.contains("/accept")), "{line}: {shown:?}");
        assert!(shown.iter().any(|line| line.starts_with("* ") && line.contains("There is no such room")), "{shown:?}");
    }
}

/// A kick that the server tells and does not carry out: whoever is put out gets no key of what is said from then on.
#[test]
fn who_is_put_out_and_still_listed_gets_nothing_and_that_is_said_after_a_while() {
    let mut world = world();
    world.server.keeps_the_kicked = true;
    world.types(0, "/kick carol");
    assert_eq!(world.look(BOB), ["! alice (pinned) kicked carol"]);
    world.looked();
    let wraps = world.clients[BOB].wraps;
    assert_eq!(world.types(BOB, "now we are alone"), Vec::<String>::new());
    assert_eq!(world.clients[BOB].wraps, wraps + 1, "alice's");
    assert_eq!(world.look(0), ["bob (pinned): now we are alone"]);
    world.later(11_000);
    world.types(0, "/topic so that members are looked at again");
    let newcomer = world.connect(70, 5, Pins::default());
    world.types(newcomer, "/login dave pw");
    world.types(newcomer, "/join r pw");
    world.looked();
    let shown = world.types(BOB, "are we?");
    let left_out = "* carol cannot read you: carol left or was put out, and the server lists it still.";
    assert!(shown.contains(&left_out.to_owned()), "{shown:?}");
}

const CAROL_READS: &str = "* From now on you can be read by: carol (pinned). /readers names all.";

/// The hash of the members' changes says that somebody went, and the list that nobody did: the server may let in whom it likes,
/// but not unseen.
#[test]
fn who_is_put_out_and_let_in_again_by_the_hash_alone_is_said_to_read() {
    let mut world = world();
    world.server.keeps_the_kicked = true;
    world.server.rooms.get_mut(&room("r")).unwrap().hashes_changes = true;
    world.types(0, "/kick carol");
    assert_eq!(world.look(BOB), ["! alice (pinned) kicked carol"]);
    assert_eq!(world.types(BOB, "is anybody here?"), [CAROL_READS]);
    let shown = world.types(0, "who?");
    assert!(shown.contains(&CAROL_READS.to_owned()), "alice put carol out herself: {shown:?}");
    assert!(world.look(2).contains(&"bob (pinned): is anybody here?".to_owned()));
    world.looked();
    assert_eq!(world.types(BOB, "still?"), Vec::<String>::new(), "it is said once");
}

/// A leave that the server tells and does not carry out: who left gets no key of what is said from then on.
#[test]
fn who_left_and_is_still_listed_gets_nothing_and_that_is_said_after_a_while() {
    let mut world = world();
    world.server.keeps_the_kicked = true;
    world.types(2, "/leave");
    assert_eq!(world.look(BOB), ["! carol (pinned) left"]);
    let wraps = world.clients[BOB].wraps;
    assert_eq!(world.types(BOB, "now we are alone"), Vec::<String>::new());
    assert_eq!(world.clients[BOB].wraps, wraps + 1, "alice's");
    world.later(11_000);
    let left_out = "* carol cannot read you: carol left or was put out, and the server lists it still.";
    assert_eq!(world.types(BOB, "are we?"), [left_out]);
    assert_eq!(world.types(BOB, "are we still?"), Vec::<String>::new(), "it is said once");
}

/// The server keeps the keys of who kicked back until the others have spoken again to whom it lists still.
#[test]
fn a_kick_that_is_checked_late_ends_the_reading_all_the_same() {
    let mut world = World::with(&["alice", "bob", "carol"]);
    world.types(BOB, "one");
    let held = Rc::new(RefCell::new(Vec::new()));
    let hold = Rc::clone(&held);
    to_bob(&mut world, move |what| match what {
        What::Answer(Answer::Part { .. } | Answer::Ok { body: OkBody::Bundles { .. }, .. }) => {
            hold.borrow_mut().push(what);
            Vec::new()
        }
        what => vec![what],
    });
    world.server.keeps_the_kicked = true;
    let dave = world.connect(9, 3, Pins::default());
    world.types(dave, "/login dave pw");
    world.types(dave, "/join r pw");
    world.types(dave, "/kick carol");
    world.looked();
    world.tamper = None;
    // He asks again for what did not come, and speaks meanwhile.
    held.take().iter().for_each(|what| world.hears(BOB, what));
    world.settle();
    assert_eq!(world.look(BOB), ["! dave (pinned) kicked carol"]);
    world.types(BOB, "two");
    assert!(world.look(2).iter().all(|line| !line.contains("two")), "carol has no key of it");
}

/// The server alone says that somebody left, or passes on a leave that nobody signed so; and lists the person still.
#[test]
fn who_is_said_to_have_gone_by_the_servers_word_alone_is_said_to_read() {
    for forged in [false, true] {
        let mut world = world();
        let mut leave = None;
        if forged {
            let (author, at) = (world.server.author_of(2), world.server.position(&room("r")));
            let stamp = ActStamp { counter: 9, at, signature: Signature([7; 64]) };
            leave = Some(ActProof { reader: author.reader, stamp });
        }
        let mut out = Vec::new();
        world.server.says_left(&room("r"), &user("carol"), leave, &mut out);
        world.deliver(out);
        world.settle();
        let shown = world.look(BOB);
        assert!(shown.contains(&"-- carol is gone: the connection is lost".to_owned()), "{shown:?}");
        let shown = world.types(BOB, "who is here?");
        assert_eq!(shown, [CAROL_READS], "{forged}");
    }
}

/// Whoever comes with many others is named nevertheless, if it was said to be gone.
#[test]
fn who_was_put_out_does_not_hide_in_a_crowd() {
    let mut world = world();
    world.server.keeps_the_kicked = true;
    world.server.rooms.get_mut(&room("r")).unwrap().hashes_changes = true;
    world.types(0, "/kick carol");
    for i in 0..12 {
        let newcomer = world.connect(80 + i, usize::from(i), Pins::default());
        world.types(newcomer, &format!("/login a{i:02} pw"));
        world.types(newcomer, "/join r pw");
    }
    world.looked();
    let shown = world.types(BOB, "hello, all");
    assert_eq!(
        shown,
        [
            "* From now on you can be read by: carol, a00, a01, a02, a03, a04, a05, a06 and 5 more (pinned). /readers names all."
        ]
    );
}

/// The name in a kick is as it was typed, and means the account in whatever form.
#[test]
fn a_kick_means_the_account_in_whatever_form_it_is_typed() {
    let mut world = World::with(&["alice", "bob", "caf\u{e9}"]);
    for client in 0..3 {
        world.types(client, "hello");
    }
    world.server.keeps_the_kicked = true;
    world.types(0, "/kick cafe\u{301}");
    world.looked();
    world.types(BOB, "now we are alone");
    assert_eq!(world.look(2), Vec::<String>::new());
    assert_eq!(world.look(0), ["bob (pinned): now we are alone"]);
}
