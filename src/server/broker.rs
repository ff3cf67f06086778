//! The broker: one thread that owns the hub, and encrypts and sends what comes out of it. It never waits for a peer, a disk or
//! a hash.

use std::iter;
use std::ops::Range;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::chat::{Dialect, Effect, Hub, Input, Now, Quota, SessionId, SessionMap};
use crate::protocol::legacy::{self, Encoded};
use crate::protocol::modern::{self, Answer, ByeReason, ErrorCode, KeyedLine, OkBody};
use crate::protocol::{Reply, ServerMessage};
use crate::server::clock::unix_ms;
use crate::server::lines::Said;
use crate::server::mailbox::{Event, Order, Turn};
use crate::server::peer::{Peer, Scratch};
use crate::server::sync::{Arc, Instant, Receiver, RecvTimeoutError, Sender, Share, recv_until};

/// Inputs for the hub after which a turn takes no more events: what comes out of a turn goes to each recipient in one write.
const TURN: usize = 256;

/// Bytes said in a turn after which it takes no more events: for each recipient they are encrypted anew, out of the processor's cache.
const TURN_BYTES: usize = 256 * 1024;

/// How long sessions may take to end when the server ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// The broker's state.
pub(super) struct Broker {
    hub: Hub,
    peers: SessionMap<Peer>,
    touched: Vec<SessionId>,
    store: Sender<Order>,
    /// Unsent bytes of all peers.
    outboxes: Arc<Quota>,
    /// Changes on their way to the disk.
    unsaved: usize,
    /// Whether all weak hashes were passed in, and the disk is still to be told.
    all_strengthened: bool,
    /// Whether the server ends: who comes now is sent away.
    ending: bool,
    begun: Instant,
    said: Said,
    /// Room for a line or a record that goes to one session.
    own: Vec<u8>,
    scratch: Scratch,
    /// Of the large messages of the turn, which may be kept until its end.
    shares: Vec<Share>,
}

impl Broker {
    pub(super) fn new(hub: Hub, store: Sender<Order>, outboxes: Arc<Quota>) -> Self {
        Self {
            hub,
            peers: SessionMap::default(),
            touched: Vec::new(),
            store,
            outboxes,
            unsaved: 0,
            all_strengthened: false,
            ending: false,
            begun: Instant::now(),
            said: Said::default(),
            own: Vec::new(),
            scratch: Scratch::default(),
            shares: Vec::new(),
        }
    }

