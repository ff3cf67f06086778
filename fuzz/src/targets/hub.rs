//! Everything that clients can send to a server: lines and messages of both wires, through the codecs into the real hub.

use std::time::Duration;

use secure_chat::chat::{Change, Dialect, SessionId, Verifier};
use secure_chat::names::{RoomName, UserName};
use secure_chat::transcript::RoomId;

use super::world::hub::World;

/// Most sessions, and most lines, of one input.
const SESSIONS: usize = 4;
const LINES: usize = 64;

/// A line says who says what, and how time passes:
///
/// ```text
/// 0{"type":…      the session 0 says a line of the modern wire; sessions are made when they are named first
/// a/login ann pw  the session a says a message of the legacy wire; a ` stands for a line feed
/// !0              the session 0 ends
/// +1500           so many milliseconds pass
/// ~               the disk fails from now on, or does no more
/// ```
pub fn run(data: &[u8]) {
    let mut stage = Stage::new();
    for line in data.split(|byte| *byte == b'\n').take(LINES) {
        let Some((who, rest)) = line.split_first() else { continue };
        match who {
            b'0'..=b'3' => stage.modern(usize::from(who - b'0'), rest),
            b'a'..=b'd' => stage.legacy(usize::from(who - b'a'), rest),
            b'!' => stage.end(rest),
            b'+' => stage.pass(rest),
            b'~' => stage.world.disk_fails ^= true,
            _ => {}
        }
    }
    stage.pass(b"600000");
}

struct Stage {
    world: World,
    modern: [Option<SessionId>; SESSIONS],
    legacy: [Option<SessionId>; SESSIONS],
}

/// Accounts ann, bob and eve, and ann's rooms den and lobby; the password of all of them is `pw`.
pub fn stage() -> World {
    let mut world = World::with_seed([3; 32]);
    ["ann", "bob", "eve"].iter().for_each(|user| world.add_user(user));
    for (number, room) in ["den", "lobby"].iter().enumerate() {
        let (id, owner) = (RoomId([number as u8; 16]), Some(UserName::new("ann")));
        let (room, password) = (RoomName::new(room), Verifier::new("pw"));
        world.change(Change::AddRoom { room, password, id, owner, modern_only: false });
    }
    world
}

impl Stage {
    fn new() -> Self {
        Self { world: stage(), modern: [None; SESSIONS], legacy: [None; SESSIONS] }
    }

    fn modern(&mut self, who: usize, line: &[u8]) {
        let session = alive(&mut self.world, &mut self.modern[who], Dialect::Modern);
        self.world.say_line(session, line);
        self.world.forget_all();
    }

    fn legacy(&mut self, who: usize, text: &[u8]) {
        let session = alive(&mut self.world, &mut self.legacy[who], Dialect::Legacy);
        let text: Vec<u8> = text.iter().map(|byte| if *byte == b'`' { b'\n' } else { *byte }).collect();
        let command = text.starts_with(b"/");
        let message = if command { [b"CMD::", &text[..]].concat() } else { text };
        self.world.say_message(session, &message);
        self.world.texts(session);
        self.world.forget_all();
    }

    fn end(&mut self, who: &[u8]) {
        let ended = match who.first() {
            Some(digit @ b'0'..=b'3') => self.modern[usize::from(digit - b'0')].take(),
            Some(letter @ b'a'..=b'd') => self.legacy[usize::from(letter - b'a')].take(),
            _ => None,
        };
        if let Some(session) = ended {
            self.world.disconnect(session);
        }
    }

    fn pass(&mut self, digits: &[u8]) {
        let millis = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0);
        self.world.pass(Duration::from_millis(u64::min(millis, 86_400_000)));
        self.world.forget_all();
    }
}

/// The session, made anew when the hub has ended it.
fn alive(world: &mut World, session: &mut Option<SessionId>, dialect: Dialect) -> SessionId {
    match *session {
        Some(alive) if !world.ended.contains(&alive) => alive,
        ended => {
            if let Some(ended) = ended {
                world.disconnect(ended);
            }
            *session.insert(world.connect(dialect))
        }
    }
}
