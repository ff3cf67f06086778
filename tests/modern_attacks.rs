//! A silent, slow or malicious peer on the modern wire harms nobody else. Each test is named after what it prevents.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use common::Server;
use common::client::{Client, bundle, entry};
use common::couple::{Member, ModernCouple as Couple, ROOM};
use common::modern::ModernPeer;
use secure_chat::names::{Password, RoomName, UserName};
use secure_chat::protocol::modern::{
    ActRequest, ActStamp, Deed, Event, MAX_LINE, OkBody, RequestBody, RequestType, SignedText,
};
use secure_chat::transcript::{RunId, Signature, Verb};

const GROWTH: usize = 64 * 1024 * 1024;

#[test]
fn lines_without_an_end_cost_no_memory_and_delay_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = Couple::new(&server);
    let mut eve = Member::new(&server, "eve", 3);
    let mut guests: Vec<_> = (0..20).map(|_| ModernPeer::guest(server.address)).collect();
    let before = server.memory();
    for _ in 0..100 {
        eve.client.peer.says(vec![b'{'; MAX_LINE]);
        guests.iter().for_each(|guest| guest.says(vec![b'"'; MAX_LINE]));
    }
    couple.still_talk();
    eve.client.peer.says("\n");
    eve.client.peer.is_refused("line_too_long");
    for guest in &mut guests {
        guest.says("\n");
        guest.is_refused("line_too_long");
        guest.is_well();
    }
    assert!(server.memory() < before + GROWTH);
    couple.still_talk();
    server.has_not_panicked();
}

#[test]
fn each_line_of_garbage_is_answered_by_one_error_and_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_without_rates(dir.path());
    let mut couple = Couple::new(&server);
    let mut peer = ModernPeer::guest(server.address);
    let mut random = 7u64;
    for _ in 0..2000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bytes = random.to_be_bytes().repeat(1 + (random >> 59) as usize);
        let garbage: Vec<u8> = bytes.iter().filter(|byte| !byte.is_ascii_whitespace()).copied().collect();
        peer.says([&b"#"[..], &garbage, b"\n"].concat());
    }
    (0..2000).for_each(|_| peer.is_refused("bad_json"));
    peer.is_well();
    couple.still_talk();
    server.has_not_panicked();
}