    /// Handles events until [`Event::Shutdown`]; then ends the sessions, and returns when they and the disk are done.
    pub(super) fn run(mut self, events: &Receiver<Event>) {
        loop {
            // A hub that waits for no moment, or for one beyond all time, is woken by events alone.
            let deadline = self.hub.deadline().and_then(|deadline| self.begun.checked_add(deadline));
            let ended = match recv_until(events, deadline) {
                Ok(event) => self.turn(Some(event), events),
                Err(RecvTimeoutError::Timeout) => self.turn(None, events),
                Err(RecvTimeoutError::Disconnected) => true,
            };
            if ended {
                break;
            }
        }
        self.end_sessions();
        let deadline = Instant::now() + FAREWELL;
        while !self.peers.is_empty() || self.unsaved > 0 {
            match events.recv_deadline(deadline) {
                Ok(event) => _ = self.turn(Some(event), events),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// One turn: this event and all that wait, and then what is due, so that a crowd of events holds no moment up. Whether the
    /// server is to end.
    fn turn(&mut self, first: Option<Event>, events: &Receiver<Event>) -> bool {
        let mut shutdown = false;
        let mut inputs = 0;
        for event in first.into_iter().chain(events.try_iter()) {
            inputs += event.inputs();
            shutdown |= self.event(event);
            if inputs >= TURN || self.said.len() >= TURN_BYTES {
                break;
            }
        }
        if self.hub.deadline().is_some_and(|deadline| deadline <= self.begun.elapsed()) {
            self.hub_handles(Input::Tick);
        }
        self.flush();
        shutdown
    }

    fn event(&mut self, event: Event) -> bool {
        match event {
            Event::Connected(link, turns, wire) => {
                let address = link.peer.ip();
                let mut peer = Peer::new(wire, link, turns);
                if self.ending {
                    peer.say_goodbye(&self.said, &mut self.scratch);
                }
                let session = peer.session();
                self.peers.insert(session, peer);
                self.hub_handles(Input::Connected(session, address, wire));
            }
            Event::Input(input) => self.input(input),
            Event::Said(inputs, share) => {
                inputs.into_iter().for_each(|input| self.input(input));
                self.shares.extend(share);
            }
            Event::Wait(session) => self.say_ready(session),
            Event::Strengthened => self.all_strengthened = true,
            Event::Shutdown => return true,
        }
        // The last of them may still wait in the hub, behind another change of its account.
        if self.all_strengthened && !self.hub.owes_strengthening() {
            self.all_strengthened = false;
            self.order(Order::Strengthened);
        }
        false
    }

    fn input(&mut self, input: Input) {
        let ended = match &input {
            Input::Disconnected(session) => Some(*session),
            Input::Stored { .. } => {
                self.unsaved -= 1;
                None
            }
            _ => None,
        };
        self.hub_handles(input);
        ended.into_iter().for_each(|session| self.end(session));
    }

    fn hub_handles(&mut self, input: Input) {
        let now = Now { elapsed: self.begun.elapsed(), unix_ms: unix_ms() };
        for effect in self.hub.handle(now, input) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send(session, message) => {
                log_reply(session, &message);
                self.deliver(&[session], &message);
            }
            Effect::Deliver(sessions, message) => self.deliver(&sessions, &message),
            Effect::Answer(session, answer) => {
                log_answer(session, &answer);
                self.deliver_shared(iter::once(session), |line| modern::encode_answer(&answer, line));
            }
            Effect::Tell(audience, event) => {
                self.deliver_shared(audience.iter(), |line| modern::encode_event(&event, line));
            }
            Effect::TellKeyed(message, keys) => {
                let line = KeyedLine::new(&message);
                for (session, key) in keys {
                    self.deliver_own(session, |out| line.encode_with(&key, out));
                }
            }
            Effect::End(session) => self.end(session),
            Effect::Work(session, work) => self.give_turn(session, Turn::Work(work)),
            Effect::Ready(session) => self.say_ready(session),
            Effect::Store(session, change) => {
                self.unsaved += 1;
                self.order(Order::Commit(session, change));
            }
            Effect::SaveKey(key) => self.order(Order::SaveKey(key)),
            Effect::Suspicious(session, what) => debug!(%session, what, "ignored"),
        }
    }

    fn say_ready(&self, session: SessionId) {
        self.give_turn(session, Turn::Ready { user: self.hub.user_of(session).cloned() });
    }

    /// A message to these sessions on the legacy wire.
    fn deliver(&mut self, sessions: &[SessionId], message: &ServerMessage) {
        match legacy::encode_server(message) {
            Encoded::Chat(package) => {
                let place = self.said.records.add_package(&package);
                let has_keys = !package.encrypted_keys.is_empty();
                self.queue_shared(sessions.iter().copied(), place, has_keys);
            }
            Encoded::Same(records) => match sessions {
                [session] => records.iter().for_each(|record| self.queue_own(*session, record)),
                _ => {
                    for record in records {
                        let place = self.said.records.add(|bytes| bytes.extend_from_slice(&record));
                        self.queue_shared(sessions.iter().copied(), place, false);
                    }
                }
            },
        }
    }

    /// A line to each of these sessions on the modern wire, encrypted at the turn's end with all else that they are told.
    fn deliver_shared(&mut self, sessions: impl Iterator<Item = SessionId>, encode: impl FnOnce(&mut Vec<u8>)) {
        let place = self.said.lines.add(encode);
        self.queue_shared(sessions, place, false);
    }

    fn queue_shared(&mut self, sessions: impl Iterator<Item = SessionId>, place: Range<usize>, has_keys: bool) {
        for session in sessions {
            let Some(peer) = self.peers.get_mut(&session) else { continue };
            if has_keys {
                peer.read_as(self.hub.user_of(session), &self.said, &mut self.scratch);
            }
            if peer.queue_shared(place.clone(), &self.said, &mut self.scratch) {
                self.touched.push(session);
            }
        }
    }

    /// A line on the modern wire that is encrypted at once: so many differ from each other that they are better not all kept.
    fn deliver_own(&mut self, session: SessionId, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut line = std::mem::take(&mut self.own);
        line.clear();
        encode(&mut line);
        self.queue_own(session, &line);
        self.own = line;
    }

    fn queue_own(&mut self, session: SessionId, bytes: &[u8]) {
        let Some(peer) = self.peers.get_mut(&session) else { return };
        if peer.queue_own(bytes, &self.said, &mut self.scratch) {
            self.touched.push(session);
        }
    }

    fn flush(&mut self) {
        for session in self.touched.drain(..) {
            // One that ended within the turn was flushed by its end.
            if let Some(peer) = self.peers.get_mut(&session) {
                peer.flush(&self.said, &mut self.scratch);
            }
        }
        self.said.clear();
        self.shares.clear();
        while self.outboxes.is_full() && self.cut_off_fullest() {}
    }

    /// Whoever has most unsent makes room for the others. Whether there was somebody.
    fn cut_off_fullest(&self) -> bool {
        let fullest = self.peers.values().max_by_key(|peer| peer.unsent()).filter(|peer| peer.unsent() > 0);
        fullest.map(Peer::cut_off).is_some()
    }

    /// Ends a session when everything is sent that it was told. Its thread may wait for a turn: without the peer there is none
    /// any more.
    fn end(&mut self, session: SessionId) {
        if let Some(mut peer) = self.peers.remove(&session) {
            peer.close(&self.said, &mut self.scratch);
        }
    }

    fn give_turn(&self, session: SessionId, turn: Turn) {
        if let Some(peer) = self.peers.get(&session) {
            peer.give_turn(turn);
        }
    }

    /// The store's channel has no bound, so that the broker never waits for the disk. A connection waits for the broker after a
    /// command and after a key, so it adds one order at a time.
    fn order(&self, order: Order) {
        if self.store.send(order).is_err() {
            warn!("the store has ended before the broker");
        }
    }

    fn end_sessions(&mut self) {
        self.ending = true;
        info!(sessions = self.peers.len(), "saying goodbye");
        let on =
            |wire: Dialect| self.peers.values().filter(|peer| peer.wire == wire).map(Peer::session).collect::<Vec<_>>();
        let (legacy, modern) = (on(Dialect::Legacy), on(Dialect::Modern));
        self.deliver(&legacy, &ServerMessage::Reply(Reply::ShuttingDown));
        let bye = modern::Event::bye(ByeReason::ShuttingDown);
        self.deliver_shared(modern.into_iter(), |line| modern::encode_event(&bye, line));
        self.touched.clear();
        self.peers.values_mut().for_each(|peer| peer.close(&self.said, &mut self.scratch));
        self.said.clear();
    }
}

/// What an operator wants to know; never a password or a text.
fn log_reply(session: SessionId, message: &ServerMessage) {
    let ServerMessage::Reply(reply) = message else { return };
    match reply {
        Reply::LoggedIn(user) => info!(%session, %user, "logged in"),
        Reply::Registered(user) => info!(%session, %user, "registered"),
        Reply::RoomCreated(room) => info!(%session, %room, "room created"),
        Reply::LoginFailed => info!(%session, "login failed"),
        Reply::IncorrectRoomPassword => info!(%session, "room password refused"),
        Reply::TooManyAttempts { seconds } => warn!(%session, seconds, "too many wrong passwords or tokens"),
        reply => debug!(%session, ?reply, "replied"),
    }
}

/// The same of what is answered on the modern wire.
fn log_answer(session: SessionId, answer: &Answer) {
    match answer {
        Answer::Ok { body: OkBody::Login { user }, .. } => info!(%session, %user, "logged in"),
        Answer::Ok { body: OkBody::Resume { user, .. }, .. } => info!(%session, %user, "resumed"),
        Answer::Ok { body: OkBody::Register { user }, .. } => info!(%session, %user, "registered"),
        Answer::Ok { body: OkBody::Create { room, .. }, .. } => info!(%session, %room, "room created"),
        Answer::Error { code: ErrorCode::LoginFailed | ErrorCode::WrongPassword, .. } => {
            info!(%session, "password refused");
        }
        Answer::Error { code: ErrorCode::WrongRoomPassword, .. } => info!(%session, "room password refused"),
        Answer::Error { code: ErrorCode::TooManyAttempts { retry_after }, .. } => {
            warn!(%session, seconds = retry_after, "too many wrong passwords or tokens");
        }
        Answer::Error { code, .. } => debug!(%session, ?code, "refused"),
        Answer::Ok { .. } | Answer::Part { .. } => {}
    }
}
