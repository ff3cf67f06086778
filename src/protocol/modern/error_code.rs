//! Why a request was refused: a word for programs, a sentence for people.

use super::record::choice;

choice! {
    /// Why a request was refused.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum ErrorCode
    /// The words of the errors.
    by new ErrorWord {
        /// The line is no JSON object, too deep, or has a key twice.
        BadJson = "bad_json",
        /// `type`, `id` or another field is missing or malformed.
        BadRequest = "bad_request",
        /// No request is called so.
        UnknownType = "unknown_type",
        /// The line is over the limit.
        LineTooLong = "line_too_long",
        /// Needs a log-in.
        LoginFirst = "login_first",
        /// Needs a bundle.
        AnnounceFirst = "announce_first",
        /// Needs a room.
        JoinFirst = "join_first",
        /// Names another room than the one that the session is in.
        RoomMismatch = "room_mismatch",
        /// The name is god's, or looks like it.
        Reserved = "reserved",
        /// The account exists.
        UserExists = "user_exists",
        /// The room exists.
        RoomExists = "room_exists",
        /// The name is no name.
        BadName = "bad_name",
        /// A name that exists looks like it.
        LooksAlike = "looks_alike",
        /// The password is not one word of 1 to 1,024 bytes.
        BadPassword = "bad_password",
        /// The disk failed.
        NotSaved = "not_saved",
        /// Too many wrong passwords or tokens.
        TooManyAttempts = "too_many_attempts" {
            /// Seconds until the next attempt is looked at.
            must retry_after: u64,
        },
        /// Unknown user or wrong password.
        LoginFailed = "login_failed",
        /// The account's password is wrong.
        WrongPassword = "wrong_password",
        /// The room's password is wrong.
        WrongRoomPassword = "wrong_room_password",
        /// The token is unknown or was revoked.
        BadToken = "bad_token",
        /// The bundle is not what it should be.
        BadBundle = "bad_bundle",
        /// The connection announced too many bundles.
        TooManyKeys = "too_many_keys",
        /// Not while in a room.
        InRoom = "in_room",
        /// No room is called so.
        NoSuchRoom = "no_such_room",
        /// The account is banned from the room.
        Banned = "banned" {
            /// Until when, in milliseconds since 1970; `None` for good.
            may until: Option<u64>,
        },
        /// The account may not speak in the room.
        Muted = "muted" {
            /// Until when, in milliseconds since 1970; `None` for good.
            may until: Option<u64>,
        },
        /// No user is called so.
        NoSuchUser = "no_such_user",
        /// The user has no session that could get it.
        Offline = "offline",
        /// The user is not in the room.
        NotHere = "not_here",
        /// Not for this account.
        Forbidden = "forbidden",
        /// The counter is not the next.
        OutOfOrder = "out_of_order" {
            /// The one that is.
            must expected: u64,
        },
        /// What was signed is too old.
        Stale = "stale",
        /// The sessions are no longer those that it is for.
        ReadersChanged = "readers_changed",
        /// Over a limit.
        TooLarge = "too_large",
        /// No accounts are made here.
        RegistrationClosed = "registration_closed",
        /// Accounts are made with a token alone, and this was none, or was missing.
        RegistrationToken = "registration_token",
        /// A token came where none is asked for.
        NoTokenNeeded = "no_token_needed",
        /// Too many accounts were made from the address.
        TooManyRegistrations = "too_many_registrations" {
            /// Seconds until one more may be made.
            must retry_after: u64,
        },
        /// The server has as many accounts as it takes.
        TooManyAccounts = "too_many_accounts",
        /// The server has as many rooms as it takes.
        TooManyRooms = "too_many_rooms",
        /// The account owns as many rooms as one may.
        TooManyOwnRooms = "too_many_own_rooms",
        /// The account has as many sessions as one may.
        TooManySessions = "too_many_sessions",
        /// Too many rooms were made from the address.
        TooManyNewRooms = "too_many_new_rooms" {
            /// Seconds until one more may be made.
            must retry_after: u64,
        },
        /// A word that this program does not know: the text has to do. This server has no such error.
        Other = "other",
    }
}