#[test]
fn depth_keys_twice_and_very_many_keys_overflow_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = Couple::new(&server);
    let mut eve = Member::new(&server, "eve", 3);
    let peer = &mut eve.client.peer;
    let before = server.memory();
    for open in ["[", r#"{"a":"#, r#"[{"room":"#] {
        peer.says(open.repeat(65_000 / open.len()) + "\n");
        peer.is_refused("bad_json");
    }
    let keys = |count: usize| (0..count).map(|i| format!("\"{i:x}\":0,")).collect::<String>();
    // As many as a line holds are looked through, and a million are skipped.
    for _ in 0..20 {
        peer.says(format!("{{{}\"type\":\"ping\",\"id\":5}}\n", keys(7000)));
        assert!(peer.hears().starts_with(r#"{"type":"ok","id":5,"#));
        peer.says(format!("{{{}\"type\":\"ping\",\"0\":0,\"id\":5}}\n", keys(7000)));
        peer.is_refused("bad_json");
    }
    peer.says(format!("{{{}\"type\":\"ping\",\"id\":5}}\n", keys(1_000_000)));
    peer.is_refused("line_too_long");
    let many: String = (0..4097).map(|i| format!("\"{i}\":\"QQ==\",")).collect();
    let many = many.trim_end_matches(',');
    peer.says(format!("{{\"type\":\"attach\",\"id\":5,\"room\":\"{ROOM}\",\"encrypted_keys\":{{{many}}}}}\n"));
    peer.is_refused("bad_request");
    peer.is_well();
    assert!(server.memory() < before + GROWTH);
    couple.still_talk();
    server.has_not_panicked();
}

#[test]
fn lines_that_come_byte_by_byte_hold_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = Couple::new(&server);
    let mut guests: Vec<_> = (0..50).map(|_| ModernPeer::guest(server.address)).collect();
    for byte in b"{\"type\":\"ping\",\"id\":424242,\"more\":\"" {
        guests.iter().for_each(|guest| guest.says([*byte]));
        couple.still_talk();
    }
    drop(guests.split_off(25)); // some never come to the end
    for guest in &mut guests {
        guest.says("\"}\n");
        assert!(guest.hears().starts_with(r#"{"type":"ok","id":424242,"#));
    }
    couple.still_talk();
    server.has_not_panicked();
}

#[test]
fn a_member_who_never_reads_is_dropped_and_the_others_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_without_rates(dir.path());
    let mut couple = Couple::new(&server);
    let _stuck = Member::new(&server, "stuck", 3);
    couple.still_talk();
    let before = server.memory();
    let text = "t".repeat(20_000);
    let mut sent = 0;
    // Until the stuck member's outbox is full: what the kernel holds for it, and then the server's bound.
    while !server.log().contains("does not read") {
        couple.alice.says(&text);
        assert!(matches!(couple.bob.hears(), Event::Message(message) if message.encrypted_message == text));
        assert_eq!(couple.alice.view.at, couple.bob.view.at);
        sent += 1;
        assert!(sent < 5000, "still there after {sent} messages");
    }
    assert!(server.memory() < before + GROWTH);
    common::wait_until("the stuck member is away", || couple.alice.away() == 1);
    couple.still_talk();
    server.has_not_panicked();
}

/// A peer that says much and reads late gets every answer, in order.
#[test]
fn answers_to_an_impatient_peer_are_all_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_without_rates(dir.path());
    let mut peer = ModernPeer::guest(server.address);
    for i in 0..20_000 {
        peer.stream.queue(format!("{{\"type\":\"ping\",\"id\":{i}}}\n").as_bytes());
    }
    peer.stream.drain().unwrap();
    for i in 0..20_000 {
        let heard = peer.hears();
        assert!(heard.starts_with(&format!(r#"{{"type":"ok","id":{i},"#)), "{heard}");
    }
}

/// Longest lines whose answers and events are long, too: neither the server's memory nor the others' patience is used up.
#[test]
fn a_flood_of_large_requests_fills_no_memory_and_delays_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut couple = Couple::new(&server);
    let before = server.memory();
    let floods: Vec<_> = (0..10)
        .map(|i| {
            let mut eve = Member::new(&server, &format!("eve{i}"), 10 + i);
            std::thread::spawn(move || {
                let keys: String = (0..900).map(|i| format!("\"{i}\":\"{}\",", "A".repeat(60))).collect();
                let keys = keys.trim_end_matches(',');
                for id in 0..100 {
                    let line = format!(
                        "{{\"type\":\"attach\",\"id\":{id},\"room\":\"{ROOM}\",\"encrypted_keys\":{{{keys}}}}}\n"
                    );
                    eve.client.asked.insert(id, RequestType::Attach);
                    eve.client.peer.says(line);
                }
                (0..100).for_each(|id| _ = eve.client.answer(id));
                eve
            })
        })
        .collect();
    couple.still_talk();
    let _eves: Vec<_> = floods.into_iter().map(|flood| flood.join().unwrap()).collect();
    couple.still_talk();
    assert!(server.memory() < before + GROWTH);
    server.has_not_panicked();
}

#[test]
fn no_secret_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &["--log", "trace"]);
    let mut client = Client::connect(&server);
    let secret = |number: u8| Password::new(format!("canary-{number}"));
    let carol = || UserName::new("carol");
    client.ok(RequestBody::Register { user: carol(), password: secret(1), token: None });
    assert_eq!(client.refused(RequestBody::Login { user: carol(), password: secret(2) }), "login_failed");
    client.ok(RequestBody::Login { user: carol(), password: secret(1) });
    let bundle = bundle(&client, "carol");
    let run = RunId([1; 16]);
    let mut tokens = vec![client.announces(&bundle, run)];
    client.ok(RequestBody::Create { room: RoomName::new(ROOM), password: secret(3), modern_only: false });
    let join = |password| RequestBody::Join { room: RoomName::new(ROOM), password: Some(password) };
    assert_eq!(client.refused(join(secret(4))), "wrong_room_password");
    let view = client.joins(ROOM, Some("canary-3"), entry(&bundle, run));
    let empty = SignedText::new("");
    client.ok(RequestBody::Act(ActRequest {
        room: RoomName::new(ROOM),
        deed: Deed { verb: Verb::Password, target: empty.clone(), argument: empty },
        stamp: ActStamp { counter: 1, at: view.at, signature: Signature([1; 64]) },
        secret: Some(secret(5)),
        resend: false,
    }));
    let OkBody::Passwd { session } = client.ok(RequestBody::Passwd { old: secret(1), new: secret(6) }) else {
        panic!()
    };
    tokens.push(session.unwrap().token);
    client.ok(RequestBody::Account { password: secret(6), legacy: false });
    assert_eq!(client.refused(RequestBody::Resume { token: tokens[0].clone(), run }), "bad_token");
    client.ok(RequestBody::Resume { token: tokens[1].clone(), run });
    client.peer.says("{\"type\":\"login\",\"id\":\"canary\",\"password\":\"canary-7\",\"canary-8\n{\"canary-9\":}\n");
    (0..2).for_each(|_| client.peer.is_refused("bad_json"));
    client.peer.close();
    server.wait_for_log("disconnected");
    let log = server.log();
    assert!(!log.contains("canary") && !log.contains(common::GOD), "{log}");
    for token in &tokens {
        let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, token.expose());
        let (hex, list) = (token.expose().map(|byte| format!("{byte:02x}")).concat(), format!("{:?}", token.expose()));
        assert!(![base64, hex, list].iter().any(|form| log.contains(form)), "a token is in the log");
    }
}