impl ErrorCode {
    /// The sentence for people, which says what to do.
    pub fn text(&self) -> String {
        let text = match self {
            Self::BadJson => "This is not one JSON object in a line, without a key twice and at most 16 deep.",
            Self::BadRequest => "A field is missing or malformed: see the protocol's table of requests.",
            Self::UnknownType => "This server knows no request of that type: a newer server may.",
            Self::LineTooLong => "The line is too long: send it in parts.",
            Self::LoginFirst => "You must log in first.",
            Self::AnnounceFirst => "You must announce your keys first.",
            Self::JoinFirst => "You must join a room first.",
            Self::RoomMismatch => "You are in another room: join that one first.",
            Self::Reserved => "That name is reserved: choose another.",
            Self::UserExists => "That user exists already: choose another name, or log in.",
            Self::RoomExists => "That room exists already: choose another name, or join it.",
            Self::BadName => {
                "That is no name: use 1 to 32 letters of one script, digits and _ . - but not the last alone."
            }
            Self::LooksAlike => "Another name looks like this one: choose one that nobody takes for it.",
            Self::BadPassword => "A password is one word without spaces, of 1 to 1,024 bytes: choose another.",
            Self::NotSaved => "The server could not save the change, so nothing was changed: try again later.",
            Self::TooManyAttempts { retry_after } => {
                return format!("Too many wrong passwords or tokens: try again in {retry_after} s.");
            }
            Self::LoginFailed => "Invalid user name or password: try again.",
            Self::WrongPassword => "That is not your password: try again.",
            Self::WrongRoomPassword => "That is not the room's password: try again, or ask somebody in the room.",
            Self::BadToken => "The session is over: log in with your password.",
            Self::BadBundle => "The server refused your keys: others could not check them.",
            Self::TooManyKeys => "Too many different keys on one connection: connect again.",
            Self::InRoom => "Not while you are in a room: leave it first.",
            Self::NoSuchRoom => "There is no such room: list the rooms, or create it.",
            Self::Banned { until: None } => "You are banned from this room: ask its owner.",
            Self::Banned { until: Some(_) } => "You are banned from this room for now: try again later.",
            Self::Muted { until: None } => "You are muted in this room: ask its owner.",
            Self::Muted { until: Some(_) } => "You are muted in this room for now: try again later.",
            Self::NoSuchUser => "There is no such user: check the name.",
            Self::Offline => "The user has no session that could get this: try again later.",
            Self::NotHere => "The user is not in the room: see who is.",
            Self::Forbidden => {
                "You may not do that: it is for the room's owner and god, and not against god or yourself."
            }
            Self::OutOfOrder { expected } => return format!("The next counter is {expected}: send again with it."),
            Self::Stale => "The room has changed too much since this was signed: sign it again.",
            Self::ReadersChanged => "The sessions have changed: ask for them, and send again.",
            Self::TooLarge => "This is too large: send it in smaller parts, or later.",
            Self::RegistrationClosed => "This server makes no new accounts: ask whoever runs it.",
            Self::RegistrationToken => {
                "A new account needs a valid token: put the one that you got from the operator last."
            }
            Self::NoTokenNeeded => "No token is needed here, and a password is one word: leave out what follows it.",
            Self::TooManyRegistrations { retry_after } => {
                return format!("Too many new accounts from your address: try again in {retry_after} s.");
            }
            Self::TooManyAccounts => "The server has as many accounts as it takes: ask whoever runs it.",
            Self::TooManyRooms => "The server has as many rooms as it takes: join one, or ask whoever runs it.",
            Self::TooManyOwnRooms => "You own as many rooms as one account may: delete one first.",
            Self::TooManySessions => "The account has as many sessions as one may: end one first.",
            Self::TooManyNewRooms { retry_after } => {
                return format!("Too many new rooms from your address: try again in {retry_after} s.");
            }
            Self::Other => "The server refused this.",
        };
        text.to_owned()
    }
}
